/** One data set: its check until it is ready or refused, and then what is in it, or what is wrong with which recording. */
import { trainForm } from './train.js'
import { announce, h, table } from './ui.js'

const POLL_MS = 1000
const RECORDING = String.raw`[^:;]+\.(?:jsonl?|ndjson|csv|npy|npz)[^:;]*: ` // begins what the check says of one recording

/**
 * Follow a data set until its check ends, or until the signal is aborted.
 * @param {HTMLElement} place @param {any} page @param {string} name @param {AbortSignal} signal @param {(set: any) => void} changed
 */
export async function follow(place, page, name, signal, changed) {
  const { chiron } = page, problem = h('div', { hidden: true }), body = h('div')
  place.replaceChildren(h('div', { class: 'card', 'aria-label': `Data set ${name}`, role: 'group' }, h('h3', {}, name), problem, body))
  await page.guard(problem, async () => {
    for (let said = ''; !signal.aborted;) {
      const set = await chiron.get(`datasets/${name}`), job = set.state === 'checking' ? await chiron.job(set.job) : null
      if (signal.aborted) return
      if (said !== set.state) announce(`${name} is ${set.state}`)
      if (said !== set.state || job) body.replaceChildren(...(job ? checking(set, job) : set.state === 'ready' ? [ready(set), await trainForm(page, set)] : [refused(set)]))
      said = set.state
      if (!job) return changed(set)
      await new Promise(done => { setTimeout(done, POLL_MS) })
    }
  })
}

const checking = (set, job) => [
  h('p', {}, state(set), ' Every recording is read, as training reads it.'), h('progress', { 'aria-label': 'Check' }),
  h('p', { class: 'small dim' }, h('a', { href: `#jobs/${set.job}` }, 'its job'), `: ${job.detail}`),
]

const ready = set => h('div', {}, h('p', {}, state(set), ' It can be trained on.'), counted(set.counts))

const refused = set => h('div', { class: 'problem', role: 'alert' }, h('b', {}, 'The recordings cannot be trained on'),
  h('ul', {}, faults(set.reason).map(fault => h('li', {}, fault))), h('p', {}, 'Correct or remove these recordings, remove this data set, and upload them again.'))

/** Return what is wrong, one for each recording. @param {string} reason */
const faults = reason => reason.split(new RegExp(`; (?=${RECORDING})|; (?=and \\d+ more$)`))

/** @param {{ state: string }} set */
export const state = set => h('span', { class: `tag ${set.state === 'ready' ? 'good' : set.state === 'refused' ? 'poor' : ''}` }, set.state)

/** Return recordings by source and split. @param {Record<string, any> | null} counts */
export function counted(counts) {
  const rows = Object.entries(counts ?? {}).flatMap(([part, sources]) => Object.entries(sources).map(([source, splits]) => [`${part}/${source}`, splits]))
  if (!rows.every(([, splits]) => typeof splits === 'object')) return h('span', {}, rows.map(([source, splits]) => h('div', { class: 'small' }, `${source}: ${JSON.stringify(splits)}`)))
  const splits = [...new Set(rows.flatMap(([, counts]) => Object.keys(counts)))]
  return table('Recordings', ['source', ...splits], rows.map(([source, counts]) => [source, ...splits.map(split => counts[split] ?? 0)]))
}
