/** The card that adds a data set: files, a folder or a .zip, what dataset.json declares of recordings of hands, and their upload. */
import { announce, button, field, filePicker, h, options, size } from './ui.js'
import { directoryOf, withFile, zip } from './zip.js'

const FILE = 'dataset.json', SKELETON = 'skeleton.json', PARTS = ['hands', 'faces', 'facescape', 'body'] // of the layout of the data folder
const READ = /\.(npz|npy|jsonl?|ndjson|csv|mat|ply|obj)$/i, NAME = '[a-z0-9]+((-|_)[a-z0-9]+)*', TRACKERS = ['mediapipe', 'openxr', 'leap']
const LICENCES = ['CC0-1.0', 'CC-BY-4.0', 'MIT', 'Apache-2.0', 'internal use only']

/** @typedef {{ path: string, file: File }} Found */

/** @param {any} page @param {(set: any) => void} added called with the data set that the service checks from now on */
export function addRecordings(page, added) {
  const { chiron } = page, problem = h('div', { hidden: true }), chosen = h('p'), upload = h('button', { class: 'main' }, 'Upload')
  const name = h('input', { name: 'name', required: true, pattern: NAME, maxlength: 64, placeholder: 'mine', title: 'lower-case letters and digits, with - or _ between them' })
  const declaration = h('fieldset', { hidden: true }), card = h('div', { class: 'card' })
  const form = h('form', { hidden: true, onsubmit: event => { event.preventDefault(); send() } }, h('div', { class: 'fields' }, field('name of the data set', name)), declaration, upload)
  /** @type {{ files: Found[], archive: File | null, directory: import('./zip.js').Directory | null, declared: boolean } | null} */ let content = null

  card.append(h('h3', {}, 'Add a data set'), h('p', { class: 'dim' }, 'Recordings of hands as your tracker writes them (.jsonl, .json, .csv, .npy, .npz), or a .zip of them. Each file is a recording. A .zip may also have the layout of the data folder (hands/, faces/, body/).'),
    h('div', { class: 'fields' }, filePicker(card, files => take(files.map(file => ({ path: file.name, file }))), { multiple: true, label: 'Choose files or a .zip' }), folderPicker(), h('span', { class: 'dim' }, 'or drop them here')),
    problem, chosen, form)
  card.addEventListener('drop', async event => {
    const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean)
    if (!entries.some(entry => entry.isDirectory)) return
    event.stopImmediatePropagation()
    event.preventDefault()
    card.classList.remove('over')
    take((await Promise.all(entries.map(inside))).flat())
  }, { capture: true }) // before the picker of files, which sees a folder as an empty file

  function folderPicker() {
    const input = h('input', { type: 'file', webkitdirectory: true, 'aria-label': 'Choose a folder', onchange: () => { if (input.files.length) take([...input.files].map(file => ({ path: file.webkitRelativePath || file.name, file }))); input.value = '' } })
    return h('label', { class: 'button' }, 'Choose a folder', input)
  }

  /** @param {Found[]} found */
  const take = found => page.guard(problem, async () => {
    problem.hidden = true
    const archive = found.length === 1 && /\.zip$/i.test(found[0].path) ? found[0].file : null
    const top = commonFolder(found), files = archive ? [] : found.map(one => ({ ...one, path: top ? one.path.slice(top.length + 1) : one.path })).filter(({ path }) => READ.test(path) && !/(^|\/)\./.test(path))
    if (!archive && !files.length) throw new Error(`Expected recordings (.jsonl, .json, .csv, .npy or .npz) or a .zip, got ${found.map(one => one.path).slice(0, 3).join(', ')}.`)
    const directory = archive && await directoryOf(archive), names = archive ? directory?.names ?? [] : files.map(one => one.path)
    const laid = names.some(one => PARTS.includes(one.split('/')[0])), declared = Boolean(archive && !directory) || laid || names.some(one => one.split('/').pop() === FILE)
    content = { files, archive, directory, declared }
    const recordings = names.filter(one => !one.endsWith('/') && one.split('/').pop() !== FILE).length, bytes = archive ? archive.size : files.reduce((sum, { file }) => sum + file.size, 0)
    const left = archive ? 0 : found.length - files.length
    chosen.textContent = `${archive ? archive.name : top || 'Chosen'}: ${archive && !directory ? '' : `${recordings} ${recordings === 1 ? 'file' : 'files'}, `}${size(bytes)}.`
      + (declared ? laid || !names.length ? '' : ` Its ${FILE} declares them.` : ` It has no ${FILE}: fill in what it would declare.`) + (left ? ` ${left} other files are left out.` : '')
    name.value = (top || (archive ? archive.name.replace(/\.zip$/i, '') : '')).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || name.value
    if (!declared && !declaration.children.length) declaration.append(...await declarationFields(chiron))
    declaration.hidden = declaration.disabled = declared
    form.hidden = false
    announce(chosen.textContent)
    name.focus()
  })

  const send = () => page.guard(problem, async () => {
    problem.hidden = true
    upload.disabled = true
    upload.textContent = 'Uploading …'
    try {
      const { files, archive, directory, declared } = content
      const stated = declared ? [] : [{ name: FILE, blob: new Blob([JSON.stringify(declarationOf(new FormData(form)), null, 1)]) }]
      const body = !archive ? await zip([...files.map(({ path, file }) => ({ name: path, blob: file })), ...stated])
        : directory && stated.length ? await withFile(archive, directory, stated[0]) : archive
      const set = await chiron.uploadDataset(name.value, body)
      form.hidden = true
      chosen.textContent = ''
      added(set)
    } finally {
      upload.disabled = false
      upload.textContent = 'Upload'
    }
  })
  return card
}

