/** The shell of the page: sections by the address's hash, the key, and light or dark. */
import { Chiron, Problem } from './chiron.js'
import { announce, find, h, showProblem } from './ui.js'

const SECTIONS = { hands: 'Hands', faces: 'Faces', bodies: 'Bodies', jobs: 'Jobs', models: 'Models', data: 'Data' }
const chiron = new Chiron()
chiron.key = sessionStorage.getItem('key')

/** What a section gets: the client, the catalogue of models read once, and a guard that asks for a key where one is missing. */
const page = {
  chiron,
  /** @type {Promise<any> | null} */ catalogue: null,
  models() {
    this.catalogue ||= chiron.models().catch(error => { this.catalogue = null; throw error })
    return this.catalogue
  },
  forget() { this.catalogue = null },
  /** Run `task`; show its problem in `place`, after asking for a key if that is what it needs. */
  async guard(place, task) {
    for (;;) {
      try {
        return await task()
      } catch (error) {
        if (error.name === 'AbortError') return undefined
        if (error instanceof Problem && error.status === 401 && await askKey(error.message)) continue
        showProblem(place, error, chiron)
        announce(error.message)
        return undefined
      }
    }
  },
}

/** @type {Promise<boolean> | null} */
let asking = null

/** Ask for a key once, however many requests need it; resolve to whether one was given. */
function askKey(reason) {
  asking ||= new Promise(resolve => {
    const dialog = find('key-dialog')
    find('key-reason').textContent = reason
    find('key').value = ''
    dialog.returnValue = ''
    dialog.onclose = () => {
      asking = null
      const given = dialog.returnValue === 'use' && find('key').value
      if (given) { chiron.key = find('key').value.trim(); sessionStorage.setItem('key', chiron.key) }
      resolve(Boolean(given))
    }
    dialog.showModal()
  })
  return asking
}

/** @type {Map<string, { element: HTMLElement, shown?: () => void, hidden?: () => void }>} */
const opened = new Map()
let current = ''

async function show() {
  const [name, ...rest] = location.hash.slice(1).split('/')
  const section = name in SECTIONS ? name : 'hands'
  if (section !== current) opened.get(current)?.hidden?.()
  current = section
  document.title = `${SECTIONS[section]} · Chiron`
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${section}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  if (!opened.has(section)) {
    const element = h('section', { 'aria-label': SECTIONS[section] })
    find('content').replaceChildren(element)
    const module = await import(`./${section}.js`)
    if (opened.has(section) || current !== section) return show()
    opened.set(section, { element, ...module.open(element, page) })
  }
  const { element, shown } = opened.get(section)
  find('content').replaceChildren(element)
  shown?.(rest.join('/'))
}

function theme(name) {
  document.documentElement.dataset.theme = name
  find('theme').textContent = name === 'dark' ? 'light' : 'dark'
  find('theme').setAttribute('aria-label', `Use ${find('theme').textContent} colours`)
  document.dispatchEvent(new Event('theme'))
}

const darkness = matchMedia('(prefers-color-scheme: dark)')
const chosen = localStorage.getItem('theme')
theme(chosen || (darkness.matches ? 'dark' : 'light'))
darkness.addEventListener('change', () => localStorage.getItem('theme') || theme(darkness.matches ? 'dark' : 'light'))
find('theme').onclick = () => { const name = find('theme').textContent; localStorage.setItem('theme', name); theme(name) }
find('key-open').onclick = async () => {
  if (await askKey('Whoever runs the service makes keys with the command chiron keys add NAME.')) { opened.clear(); page.forget(); show() }
}
addEventListener('hashchange', show)
show()
