/** Faces: scans in their own coordinates with their landmarks, confidences, heatmaps, distances and head pose; one file or many. */
import { cloudOf, readScan } from './scans.js'
import { Balls, BufferAttribute, BufferGeometry, Color, colour, DoubleSide, Figure, Group, Mesh, MeshLambertMaterial, Points, PointsMaterial, Stage } from './scene.js'
import { snippets } from './snippets.js'
import { announce, button, choice, code, filePicker, fixed, h, renew, save, table, warnings } from './ui.js'

const KINDS = ['face-landmarks', 'face-map'], UNITS = ['auto', 'm', 'cm', 'mm', 'in', 'ft']
const ACCEPT = '.ply,.obj,.stl,.off,.glb,.gltf,.npz,.npy,.pcd,.csv,.xyz,.txt,.asc,.pts,.gz'
const SAVES = { '.mrk.json (Slicer)': ['application/vnd.slicer.mrk+json', 'mrk.json'], '.csv': ['text/csv', 'csv'], '.json': ['application/json', 'json'],
  '.ply (MeshLab)': ['model/vnd.ply', 'ply'], '.obj (Blender)': ['model/obj', 'obj'], '.npz': ['application/x-npz', 'npz'] }
const DISTANCES = { interocular: 'between the eyes', outer_eye_corners: 'outer eye corners', nose_width: 'nose width', mouth_width: 'mouth width', face_height: 'nasion to chin' }
const UNSURE = new Color('#d43d2a'), DOUBTFUL = new Color('#e8b23a'), SURE = new Color('#2a9d5c')

