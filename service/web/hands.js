/** Hands: replay of a clip, the forecast from a moment of it with its uncertainty, and its error where the clip goes on. */
import { addCamera } from './camera.js'
import { chart } from './charts.js'
import { errorsOf, futureOf, millimetres, readClip, requestOf } from './clips.js'
import { comparison, over } from './compare.js'
import { Player } from './player.js'
import { addReplay } from './replay.js'
import { Balls, Figure, Stage } from './scene.js'
import { snippets } from './snippets.js'
import { announce, button, choice, code, filePicker, fixed, h, renew, save, warnings } from './ui.js'

const KIND = 'hand-forecast', PAST_S = 2, TRAIL_S = 1 / 6, UNITS = ['m', 'cm', 'mm', 'in', 'ft']
const SAMPLE_SOURCE = 'tzionas'
const SAMPLE = 'The sample is the whole test recording of ' + SAMPLE_SOURCE + ' with two hands, which no shipped model saw, and is first forecast from its middle frame. '

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page
  const canvas = h('canvas', { 'aria-label': 'Past and forecast hands in three dimensions; the arrow keys turn them', role: 'img' })
  const note = h('p', { class: 'note' }), stageBox = h('div', { class: 'stage' })
  const problem = h('div', { hidden: true }), facts = h('div'), settings = h('div'), form = h('div', { class: 'fields' }), example = h('div', { class: 'wide' })
  const player = new Player(draw)
  let stage, orders, models = [], clip = null, cut = 0, model = '', wanted = '', answer = null, answers = new Map(), figures = null, running = new AbortController()

  const camera = h('div', { class: 'wide' }), replay = h('div')
  stageBox.append(h('div', { class: 'view' }, canvas, note), player.bar)
  element.append(h('h2', {}, 'Hands'), h('p', {}, 'The past of one or two hands, in any tracker’s joint order and unit, and the second that follows.'),
    h('div', { class: 'demo' }, h('div', {}, stageBox, legend()), h('div', {}, form, settings, problem, facts, replay), example, camera))
  form.append(filePicker(stageBox, files => upload(files[0]), { accept: '.json,.jsonl,application/json', label: 'Open a clip' }), button('Sample', () => sample()))

  const opened = page.guard(problem, async () => {
    stage ||= new Stage(canvas)
    stage.onrecolour = () => figures?.all.forEach(figure => figure.recolour())
    await page.models() // meanwhile the page says which model is wanted
    const missing = await choose(wanted)
    await sample()
    if (missing) throw missing
  })

  /** Read the models again if they may have changed, and choose the named one, else the one before, else the default; return what is wrong with the name. */
  async function choose(name) {
    const [catalogue, known] = await Promise.all([page.models(), chiron.joints()])
    orders = known
    models = catalogue.models.filter(one => one.state === 'ready' && one.task.kind === KIND)
    if (!models.length) throw new Error('No model for hands is served here; the command chiron models lists the bundles of the folder.')
    model = [name, model].find(one => models.some(({ name }) => name === one)) ?? catalogue.defaults[KIND]
    return name && model !== name ? new Error(`Expected a served model of hands, got ${name}; the section Models lists the versions to promote.`) : null
  }

  /** Show the sample of hands, or the example of a model with a skeleton of its own. */
  const sample = () => task().skeleton ? load(`the example of ${model}`, async () => JSON.stringify(await chiron.example(model)), `The clip is the example of ${model}. `)
    : load('the sample', async () => (await fetch(new URL('samples/hands.json', import.meta.url))).text(), SAMPLE)
  const upload = file => load(file.name, () => file.text())

  /** @param {string} name @param {() => Promise<string>} read @param {string} [origin] of a clip that the page has chosen */
  async function load(name, read, origin = '') {
    await page.guard(problem, async () => {
      clip = Object.assign(readClip(await read(), orders), { name, origin })
      if (!takes(model, clip.joints)) model = models.find(one => takes(one.name, clip.joints))?.name ?? model
      const { past, future, fps } = task(), ahead = Math.ceil(future / fps * clip.fps), before = Math.ceil(past / fps * clip.fps)
      cut = clip.frames > before + 1 ? Math.max(before, Math.min(clip.frames - ahead, Math.round(clip.frames / 2))) : clip.frames
      await forecast(true)
    })
  }

  const task = (name = model) => models.find(one => one.name === name).task

  /** Return whether a model takes a joint order: its own skeleton alone, or any order of hands. */
  const takes = (name, joints) => task(name).skeleton ? task(name).skeleton.name === joints : orders[joints]?.of !== 'own'

  /** Forecast with a newly chosen model: the clip, or another one if the page chose it and the model does not take it. */
  const proceed = () => clip.origin && !takes(model, clip.joints) ? sample() : forecast()

  /** Show, in place of a forecast, which clip the model takes. */
  function offer() {
    forget()
    const { skeleton } = task(), wants = skeleton ? `its own skeleton, ${skeleton.name} of ${skeleton.joints.length} joints` : 'hands'
    problem.replaceChildren(h('div', { class: 'problem', role: 'alert' }, h('p', {}, `${model} takes ${wants}; ${clip.name} is in the joint order ${clip.joints}.`),
      button(skeleton ? `Open the example of ${model}` : 'Open the sample', () => sample())))
    problem.hidden = false
  }

  function request(name) {
    const from = Math.max(0, cut - Math.ceil(PAST_S * clip.fps))
    return { ...requestOf(clip, from, cut), model: name, ...(task(name).spread && { spread: true }) }
  }

  /** Forecast with the chosen model, draw it, and then with the others, to compare. */
  async function forecast(renew = false) {
    running.abort()
    running = new AbortController()
    const { signal } = running
    if (!takes(model, clip.joints)) return offer()
    const worked = await page.guard(problem, async () => {
      const begun = performance.now()
      answer = await chiron.forecastHands(request(model), signal)
      answer.ms = performance.now() - begun
      problem.hidden = true
      answers = new Map([[model, measured(answer)]])
      build(renew)
      show()
      announce(summary())
      return true
    })
    if (signal.aborted) return
    if (!worked) return forget()
    for (const { name } of models) {
      if (name === model || !takes(name, clip.joints)) continue
      const one = await chiron.forecastHands(request(name), signal).catch(error => error)
      if (signal.aborted) return
      answers.set(name, one instanceof Error ? { reason: one.message } : measured(one))
    }
    show()
  }

  /** Show nothing but the problem of a clip that has no forecast. */
  function forget() {
    player.play(false)
    figures = null
    stage.clear()
    stage.draw()
    note.textContent = ''
    facts.replaceChildren()
    example.replaceChildren()
    showSettings()
  }

  function measured(one) {
    const future = futureOf(one, clip), errors = errorsOf(future, clip, cut)
    return { future, errors, times: one.times }
  }

  function build(renew) {
    const order = orders[clip.joints], { bones, joints } = order, unit = 1000 / millimetres(clip.units), radius = 0.0022 * unit
    figures?.all.forEach(figure => stage.root.remove(figure))
    stage.clear()
    const figure = (colour, opacity = 1, thick = 1) => new Figure(bones, joints.length, { colour, radius: radius * thick, opacity })
    figures = { all: [], sides: {} }
    for (const side of Object.keys(clip.hands)) {
      const tint = side === 'left' ? 'left' : 'right'
      const one = {
        truth: figure('past'), ghost: figure(tint, 1, 1.15), trails: Array.from({ length: 5 }, () => figure(tint, 0.16, 0.7)),
        before: Array.from({ length: 4 }, () => figure('past', 0.16, 0.7)), halo: new Balls(joints.length, { colour: tint, opacity: 0.18 }),
      }
      figures.sides[side] = one
      stage.root.add(one.truth, one.ghost, ...one.trails, ...one.before, one.halo)
      figures.all.push(one.truth, one.ghost, ...one.trails, ...one.before)
    }
    const { future } = answers.get(model), from = Math.max(0, cut - Math.ceil(clip.fps))
    const points = Object.entries(clip.hands).flatMap(([side, poses]) => [...poses.slice(from, cut + answer.times.length), ...(future[side] || [])].flatMap(pose => pose || []))
    if (renew) stage.look(points.filter(Boolean))
    figures.from = from
    player.load(cut - from + answer.times.length, clip.fps, cut - from - 1, cut - from - 1)
  }

  /** @param {number} frame of the replay, which begins at `figures.from` */
  function draw(frame) {
    if (!figures) return
    const at = figures.from + frame, ahead = at - cut, step = Math.max(1, Math.round(TRAIL_S * clip.fps)), { future } = answers.get(model)
    for (const [side, one] of Object.entries(figures.sides)) {
      const seen = clip.hands[side], guess = future[side]
      one.truth.set(seen[at] || null)
      one.before.forEach((figure, i) => figure.set(ahead < 0 ? seen[at - (i + 1) * step] : null))
      one.ghost.set(ahead >= 0 && guess ? guess[ahead] : null)
      one.trails.forEach((figure, i) => figure.set(guess && ahead - (i + 1) * step >= 0 ? guess[ahead - (i + 1) * step] : null))
      const std = answer.std?.[side] || (answer.std?.future ?? null), reach = answer.intervals?.['0.68'] ?? 1
      one.halo.visible = Boolean(ahead >= 0 && guess && std)
      if (one.halo.visible) one.halo.place(guess[ahead], joint => reach * (std[ahead][joint] || 0))
    }
    const error = answers.get(model).errors[ahead]
    note.textContent = ahead < 0 ? 'past' : Number.isFinite(error) ? `forecast, ${fixed(error, 0)} mm from what came` : 'forecast'
    stage.draw()
  }

  function summary() {
    const { errors } = answers.get(model), error = over(answers.get(model), errors.length).mean, last = answer.times.at(-1)
    return `${answer.model.name} forecast ${fixed(last, 2)} s of ${clip.name}` + (Number.isFinite(error) ? `, ${fixed(error)} mm from what came on average.` : '.')
  }

  function showSettings() {
    if (!clip) return
    const hands = Object.entries(orders).filter(([name, order]) => order.of !== 'body' && (name === clip.joints || takes(model, name)))
    const again = (field, value) => { clip[field] = value; forecast(true) }
    const fps = h('input', { type: 'number', min: 5, max: 1000, step: 'any', value: clip.fps, 'aria-label': 'Frames a second', onchange: () => again('fps', Number(fps.value)) })
    const moment = h('input', { type: 'range', min: 2, max: clip.frames, value: cut, 'aria-label': 'Moment of the forecast', onchange: () => { cut = Number(moment.value); forecast() } })
    renew(settings, h('div', { class: 'fields' },
      choice('model', models.map(one => [one.name, one.name]), model, value => { model = value; proceed() }),
      choice('joint order', hands.map(([name]) => [name, name]), clip.joints, value => again('joints', value)),
      choice('unit', UNITS.map(unit => [unit, unit]), clip.units, value => again('units', value)),
      h('label', { class: 'field' }, h('span', {}, 'frames a second'), fps),
      h('label', { class: 'field' }, h('span', {}, `forecast from frame ${cut} of ${clip.frames}`), moment)))
  }

  function show() {
    showSettings()
    const current = answers.get(model), reference = best()
    const lines = [[model, 'accent', false], ...(reference && reference !== model ? [[reference, 'past', true]] : [])].map(([name, colour, dashed]) => {
      const one = answers.get(name)
      return { name, colour, dashed, points: one.errors.slice(0, current.errors.length).map((error, i) => [one.times[i], error]) }
    })
    const truth = current.errors.some(Number.isFinite)
    const test = (clip.origin === SAMPLE && answer.expected_error.find(({ source }) => source === SAMPLE_SOURCE)) || answer.expected_error[0], others = models.filter(({ name }) => !takes(name, clip.joints)).map(({ name }) => name)
    const link = name => h('a', { href: `#models/${name}` }, name)
    const options = { model, ...(task().spread && { spread: true }) }
    facts.replaceChildren(
      h('p', {}, summary(), ` Answered in ${fixed(answer.ms, 0)} ms, browser included.`), warnings(answer.warnings) || '',
      truth ? chart(`Error of the forecast over time, in millimetres, of ${lines.map(line => line.name).join(' and ')}`, lines, { x: 'seconds ahead', y: 'mm from what came' })
        : h('p', { class: 'dim' }, 'The clip ends at the moment of the forecast, so nothing says how good it is. Move the moment back to see.'),
      ...(truth ? comparison(answers, model) : []),
      others.length ? h('p', { class: 'small dim' }, 'Not compared, since they take other joints: ', others.flatMap((name, i) => [i ? ', ' : '', link(name)]), '.') : '',
      h('p', { class: 'small dim' }, clip.origin, 'One clip does not rank models: ', h('a', { href: `#models/${model}` }, 'errors on all test recordings'), '.'),
      test ? h('p', { class: 'small dim' }, `On the test recordings of ${test.source} it was off by ${fixed(test.value)} ${test.unit} (${test.metric}${test.baseline ? `; ${test.baseline}: ${fixed(test.baseline_value)} ${test.unit}` : ''}).`) : '')
    example.replaceChildren(h('h3', {}, 'The same request'), code(snippets(chiron, { path: 'forecast/hands', file: 'clip.json', options, call: 'forecastHands', show: 'answer.times' })),
      h('div', { class: 'fields' }, button('Save clip.json', () => save(new Blob([JSON.stringify(request(model))], { type: 'application/json' }), 'clip.json')),
        button('Save forecast.json', () => save(new Blob([JSON.stringify(answer)], { type: 'application/json' }), 'forecast.json'))))
  }

  /** Return the model without weights that is nearest on this clip. */
  function best() {
    const frames = answers.get(model).errors.length, error = name => over(answers.get(name), frames).mean
    return models.map(one => one.name).filter(name => !models.find(one => one.name === name).parameters && answers.get(name)?.errors && Number.isFinite(error(name))).sort((a, b) => error(a) - error(b))[0]
  }

  addReplay(replay, page, () => ({ clip, model, reach: task().future / task().fps }))
  const live = addCamera(camera, page, () => model)
  return {
    /** @param {string} name of the model to show, or nothing */
    async shown(name) {
      wanted = name
      if (!clip || !name || (name === model && page.catalogue)) return
      await opened
      await page.guard(problem, async () => {
        const missing = await choose(name)
        if (missing) throw missing
        await proceed()
      })
    },
    hidden() { player.play(false); live.stop() },
  }
}

function legend() {
  const entry = (colour, text) => h('span', {}, h('i', { style: `background: var(--${colour})` }), text)
  return h('div', { class: 'legend' }, entry('past', 'seen, and what came'), entry('left', 'left, forecast'), entry('right', 'right, forecast'),
    h('span', {}, 'clouds: within one with a probability of 0.68 a coordinate; drag, or use the arrow keys, to turn'))
}
