/** Data sets: upload or register recordings, see them checked, and what is in them. */
import { follow, state } from './dataset.js'
import { addRecordings } from './recordings.js'
import { announce, button, clock, connected, field, h, table } from './ui.js'

const POLL_MS = 3000

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page, problem = h('div', { hidden: true }), list = h('div'), one = h('div'), workers = h('p', { class: 'dim' })
  const name = h('input', { pattern: '[a-z0-9_\\-]{1,64}', placeholder: 'own', maxlength: 64 }), folder = h('input', { placeholder: 'lab/2026' })
  let timer = 0, following = new AbortController()
  const change = work => page.guard(problem, async () => {
    problem.hidden = true
    await work()
    await refresh()
  })
  const go = set => { location.hash = `#data/${set.name}` }
  const register = () => change(async () => go(await chiron.post('datasets', { name: name.value, folder: folder.value })))
  element.append(h('h2', {}, 'Data'), h('p', {}, 'Recordings that jobs may train on. A data set never changes.'), workers, problem, one, addRecordings(page, set => { go(set); refresh() }),
    h('details', { class: 'card' }, h('summary', {}, 'Register a folder of the server instead'), h('p', { class: 'dim' }, 'A folder under CHIRON_DATA_ROOT, with the layout of the data folder or with a dataset.json beside recordings.'),
      h('div', { class: 'fields' }, field('name', name), field('folder', folder), button('Register', register))), list)

  async function refresh() {
    await page.guard(problem, async () => {
      const [{ datasets }, known] = await Promise.all([chiron.datasets(), chiron.get('workers')]), waiting = datasets.some(set => set.state === 'checking')
      workers.className = waiting && !known.workers.length ? 'warnings' : 'dim'
      workers.replaceChildren(...connected(known.workers, 'a data set stays “checking”'))
      list.replaceChildren(datasets.length ? table('Data sets', ['name', 'state', 'recordings', 'added', ''], datasets.map(set => [
        h('a', { href: `#data/${set.name}` }, h('b', {}, set.name)), h('span', {}, state(set), set.reason ? h('a', { class: 'small', href: `#data/${set.name}`, 'aria-label': `Why ${set.name} is refused` }, ' why') : ''),
        counts(set.counts), clock(set.created_at),
        h('span', {}, h('a', { href: `#jobs/${set.job}` }, 'check'), ' ', button('Remove', () => remove(set), 'bad'))]))
        : h('p', { class: 'dim' }, 'No data set yet; jobs use the folder of their worker.'))
    })
  }

  const remove = set => change(async () => {
    await chiron.remove(`datasets/${set.name}`)
    announce(`${set.name} is removed`)
    location.hash = '#data'
  })

  return {
    /** @param {string} chosen the name of a data set, or nothing */
    shown(chosen) {
      following.abort()
      following = new AbortController()
      one.replaceChildren()
      if (chosen) follow(one, page, chosen, following.signal, refresh)
      refresh()
      clearInterval(timer)
      timer = setInterval(() => document.hidden || list.contains(document.activeElement) || refresh(), POLL_MS)
    },
    hidden() { clearInterval(timer); following.abort() },
  }
}

/** Return counts by part, source and split, a line a source. @param {Record<string, any> | null} counts */
const counts = counts => h('span', {}, Object.entries(counts ?? {}).flatMap(([part, sources]) => Object.entries(sources).map(([source, splits]) =>
  h('div', { class: 'small' }, `${part}/${source}: ${typeof splits === 'object' ? Object.entries(splits).map(([split, count]) => `${split} ${count}`).join(', ') : splits}`))))