/** Return the colour of a confidence from 0 to 1. @param {number} confidence */
const tint = confidence => confidence < 0.5 ? UNSURE.clone().lerp(DOUBTFUL, 2 * confidence) : DOUBTFUL.clone().lerp(SURE, 2 * confidence - 1)

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page
  const canvas = h('canvas', { 'aria-label': 'The scan with its landmarks; the arrow keys turn it', role: 'img' })
  const named = h('p', { class: 'note' }, 'point at a landmark'), stageBox = h('div', { class: 'stage' }, h('div', { class: 'view' }, canvas, named))
  const problem = h('div', { hidden: true }), facts = h('div'), settings = h('div', { class: 'fields' }), form = h('div', { class: 'fields' })
  const list = h('div'), example = h('div', { class: 'wide' })
  let stage, models = [], model = '', units = 'auto', order, scans = [], chosen = null, shown = null

  element.append(h('h2', {}, 'Faces'), h('p', {}, 'A scan of a face in any pose, mesh or cloud; its 68 landmarks come back in the scan’s own coordinates and unit. It stays in the memory of the service until it is answered.'),
    h('div', { class: 'demo' }, h('div', {}, stageBox, legend(), list), h('div', {}, form, settings, problem, facts), example))
  form.append(filePicker(stageBox, take, { accept: ACCEPT, multiple: true, label: 'Open scans' }), button('Sample', sample))
  canvas.addEventListener('pointermove', event => event.buttons || hover(event))
  canvas.addEventListener('pointerleave', () => hover(null))

  page.guard(problem, async () => {
    stage ||= new Stage(canvas)
    stage.onrecolour = () => shown?.skin?.color.set(colour('skin'))
    const [orders, catalogue] = await Promise.all([chiron.landmarks(), page.models()])
    order = orders.ibug68
    models = catalogue.models.filter(one => one.state === 'ready' && KINDS.includes(one.task.kind))
    if (!models.length) throw new Error('No model for faces is served here; the command chiron models lists the bundles of the folder.')
    model = KINDS.map(kind => catalogue.defaults[kind]).find(Boolean)
    showSettings()
    await sample()
  })

  async function sample() {
    const blob = await (await fetch(new URL('samples/face.ply.gz', import.meta.url))).blob()
    await take([new File([blob], 'face.ply.gz')])
  }

  function showSettings() {
    const again = () => take(scans.map(scan => scan.file))
    renew(settings, choice('model', models.map(one => [one.name, one.name]), model, value => { model = value; again() }),
      choice('unit of the scan', UNITS.map(unit => [unit, unit === 'auto' ? 'by its size' : unit]), units, value => { units = value; again() }))
  }

  const options = scan => ({ filename: scan.file.name, model, ...(units !== 'auto' && { units }) })

  /** Find the landmarks of one file after another; the first is shown at once. @param {File[]} files */
  async function take(files) {
    scans = files.map(file => ({ file, answer: null, error: null }))
    const mine = scans
    for (const scan of mine) {
      const begun = performance.now()
      if (mine.length > 1) showList()
      if (scan === mine[0]) named.textContent = `reading ${scan.file.name} …`
      await page.guard(problem, async () => {
        try {
          scan.answer = await chiron.faceLandmarks(scan.file, { ...options(scan), heatmaps: 'points' })
        } catch (error) {
          scan.error = error
          if (mine.length === 1 || error.status === 401) throw error
        }
      })
      if (scans !== mine) return
      scan.ms = performance.now() - begun
      if (scan === mine[0] || (scan.answer && !chosen?.answer)) await select(scan)
    }
    showList()
    if (mine.length > 1) announce(`${mine.filter(scan => scan.answer).length} of ${mine.length} scans answered`)
  }

  function showList() {
    if (scans.length < 2) return list.replaceChildren()
    const state = scan => scan.answer ? `${fixed(100 * meanOf(scan.answer), 0)} % sure` : scan.error ? scan.error.message : '…'
    list.replaceChildren(table(`${scans.length} scans`, ['file', 'result', 'between the eyes'], scans.map(scan => [
      button(scan.file.name, () => select(scan)), state(scan), scan.answer ? `${distance(scan.answer, 'interocular')} ${scan.answer.units}` : ''])))
    list.append(button('Save all as .csv', () => saveAll()))
  }

  /** @param {any} scan */
  async function select(scan) {
    chosen = scan
    if (scan.error) { await page.guard(problem, async () => { throw scan.error }); facts.replaceChildren(); return }
    if (!scan.answer) return
    problem.hidden = true
    scan.view ||= await readScan(scan.file, scan.file.name).catch(() => null) || cloudOf(scan.answer.heatmaps.points)
    draw(scan)
    showFacts(scan)
    announce(`${scan.answer.landmarks.length} landmarks on ${scan.file.name}`)
  }

  function draw({ answer, view }) {
    const places = answer.landmarks.map(one => one.position), pose = answer.pose
    stage.clear()
    const size = answer.distances.interocular.value, radius = 0.028 * size
    const coloured = Boolean(view.geometry.attributes.color), textured = view.mesh && view.map
    const skin = view.mesh
      ? new MeshLambertMaterial({ color: coloured || textured ? 0xffffff : colour('skin'), vertexColors: coloured && !textured, map: textured || null, side: DoubleSide })
      : new PointsMaterial({ color: coloured ? 0xffffff : colour('skin'), vertexColors: coloured, size: 0.025 * size })
    const seen = new Balls(places.length, { colour: '#ffffff' }), hidden = new Balls(places.length, { colour: '#ffffff', opacity: 0.22, depthTest: false, lit: false })
    for (const balls of [seen, hidden]) {
      balls.place(places, index => radius * (answer.landmarks[index].seen ? 1 : 0.6))
      answer.landmarks.forEach((one, index) => balls.setColorAt(index, tint(one.confidence)))
    }
    hidden.renderOrder = 2
    const heat = new Points(cloudOf(answer.heatmaps.points).geometry, new PointsMaterial({ size: 0.05 * size, vertexColors: true, transparent: true, opacity: 0.85, depthWrite: false }))
    heat.visible = false
    heat.renderOrder = 1
    const group = new Group()
    group.add(view.mesh ? new Mesh(view.geometry, skin) : new Points(view.geometry, skin), seen, hidden, heat, axesOf(pose, 1.1 * size))
    stage.root.add(group)
    named.textContent = 'point at a landmark'
    shown = { places, answer, heat, skin: coloured || textured ? null : skin }
    const column = index => [pose[0][index], pose[1][index], pose[2][index]], [left, up, ahead] = [0, 1, 2].map(column)
    stage.look(places, { up, from: ahead.map((x, axis) => x + 0.3 * left[axis] + 0.1 * up[axis]), margin: 1.25 })
  }

  /** Show the heatmap and the name of the landmark under the pointer. @param {PointerEvent | null} event */
  function hover(event) {
    if (!shown) return
    const index = event ? stage.nearest(event, shown.places) : -1
    if (index === shown.index) return
    shown.index = index
    const { heat, answer } = shown
    heat.visible = index >= 0
    if (index < 0) named.textContent = 'point at a landmark'
    else {
      const one = answer.landmarks[index], values = answer.heatmaps.values[index], colours = new Float32Array(4 * values.length), warm = new Color('#e0301e')
      const top = Math.max(...values) || 1
      values.forEach((value, i) => colours.set([warm.r, warm.g, warm.b, value / top], 4 * i))
      heat.geometry.setAttribute('color', new BufferAttribute(colours, 4))
      named.textContent = `${one.index} ${one.name.replaceAll('_', ' ')}, ${fixed(100 * one.confidence, 0)} % within ${answer.confidence.within} ${answer.units}${one.seen ? '' : ', no surface there'}`
    }
    stage.draw()
  }

  function showFacts(scan) {
    const { answer } = scan, pose = answer.pose, degrees = x => `${fixed(x * 180 / Math.PI, 0)}°`
    const ahead = [pose[0][2], pose[1][2], pose[2][2]], up = [pose[0][1], pose[1][1], pose[2][1]]
    const test = answer.expected_error[0]
    facts.replaceChildren(
      h('p', {}, `${answer.model.name} found ${answer.landmarks.length} landmarks on ${answer.points} ${answer.triangles ? 'vertices' : 'points'} in ${fixed(scan.ms, 0)} ms, browser included. The scan is in ${answer.units}${answer.units_inferred ? ', by its size' : ''}.`),
      warnings(answer.warnings) || '',
      table('Distances, with one standard deviation', ['distance', `value, ${answer.units}`], Object.keys(answer.distances).map(name => [DISTANCES[name] || name, distance(answer, name)])),
      table('Confidence by region', ['region', `mean, within ${answer.confidence.within} ${answer.units}`], Object.entries(answer.regions).map(([region, indices]) =>
        [region.replaceAll('_', ' '), `${fixed(100 * indices.reduce((sum, i) => sum + answer.landmarks[i].confidence, 0) / indices.length, 0)} %`])),
      table('Head pose in the scan’s axes', ['direction', 'x, y, z'], [['out of the face', ahead.map(x => fixed(x, 2)).join(', ')], ['up', up.map(x => fixed(x, 2)).join(', ')],
        [`between the eyes, in ${answer.units}`, [0, 1, 2].map(axis => fixed(pose[axis][3], answer.units === 'm' ? 3 : 1)).join(', ')]]),
      h('h3', {}, 'Save the landmarks'), h('div', { class: 'fields' }, Object.entries(SAVES).map(([label, [type, ending]]) => button(label, () => saveAs(scan, type, ending)))),
      test ? h('p', { class: 'small dim' }, `On test scans (${test.source}) it was off by ${fixed(test.value, 2)} ${test.unit} (${test.metric}${test.baseline ? `; ${test.baseline}: ${fixed(test.baseline_value, 2)} ${test.unit}` : ''}).`) : '')
    example.replaceChildren(h('h3', {}, 'The same request'), code(snippets(chiron, {
      path: 'landmarks/face', file: scan.file.name, options: options(scan), call: 'faceLandmarks', show: 'answer.landmarks', json: false })))
  }

  const saveAs = (scan, type, ending) => page.guard(problem, async () =>
    save(await chiron.faceFile(scan.file, options(scan), type), `${scan.file.name.replace(/\.[^.]*$/, '')}.${ending}`))

  function saveAll() {
    const rows = scans.flatMap(scan => scan.answer ? scan.answer.landmarks.map(one => [scan.file.name, one.index, one.name, ...one.position, one.confidence, one.seen].join(',')) : [])
    save(new Blob([['file,index,name,x,y,z,confidence,seen', ...rows, ''].join('\n')], { type: 'text/csv' }), 'landmarks.csv')
  }

  return { hidden() {} }
}

