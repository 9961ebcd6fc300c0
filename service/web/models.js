/** Models: a card each, with measured errors beside what needs no weights, and versions to promote or roll back. */
import { announce, button, fixed, h, table } from './ui.js'
import { measured } from './version.js'

const DOES = {
  'hand-forecast': task => `${task.skeleton?.name ?? 'hands'}: ${fixed(task.past / task.fps, 1)} s to the next ${fixed(task.future / task.fps, 1)} s at ${task.fps} frames a second`,
  'face-landmarks': task => `faces: 68 landmarks from ${task.levels[0]} points`,
  'face-map': task => `faces: 68 landmarks on a depth map of ${task.size} by ${task.size}`,
  'pose-lift': task => `bodies: 2D keypoints to 3D poses at ${task.fps} frames a second`,
  'pose-forecast': task => `bodies: ${fixed(task.past / task.fps, 1)} s in 2D to the next ${fixed(task.future / task.fps, 1)} s`,
  'action-recognition': task => `bodies: ${task.classes.length} actions in ${task.dims}D`,
}

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page, problem = h('div', { hidden: true }), cards = h('div')
  element.append(h('h2', {}, 'Models'), h('p', {}, 'What is served, how far off it is on test data that no network saw, and what the best method without trained weights reaches.'), problem, cards)

  /** @param {string} [name] of the model whose card is opened */
  async function show(name) {
    await page.guard(problem, async () => {
      page.forget()
      const { models, defaults } = await page.models()
      problem.hidden = true
      const chosen = new Set(Object.values(defaults)), unfolded = new Set([...cards.querySelectorAll('details[open]')].map(one => one.dataset.name))
      cards.replaceChildren(...models.map(model => card(model, chosen.has(model.name), unfolded.has(model.name) || model.name === name)))
      if (name) cards.querySelector(`[data-name="${CSS.escape(name)}"]`)?.scrollIntoView()
    })
  }

  function card(model, isDefault, unfolded) {
    const { task } = model, ready = model.state === 'ready', place = model.beside_baselines
    const summary = h('summary', {}, h('b', {}, model.name), h('span', { class: `tag ${ready ? 'good' : 'poor'}` }, model.state), isDefault && h('span', { class: 'tag' }, 'default'),
      h('span', { class: 'dim' }, ` ${task ? DOES[task.kind]?.(task) ?? task.kind : model.reason ?? 'no version is served yet'}`))
    const body = h('details', { class: 'card', 'data-name': model.name, open: unfolded }, summary)
    const versions = table('Versions', ['version', 'made', 'state', ''], model.versions.map(version => [
      h('code', {}, version.version), version.lineage?.job ? h('a', { href: `#jobs/${version.lineage.job}` }, `job ${version.lineage.job.slice(0, 8)}`) : 'shipped', version.serving ? 'serving' : '',
      h('span', {}, !version.serving && button('Promote', () => change(model.name, version.version, 'promote')),
        version.serving && model.versions.length > 1 && button('Roll back', () => change(model.name, version.version, 'rollback')))]))
    if (!task) {
      body.append(h('p', { class: 'dim' }, 'None of its versions is served.'), ...model.versions.slice(0, 1).map(newest => measured(newest.measurements, `Measured on test data, version ${newest.version}`)), versions)
      return body
    }
    body.append(
      h('p', {}, model.title), model.fallback && h('p', { class: 'warnings' }, model.fallback) || '',
      h('p', { class: 'dim' }, `${model.network}, ${model.parameters} weights · ${model.licence} · exact under ${model.symmetries.join(', ') || 'nothing'} · ${model.provider}`,
        place ? ` · mean error ${fixed(place.ratio, 2)} times that of the best method without weights, better in ${place.better} of ${place.rows} rows` : ''),
      measured(model.measurements), versions,
      table('Trained on', ['source', 'licence', 'attribution'], model.trained_on.map(one => [one.name, one.licence, one.attribution])))
    return body
  }

  function change(name, version, what) {
    return page.guard(problem, async () => {
      const done = await chiron.version(name, version, what)
      await show()
      announce(`${done.name} serves version ${done.version}`)
    })
  }

  return { shown: show }
}
