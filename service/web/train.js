/** The form that trains a forecaster of hands on a data set: what it sends is a job (POST /jobs). */
import { announce, connected, field, h, options } from './ui.js'

const RUN = 'hands-own', KIND = 'hand-forecast', PRESET = { past: 30, future: 30, fps: 30 } // of RUN

/**
 * Return the form; a data set without hands has none.
 * @param {any} page @param {{ name: string, counts: Record<string, any> }} set
 */
export async function trainForm(page, set) {
  const sources = Object.keys(set.counts?.hands ?? {})
  if (!sources.length) return h('p', { class: 'dim' }, 'Jobs may name it; ', h('a', { href: '#jobs' }, 'submit one'), '.')
  const { chiron } = page, problem = h('div', { hidden: true })
  const [{ offers, workers }, { models }] = await Promise.all([chiron.get('workers'), page.models()])
  const bases = models.filter(one => one.state === 'ready' && one.task.kind === KIND && one.parameters)
  const number = (name, value, attributes) => h('input', { type: 'number', name, value, required: true, ...attributes })
  const base = options('base', [['', 'nothing: train from the start'], ...bases.map(one => [one.name, one.name])], { onchange: () => { own.disabled = Boolean(base.value) } })
  const own = h('fieldset', {}, h('legend', {}, 'Network and window'), h('div', { class: 'form' },
    field('architecture', options('architecture', [['', 'that of hands-forecast'], ...offers.architecture.map(one => [one, one])])),
    field('its sizes, if others', h('input', { name: 'network', placeholder: 'layers=2, channels=32', pattern: String.raw`\s*(\w+\s*=\s*[\w.]+\s*(,\s*|$))*`, title: 'name=value, separated by commas' })),
    field('past, in frames', number('past', PRESET.past, { min: 2, max: 1000 })), field('future, in frames', number('future', PRESET.future, { min: 1, max: 1000 })),
    field('frames a second', number('fps', PRESET.fps, { min: 1, max: 1000, step: 'any' }))))
  const length = h('input', { type: 'number', name: 'length', min: 1, max: 1e8, placeholder: '3000' })
  const mixed = sources.length > 1 && h('fieldset', {}, h('legend', {}, 'Sources'), sources.map(one => h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'sources', value: one, checked: true }), one)))
  const form = h('form', { 'aria-label': `Train on ${set.name}`, onsubmit: event => { event.preventDefault(); submit() } }, h('h3', {}, `Train on ${set.name}`),
    h('div', { class: 'form' },
      field('name of the model', h('input', { name: 'name', pattern: '[a-z0-9]+(-[a-z0-9]+)*', maxlength: 64, placeholder: `hands-${sources[0].replace(/[^a-z0-9]+/g, '-')}`, title: 'lower-case letters and digits, with single hyphens between them' })),
      field('fine-tune from', base), field('length of the training', length), field('counted in', options('unit', [['steps', 'steps'], ['epochs', 'epochs: passes over the windows']]))),
    own, mixed, workers.length ? null : h('p', { class: 'warnings' }, connected([], 'the job waits')), problem, h('button', { class: 'main' }, 'Train'))

  const submit = () => page.guard(problem, async () => {
    problem.hidden = true
    const job = await chiron.submit(specOf(new FormData(form), set.name, sources))
    announce(`Job ${job.id} is ${job.state}`)
    location.hash = `#jobs/${job.id}`
  })
  return form
}

/** Return the job of a filled form; what is left as it is, is left out. @param {FormData} form @param {string} dataset @param {string[]} all */
function specOf(form, dataset, all) {
  const text = name => String(form.get(name) ?? '').trim(), sources = form.getAll('sources'), network = sizesOf(text('network'))
  const preset = form.has('past') && `${text('past')}+${text('future')}@${text('fps')}`
  return {
    kind: 'train', run: RUN, dataset,
    ...Object.fromEntries(['name', 'base', 'architecture'].filter(text).map(name => [name, text(name)])),
    ...(preset && { preset }), ...(text('length') && { [text('unit')]: Number(text('length')) }),
    ...(Object.keys(network).length && { network }), ...(sources.length && sources.length < all.length && { sources }),
  }
}

/** Return `layers=2, residual=true` as an object of numbers, booleans and words. @param {string} text */
function sizesOf(text) {
  const value = word => word === 'true' || (word !== 'false' && (word !== '' && Number.isFinite(Number(word)) ? Number(word) : word))
  return Object.fromEntries(text.split(',').filter(part => part.trim()).map(part => part.split('=').map(word => word.trim())).map(([name, word]) => [name, value(word)]))
}
