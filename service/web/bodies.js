/** Bodies: keypoints in the image beside the poses behind them, the keypoints that follow, and the action. */
import { readKeypoints } from './keypoints.js'
import { Player } from './player.js'
import { colour, Figure, Stage } from './scene.js'
import { snippets } from './snippets.js'
import { announce, button, choice, code, filePicker, fixed, h, renew, save, table, warnings } from './ui.js'

const LIFT = 'pose-lift', FORECAST = 'pose-forecast', ACTIONS = 'action-recognition', BODY_M = 0.013

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page
  const flat = h('canvas', { 'aria-label': 'Keypoints in the image, and their forecast', role: 'img' })
  const deep = h('canvas', { 'aria-label': 'The lifted pose in three dimensions; the arrow keys turn it', role: 'img' })
  const player = new Player(draw)
  const stageBox = h('div', { class: 'stage' }, h('div', { class: 'pair' }, h('figure', {}, flat, h('figcaption', {}, 'keypoints, and their forecast')),
    h('figure', {}, deep, h('figcaption', {}, 'lifted'))), player.bar)
  const problem = h('div', { hidden: true }), facts = h('div'), settings = h('div', { class: 'fields' }), form = h('div', { class: 'fields' }), example = h('div', { class: 'wide' })
  let stage, orders, catalogue, input = null, lifted = null, future = null, actions = null, figure = null, cut = 0, view = null

  element.append(h('h2', {}, 'Bodies'), h('p', {}, 'A person’s 2D keypoints from any detector: the poses behind them in metres, the keypoints that follow, and what the person does.'),
    h('div', { class: 'demo' }, h('div', {}, stageBox, legend()), h('div', {}, form, settings, problem, facts), example))
  form.append(filePicker(stageBox, upload, { accept: '.json,application/json', multiple: true, label: 'Open keypoints' }), button('Sample', sample))
  element.append(h('p', { class: 'small dim' }, 'OpenPose (one file a frame, all at once, or a list), COCO results, AlphaPose, MMPose, Ultralytics, MediaPipe, or the fields of POST /poses/lift.'))
  new ResizeObserver(() => draw()).observe(flat)
  document.addEventListener('theme', () => { figure?.recolour(); draw() })

  page.guard(problem, async () => {
    stage ||= new Stage(deep)
    ;[orders, catalogue] = await Promise.all([chiron.joints(), page.models()])
    if (!catalogue.defaults[LIFT]) throw new Error('No model that lifts keypoints is served here; the command chiron models lists the bundles of the folder.')
    await sample()
  })

  function sample() {
    return page.guard(problem, async () => {
      const body = await chiron.example(catalogue.defaults[LIFT])
      await run({ name: 'the sample', document: body.keypoints, joints: body.joints, fps: body.fps, image: body.image, height: null })
    })
  }

  /** @param {File[]} files one document, or one a frame */
  function upload(files) {
    return page.guard(problem, async () => {
      const sorted = files.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })), parsed = []
      for (const file of sorted) {
        try {
          parsed.push(JSON.parse(await file.text()))
        } catch (error) {
          throw new Error(`Expected JSON in ${file.name}. ${error.message}.`)
        }
      }
      const whole = parsed.length > 1 ? parsed : parsed[0], fields = whole && !Array.isArray(whole) && whole.keypoints && !whole.people ? whole : {}
      await run({ name: sorted.length > 1 ? `${sorted.length} files` : sorted[0].name, document: fields.keypoints ?? whole, joints: fields.joints || null,
        fps: fields.fps || input?.fps || 30, image: fields.image || input?.image || [1920, 1080], height: fields.height || null })
    })
  }

  const request = () => ({ keypoints: input.document, fps: input.fps, image: input.image, ...(input.joints && { joints: input.joints }), ...(input.height && { height: input.height }) })

  /** Lift, forecast and recognise; a task that cannot be done says why beside the others. @param {any} given */
  async function run(given) {
    input = given
    showSettings()
    const begun = performance.now(), answer = await chiron.liftPoses(request()).catch(error => { forget(); throw error })
    answer.ms = performance.now() - begun
    problem.hidden = true
    const person = answer.persons?.findIndex(one => one !== null) ?? -1
    lifted = { ...answer, poses: answer.persons ? answer.persons[person].poses : answer.poses, people: answer.persons?.length ?? 1 }
    const attempt = async task => task().catch(error => ({ failed: error.message }))
    actions = catalogue.defaults[ACTIONS] ? await attempt(() => chiron.recognizeActions(onePerson(answer, lifted.poses))) : { failed: 'no model recognises actions here' }
    const seen = readKeypoints(input.joints ? { keypoints: input.document, joints: input.joints } : input.document)
    input.seen = seen && { ...seen, frames: seen.fractions ? seen.frames.map(pose => pose?.map(p => p && [p[0] * input.image[0], p[1] * input.image[1], p[2]])) : seen.frames }
    await forecast(attempt)
    begin()
    announce(`${lifted.poses.length} poses lifted; ${actions.recognised ?? 'no action recognised'}`)
  }

  /** Show nothing but the problem of keypoints that have no poses. */
  function forget() {
    player.play(false)
    lifted = figure = null
    stage.clear()
    stage.draw()
    flat.width = 0
    facts.replaceChildren()
    example.replaceChildren()
  }

  async function forecast(attempt) {
    const task = catalogue.models.find(one => one.name === catalogue.defaults[FORECAST])?.task
    if (!task || !input.seen?.joints) { future = { failed: task ? 'the joint order is not known here' : 'no model forecasts poses here' }; return }
    const { frames, joints } = input.seen, needed = Math.ceil(task.past / task.fps * input.fps) + 1, ahead = Math.ceil(task.future / task.fps * input.fps)
    cut = frames.length >= needed + ahead ? frames.length - ahead : frames.length
    future = await attempt(() => chiron.forecastPoses({ past: frames.slice(Math.max(0, cut - 2 * needed), cut), joints, fps: input.fps }))
  }

  function begin() {
    const order = orders[lifted.joints], frames = Math.max(lifted.poses.length, cut + (future.future?.length || 0))
    stage.clear()
    figure = new Figure(order.bones, order.joints.length, { colour: joint => sideOf(order, joint), radius: BODY_M })
    stage.root.add(figure)
    stage.look(lifted.poses.flat().filter(Boolean), { up: [0, -1, 0], from: [0.45, -0.2, -1], margin: 1.02 })
    const points = [...(input.seen?.frames || []), ...(future.future || [])].flatMap(pose => pose || []).filter(Boolean)
    const xs = points.map(p => p[0]), ys = points.map(p => p[1])
    view = points.length ? [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)] : null
    player.load(frames, input.fps, 0, 0)
    show()
  }

  function draw(frame = Math.floor(player.position)) {
    if (!lifted || !figure) return
    figure.set(lifted.poses[frame] || null)
    stage.draw()
    const ratio = devicePixelRatio, width = flat.width = flat.clientWidth * ratio, height = flat.height = flat.clientHeight * ratio
    const context = flat.getContext('2d')
    context.clearRect(0, 0, width, height)
    if (!view || !input.seen) return
    const [x0, x1, y0, y1] = view, scale = 0.84 * Math.min(width / (x1 - x0 || 1), height / (y1 - y0 || 1))
    const place = p => [width / 2 + scale * (p[0] - (x0 + x1) / 2), height / 2 + scale * (p[1] - (y0 + y1) / 2)]
    const order = orders[input.seen.joints]
    const stroke = (pose, name, alpha, thick) => {
      if (!pose) return
      context.globalAlpha = alpha
      context.lineWidth = thick * ratio
      context.lineCap = 'round'
      const side = joint => name || sideOf(order, joint)
      for (const [a, b] of order?.bones || []) {
        if (!pose[a] || !pose[b]) continue
        context.strokeStyle = colour(side(b))
        context.beginPath(); context.moveTo(...place(pose[a])); context.lineTo(...place(pose[b])); context.stroke()
      }
      pose.forEach((point, joint) => {
        if (!point || (point[2] ?? 1) <= 0) return
        context.fillStyle = colour(side(joint))
        context.beginPath(); context.arc(...place(point), 1.1 * thick * ratio, 0, 2 * Math.PI); context.fill()
      })
    }
    stroke(input.seen.frames[frame], null, 1, 2.5)
    if (future.future && frame >= cut) stroke(future.future[Math.min(frame - cut, future.future.length - 1)], 'other', 0.9, 3)
  }

  function showSettings() {
    const bodies = Object.entries(orders).filter(([, order]) => order.of === 'body').map(([name]) => [name, name])
    const again = changes => page.guard(problem, () => run({ ...input, ...changes }))
    const number = (label, value, change, more = {}) => {
      const field = h('input', { type: 'number', value, 'aria-label': label, step: 'any', ...more, onchange: () => change(Number(field.value)) })
      return h('label', { class: 'field' }, h('span', {}, label), field)
    }
    renew(settings, choice('joint order', [['', 'as the file says'], ...bodies], input.joints || '', value => again({ joints: value || null })),
      number('frames a second', input.fps, fps => again({ fps }), { min: 5, max: 1000 }),
      number('image width, pixels', input.image[0], width => again({ image: [width, input.image[1]] }), { min: 1 }),
      number('image height, pixels', input.image[1], height => again({ image: [input.image[0], height] }), { min: 1 }),
      number('height of the person, m', input.height ?? '', height => again({ height: height || null }), { min: 0.5, max: 2.6, placeholder: 'usual' }))
  }

  function show() {
    const bars = actions.classes?.map(one => h('div', {}, h('span', {}, one.name), h('meter', { min: 0, max: 1, value: one.probability, 'aria-label': one.name }), h('span', {}, `${fixed(100 * one.probability, 0)} %`)))
    const test = lifted.expected_error[0], people = lifted.people > 1 ? ` The first of ${lifted.people} people is shown.` : ''
    facts.replaceChildren(
      h('p', {}, `${lifted.model.name} lifted ${lifted.poses.length} poses of ${input.name} in ${fixed(lifted.ms, 0)} ms, browser included.${people}`),
      h('h3', {}, 'Action'), actions.failed ? h('p', { class: 'dim' }, actions.failed)
        : h('div', {}, h('p', {}, actions.recognised ? h('b', {}, actions.recognised) : 'None of the actions that the model knows.'), h('div', { class: 'bars' }, bars)),
      h('h3', {}, 'Forecast'), h('p', { class: future.failed ? 'dim' : '' }, future.failed || `${future.model.name}: ${fixed(future.times.at(-1), 1)} s after ${fixed(cut / input.fps, 1)} s. ${distanceOf()}`),
      warnings([...lifted.warnings, ...(future.warnings || []), ...(actions.warnings || [])].filter((text, i, all) => all.indexOf(text) === i)) || '',
      test ? h('p', { class: 'small dim' }, `On test recordings (${test.source}) lifted joints were off by ${fixed(test.value)} ${test.unit} (${test.metric}${test.baseline ? `; ${test.baseline}: ${fixed(test.baseline_value)} ${test.unit}` : ''}).`) : '')
    const options = { fps: input.fps, image: input.image, ...(input.joints && { joints: input.joints }) }
    example.replaceChildren(h('h3', {}, 'The same request'), code(snippets(chiron, { path: 'poses/lift', file: 'keypoints.json', options, call: 'liftPoses', show: 'answer.names' })),
      h('div', { class: 'fields' }, button('Save keypoints.json', () => save(new Blob([JSON.stringify(request())], { type: 'application/json' }), 'keypoints.json')),
        button('Save poses.json', () => save(new Blob([JSON.stringify({ ...lifted, people: undefined, ms: undefined })], { type: 'application/json' }), 'poses.json'))))
  }

  /** Say how far the forecast is from what came, as a share of the person's height in the image. */
  function distanceOf() {
    const apart = [], heights = input.seen.frames.slice(0, cut).filter(Boolean).map(pose => { const ys = pose.filter(Boolean).map(p => p[1]); return Math.max(...ys) - Math.min(...ys) })
    future.future.forEach((pose, i) => pose?.forEach((point, joint) => {
      const truth = input.seen.frames[cut + i]?.[joint]
      if (point && truth) apart.push(Math.hypot(point[0] - truth[0], point[1] - truth[1]))
    }))
    if (!apart.length || !heights.length) return 'The clip ends there, so nothing says how good it is.'
    const tall = heights.sort((a, b) => a - b)[heights.length >> 1]
    return `On average ${fixed(100 * apart.reduce((sum, x) => sum + x, 0) / apart.length / tall)} % of the person’s height from what came.`
  }

  return { hidden() { player.play(false) } }
}

/** Return a lift's answer for one person, as recognition takes it. */
function onePerson(answer, poses) {
  const { persons, ...rest } = answer
  delete rest.ms
  return persons ? { ...rest, poses } : rest
}

/** Return the colour of a joint's side. @param {{ joints: string[] } | undefined} order @param {number} joint */
function sideOf(order, joint) {
  const name = order?.joints[joint] || ''
  return name.startsWith('left') ? 'left' : name.startsWith('right') ? 'right' : 'past'
}

function legend() {
  const entry = (name, text) => h('span', {}, h('i', { style: `background: var(--${name})` }), text)
  return h('div', { class: 'legend' }, entry('left', 'the person’s left'), entry('right', 'right'), entry('other', 'forecast'))
}