const meanOf = answer => answer.landmarks.reduce((sum, one) => sum + one.confidence, 0) / answer.landmarks.length
const distance = ({ distances, units }, name) => `${fixed(distances[name].value, units === 'm' ? 4 : 1)} ± ${fixed(distances[name].uncertainty, units === 'm' ? 4 : 1)}`

/** Return the head's axes as three rods, drawn over the surface that they begin under: to the left, up and out of the face. */
function axesOf(pose, length) {
  const origin = pose.slice(0, 3).map(row => row[3]), group = new Group()
  for (const [axis, name] of [[0, 'left'], [1, 'truth'], [2, 'right']]) {
    group.add(new Figure([[0, 1]], 2, { colour: name, radius: length / 90, depthTest: false }).set([origin, origin.map((x, row) => x + length * pose[row][axis])]))
  }
  return group
}

function legend() {
  return h('div', { class: 'legend' }, h('span', {}, 'confidence 0', h('span', { class: 'ramp' }), '1'), h('span', {}, 'faint: hidden by the head'), h('span', {}, 'small: no surface there'),
    h('span', {}, h('i', { style: 'background: var(--left)' }), 'left'), h('span', {}, h('i', { style: 'background: var(--truth)' }), 'up'), h('span', {}, h('i', { style: 'background: var(--right)' }), 'out of the face'))
}
