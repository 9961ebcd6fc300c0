/** Data sets: upload or register recordings, see them checked, and what is in them. */
import { announce, button, clock, filePicker, h, table } from './ui.js'

const POLL_MS = 3000

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page, problem = h('div', { hidden: true }), list = h('div'), drop = h('div', { class: 'card' })
  const name = h('input', { 'aria-label': 'Name of the data set', pattern: '[a-z0-9_-]{1,64}', placeholder: 'own', maxlength: 64 })
  const folder = h('input', { 'aria-label': 'Folder on the server', placeholder: 'lab/2026' })
  let timer = 0
  const added = async work => page.guard(problem, async () => {
    const set = await work()
    problem.hidden = true
    announce(`${set.name} is ${set.state}`)
    await refresh()
  })
  const upload = files => added(() => chiron.uploadDataset(name.value || files[0].name.replace(/\.zip$/i, '').toLowerCase().replace(/[^a-z0-9_-]+/g, '-'), files[0]))
  drop.append(h('h3', {}, 'Add a data set'), h('p', { class: 'dim' }, 'A .zip with the layout of the data folder (hands/, faces/, body/), or with a dataset.json beside recordings of hands, or a folder under CHIRON_DATA_ROOT on the server. It is read as training reads it, then it is ready or refused with the reason.'),
    h('div', { class: 'fields' }, h('label', { class: 'field' }, h('span', {}, 'name, else that of the file'), name), filePicker(drop, upload, { accept: '.zip', label: 'Upload a .zip' })),
    h('div', { class: 'fields' }, h('label', { class: 'field' }, h('span', {}, 'folder'), folder),
      button('Register', () => added(() => chiron.post('datasets', { name: name.value, folder: folder.value })))))
  element.append(h('h2', {}, 'Data'), h('p', {}, 'Recordings that jobs may train on. A data set never changes.'), problem, drop, list)

  async function refresh() {
    await page.guard(problem, async () => {
      const { datasets } = await chiron.datasets()
      list.replaceChildren(datasets.length ? table('Data sets', ['name', 'state', 'recordings', 'added', ''], datasets.map(set => [
        h('b', {}, set.name), h('span', {}, h('span', { class: `tag ${set.state === 'ready' ? 'good' : set.state === 'refused' ? 'poor' : ''}` }, set.state), set.reason ? h('p', { class: 'small' }, set.reason) : ''),
        counted(set.counts), clock(set.created_at),
        h('span', {}, h('a', { href: `#jobs/${set.job}` }, 'check'), ' ', button('Remove', () => added(async () => { await chiron.remove(`datasets/${set.name}`); return { name: set.name, state: 'removed' } }), 'bad'))]))
        : h('p', { class: 'dim' }, 'No data set yet; jobs use the folder of their worker.'))
    })
  }

  return {
    shown() { refresh(); clearInterval(timer); timer = setInterval(() => document.hidden || list.contains(document.activeElement) || refresh(), POLL_MS) },
    hidden() { clearInterval(timer) },
  }
}

/** Return counts by part, source and split, a line a source. @param {Record<string, any> | null} counts */
function counted(counts) {
  if (!counts) return ''
  const lines = Object.entries(counts).flatMap(([part, sources]) => Object.entries(sources).map(([source, splits]) =>
    `${part}/${source}: ${typeof splits === 'object' ? Object.entries(splits).map(([split, count]) => `${split} ${count}`).join(', ') : splits}`))
  return h('span', {}, lines.map(line => h('div', { class: 'small' }, line)))
}
