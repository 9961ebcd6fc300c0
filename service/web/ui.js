/** Parts that every section of the page is made of: elements, problems, tables, files, downloads and code to copy. */
import { Problem } from './chiron.js'

/**
 * Make an element. Attributes that begin with `on` are listeners; true and false set or leave out an attribute.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {...any} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false))
  return element
}

/** @param {string} id @returns {any} */
export const find = id => document.getElementById(id)

let speaking = 0

/** Say a sentence to those who do not see the page. @param {string} sentence */
export function announce(sentence) {
  clearTimeout(speaking)
  find('live').textContent = ''
  speaking = window.setTimeout(() => { find('live').textContent = sentence }, 50)
}

const REMEDIES = new Map()

/** Show what was expected, what came and what to do, in place of what `place` has. */
export function showProblem(place, error, chiron) {
  const problem = error instanceof Problem ? error : null
  const title = problem ? problem.title : error instanceof TypeError ? 'The service cannot be reached' : 'The page could not do this'
  const box = h('div', { class: 'problem', role: 'alert' }, h('b', {}, title || 'The service refused this'), h('p', {}, error.message.replaceAll('`', '')))
  if (problem?.errors.length > 1) box.append(h('ul', {}, problem.errors.slice(1, 6).map(one => h('li', {}, `${one.pointer}: ${one.detail}`))))
  place.replaceChildren(box)
  place.hidden = false
  if (!problem?.kind || !chiron) return
  const remedy = h('p', {})
  box.append(remedy, h('p', { class: 'small dim' }, `${problem.status} ${problem.kind}`, problem.request && ` · request ${problem.request}`))
  if (!REMEDIES.has(problem.kind)) REMEDIES.set(problem.kind, chiron.get(`problems/${problem.kind}`).then(kind => kind.remedy, () => ''))
  REMEDIES.get(problem.kind).then(text => { remedy.textContent = text && `What to do: ${text.replaceAll('`', '')}` })
}

/** Show warnings, or nothing. @param {string[]} warnings */
export const warnings = list => list?.length ? h('ul', { class: 'warnings', 'aria-label': 'Warnings' }, list.map(text => h('li', {}, text))) : null

/**
 * Make a table. A cell is a text, a number or an element; numbers are set to the right.
 * @param {string} caption @param {string[]} heads @param {any[][]} rows
 */
export function table(caption, heads, rows) {
  const text = value => value instanceof HTMLElement && value.tagName === 'B' ? value.textContent : value
  const cell = value => h('td', { class: typeof value === 'number' || /^[-−]?[\d.]+( \S+)?$/.test(text(value)) ? 'number' : null }, value ?? '')
  return h('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption), h('thead', {}, h('tr', {}, heads.map(text => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, rows.map(row => h('tr', {}, row.map(cell))))))
}

/** Save a blob under a name. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = h('a', { href: URL.createObjectURL(blob), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}

/**
 * Take files by a button, or dropped on `target`.
 * @param {HTMLElement} target @param {(files: File[]) => void} take @param {{ accept?: string, multiple?: boolean, label: string }} options
 */
export function filePicker(target, take, { accept, multiple = false, label }) {
  const input = h('input', { type: 'file', accept, multiple, 'aria-label': label, onchange: () => { if (input.files.length) take([...input.files]); input.value = '' } })
  const over = on => event => { event.preventDefault(); target.classList.toggle('over', on) }
  target.addEventListener('dragover', over(true))
  target.addEventListener('dragleave', over(false))
  target.addEventListener('drop', event => { over(false)(event); if (event.dataTransfer.files.length) take([...event.dataTransfer.files]) })
  return h('label', { class: 'button' }, label, input)
}

/** Show the same request in several languages, with a button that copies it. @param {Record<string, string>} languages */
export function code(languages) {
  const names = Object.keys(languages), shown = sessionStorage.getItem('language')
  const text = h('code', {}), block = h('pre', { tabindex: 0, 'aria-label': 'Code of this request' }, text)
  const select = name => {
    text.textContent = languages[name]
    for (const button of tabs) button.setAttribute('aria-pressed', String(button.textContent === name))
    sessionStorage.setItem('language', name)
  }
  const tabs = names.map(name => h('button', { type: 'button', onclick: () => select(name) }, name))
  const copy = h('button', { type: 'button', class: 'copy', onclick: async () => {
    await navigator.clipboard.writeText(text.textContent)
    copy.textContent = 'copied'
    announce('Copied')
    setTimeout(() => { copy.textContent = 'copy' }, 1500)
  } }, 'copy')
  select(names.includes(shown) ? shown : names[0])
  return h('div', { class: 'code' }, h('div', { class: 'tabs' }, tabs, copy), block)
}

/** A selection of options. @param {string} label @param {[string, string][]} options @param {string} chosen @param {(value: string) => void} change */
export function choice(label, options, chosen, change) {
  const select = h('select', { 'aria-label': label, onchange: () => change(select.value) }, options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)))
  return h('label', { class: 'field' }, h('span', {}, label), select)
}

/** A control of a form below its label. @param {string} label @param {HTMLElement} control */
export const field = (label, control) => h('label', { class: 'field' }, h('span', {}, label), control)

/** A selection in a form. @param {string} name @param {[string, string][]} options */
export const options = (name, options, attributes = {}) => h('select', { name, ...attributes }, options.map(([value, text]) => h('option', { value }, text)))

/** @param {string} label @param {(event: Event) => void} act @param {string} [kind] */
export const button = (label, act, kind = '') => h('button', { type: 'button', class: kind || null, onclick: act }, label)

export const stillness = matchMedia('(prefers-reduced-motion: reduce)')

/** Replace what a place has, and keep the focus on the control of the same name. @param {HTMLElement} place @param {...Node} children */
export function renew(place, ...children) {
  const name = place.contains(document.activeElement) && document.activeElement.getAttribute('aria-label')
  place.replaceChildren(...children)
  if (name) [...place.querySelectorAll('[aria-label]')].find(one => one.getAttribute('aria-label') === name)?.focus()
}

/** @param {number} value @param {number} [digits] */
export const fixed = (value, digits = 1) => value.toFixed(digits).replace('-', '−')

/** @param {number} seconds since 1970 */
export const clock = seconds => new Date(1000 * seconds).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })

/**
 * Return which workers are connected, or that what waits for one does not go on.
 * @param {{ name: string, device: string }[]} workers @param {string} waits
 */
export const connected = (workers, waits) => workers.length ? [`Workers: ${workers.map(worker => `${worker.name} (${worker.device})`).join(', ')}.`]
  : [`No worker is connected: ${waits} until one is. The command `, h('code', {}, 'make worker'), ' starts one.']

/** @param {number} bytes */
export const size = bytes => bytes < 1e3 ? `${bytes} B` : bytes < 1e6 ? `${fixed(bytes / 1e3)} kB` : `${fixed(bytes / 1e6)} MB`