/** Return the fields of dataset.json. @param {import('./chiron.js').Chiron} chiron */
async function declarationFields(chiron) {
  const orders = Object.entries(await chiron.joints()).filter(([, order]) => order.of === 'hand').map(([name]) => name)
  orders.sort((a, b) => Number(TRACKERS.includes(b)) - Number(TRACKERS.includes(a)))
  const number = (name, value, attributes) => h('input', { type: 'number', name, value, required: true, ...attributes })
  return [
    h('legend', {}, 'What the recordings are'),
    h('div', { class: 'form' },
      field('licence', h('input', { name: 'licence', required: true, maxlength: 500, list: 'licences', placeholder: 'CC0-1.0' })),
      field('attribution: whose recordings', h('input', { name: 'attribution', required: true, maxlength: 500, placeholder: 'our laboratory, 2026' })),
      field('joint order', options('joints', [...orders.map(one => [one, one]), [SKELETON, `its own, in ${SKELETON}`]])),
      field('unit', options('units', ['m', 'cm', 'mm', 'in', 'ft'].map(one => [one, one]))),
      field('axes', options('axes', [['right-handed', 'right-handed'], ['left-handed', 'left-handed, as Unity’s']])),
      field('frames a second, if without times', h('input', { type: 'number', name: 'fps', min: 5, max: 1000, step: 'any', placeholder: 'times are recorded' })),
      field('side of a lone hand', options('hand', [['', 'as recorded'], ['left', 'left'], ['right', 'right']])),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'exchange_hands' }), 'left and right are exchanged, as MediaPipe writes them')),
    h('datalist', { id: 'licences' }, LICENCES.map(value => h('option', { value }))),
    h('h4', {}, 'Splits, drawn at random by recording'),
    h('div', { class: 'form' },
      field('validation, in %', number('validation', 20, { min: 1, max: 98 })),
      field('test, in %', number('test', 20, { min: 1, max: 98 })),
      field('seed', number('seed', 0, { min: 0, max: 2 ** 32 - 1 }))),
  ]
}

/** Return what a filled form declares, as training reads it. @param {FormData} form */
function declarationOf(form) {
  const text = name => String(form.get(name)).trim()
  return {
    name: text('name'), licence: text('licence'), attribution: text('attribution'),
    ...(text('joints') === SKELETON ? { skeleton: SKELETON } : { joints: text('joints') }), units: text('units'), axes: text('axes'),
    ...(text('fps') && { fps: Number(text('fps')) }), ...(text('hand') && { hand: text('hand') }), exchange_hands: form.has('exchange_hands'),
    splits: { seed: Number(text('seed')), validation: Number(text('validation')) / 100, test: Number(text('test')) / 100 },
  }
}

/** Return the folder that all files are in, or nothing if that is a part of the data folder. @param {Found[]} found */
function commonFolder(found) {
  const [top, ...rest] = found[0].path.split('/')
  return rest.length && !PARTS.includes(top) && found.every(({ path }) => path.startsWith(`${top}/`)) ? top : ''
}

/** Return the files of a dropped file or folder. @param {any} entry @returns {Promise<Found[]>} */
async function inside(entry) {
  if (entry.isFile) return [{ path: entry.fullPath.slice(1), file: await new Promise((resolve, reject) => { entry.file(resolve, reject) }) }]
  const reader = entry.createReader(), found = []
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject) }) // a hundred at most at a time
    if (!some.length) return found
    found.push(...(await Promise.all(some.map(inside))).flat())
  }
}
