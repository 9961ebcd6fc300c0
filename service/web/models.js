/** Models: a card each, with measured errors beside what needs no weights, and versions to promote or roll back. */
import { announce, button, fixed, h, table } from './ui.js'

const DOES = {
  'hand-forecast': task => `hands: ${fixed(task.past / task.fps, 1)} s to the next ${fixed(task.future / task.fps, 1)} s at ${task.fps} frames a second`,
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

  async function show() {
    await page.guard(problem, async () => {
      page.forget()
      const { models, defaults } = await page.models()
      problem.hidden = true
      const chosen = new Set(Object.values(defaults)), unfolded = new Set([...cards.querySelectorAll('details[open]')].map(one => one.dataset.name))
      cards.replaceChildren(...models.map(model => card(model, chosen.has(model.name), unfolded.has(model.name))))
    })
  }

  function card(model, isDefault, unfolded) {
    const { task } = model, ready = model.state === 'ready', place = model.beside_baselines
    const summary = h('summary', {}, h('b', {}, model.name), h('span', { class: `tag ${ready ? 'good' : 'poor'}` }, model.state), isDefault && h('span', { class: 'tag' }, 'default'),
      h('span', { class: 'dim' }, ` ${task ? DOES[task.kind]?.(task) ?? task.kind : model.reason}`))
    const body = h('details', { class: 'card', 'data-name': model.name, open: unfolded }, summary)
    if (!task) return body
    body.append(
      h('p', {}, model.title), model.fallback && h('p', { class: 'warnings' }, model.fallback) || '',
      h('p', { class: 'dim' }, `${model.network}, ${model.parameters} weights · ${model.licence} · exact under ${model.symmetries.join(', ') || 'nothing'} · ${model.provider}`,
        place ? ` · mean error ${fixed(place.ratio, 2)} times that of the best method without weights, better in ${place.better} of ${place.rows} rows` : ''),
      table('Measured on test data', ['measure', 'data', 'model', 'without weights'], model.measurements.filter(one => one.split === 'test').map(one => [
        one.metric, `${one.source}, ${one.windows} samples`, figure(one), one.baseline === null ? '–' : h('span', {}, `${fixed(one.baseline_value, 2)} ${one.unit} `, h('span', { class: 'dim' }, one.baseline))])),
      table('Versions', ['version', 'made', 'state', ''], model.versions.map(version => [
        h('code', {}, version.version), version.lineage?.job ? `job ${version.lineage.job}` : 'shipped', version.serving ? 'serving' : '',
        h('span', {}, !version.serving && button('Promote', () => change(model.name, version.version, 'promote')),
          version.serving && model.versions.length > 1 && button('Roll back', () => change(model.name, version.version, 'rollback')))])),
      table('Trained on', ['source', 'licence', 'attribution'], model.trained_on.map(one => [one.name, one.licence, one.attribution])))
    return body
  }

  const figure = one => h('span', {}, better(one) ? h('b', {}, `${fixed(one.value, 2)} ${one.unit}`) : `${fixed(one.value, 2)} ${one.unit}`)

  function change(name, version, what) {
    return page.guard(problem, async () => {
      const done = await chiron.version(name, version, what)
      await show()
      announce(`${done.name} serves version ${done.version}`)
    })
  }

  return { shown: show }
}

/** Return whether a figure beats its baseline; accuracies are better when higher. */
function better({ metric, value, baseline_value: other }) {
  if (other === null || other === undefined) return false
  return /top-|PCK|accuracy|overlap/i.test(metric) ? value > other : value < other
}
