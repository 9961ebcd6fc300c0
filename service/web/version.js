/** One version of a model: what it measured on test data beside what needs no weights, and its promotion. */
import { announce, button, fixed, h, table } from './ui.js'

const SECTION = { 'hand-forecast': 'hands' } // which shows a model by its name

/** Return whether a figure beats its baseline; accuracies are better when higher. */
function better({ metric, value, baseline_value: other }) {
  if (other === null || other === undefined) return false
  return /top-|PCK|accuracy|overlap/i.test(metric) ? value > other : value < other
}

const figure = one => `${fixed(one.value, 2)} ${one.unit}`

/** Return the figures on test data as a table, the better ones in bold. @param {any[]} measurements @param {string} [caption] */
export const measured = (measurements, caption = 'Measured on test data') => table(caption, ['measure', 'data', 'model', 'without weights'],
  measurements.filter(one => one.split === 'test').map(one => [
    one.metric, `${one.source}, ${one.windows} samples`, h('span', {}, better(one) ? h('b', {}, figure(one)) : figure(one)),
    one.baseline === null ? '–' : h('span', {}, `${fixed(one.baseline_value, 2)} ${one.unit} `, h('span', { class: 'dim' }, one.baseline))]))

/**
 * Show the version that a job has made.
 * @param {HTMLElement} place @param {any} page @param {{ model: string, version: string }} made
 */
export async function showVersion(place, page, { model, version }) {
  const { chiron } = page, problem = h('div', { hidden: true }), body = h('div')
  place.replaceChildren(h('h3', {}, `Version ${version} of `, h('a', { href: `#models/${model}` }, model)), problem, body)
  const show = () => page.guard(problem, async () => {
    const known = await chiron.get(`models/${model}`), one = known.versions.find(each => each.version === version), section = SECTION[known.task?.kind]
    if (!one) return body.replaceChildren(h('p', { class: 'dim' }, 'This version was removed.'))
    const promote = () => page.guard(problem, async () => {
      await chiron.version(model, version, 'promote')
      page.forget()
      await show()
      announce(`${model} serves version ${version}`)
    })
    body.replaceChildren(h('div', { class: 'fields' }, one.serving
      ? [h('span', { class: 'tag good' }, 'serving'), section && h('a', { class: 'button main', href: `#${section}/${model}` }, `Try ${model} on ${section}`)]
      : button(`Promote ${model} ${version}`, promote, 'main')), measured(one.measurements))
  })
  await show()
}
