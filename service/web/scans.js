/** Scans as files have them, for the eye: meshes and clouds in their own coordinates. The service reads more formats than these. */
import { BufferAttribute, BufferGeometry } from './scene.js'
import { GLTFLoader, OBJLoader, PLYLoader, STLLoader } from './vendor/three-0.187.0.min.js'

const TABLES = ['xyz', 'txt', 'asc', 'pts', 'csv']

/** @param {string} name @returns {string} the suffix without .gz */
export const suffix = name => name.toLowerCase().replace(/\.gz$/, '').split('.').pop() || ''

/** @param {Blob} file @param {string} name */
async function bytes(file, name) {
  const stream = name.toLowerCase().endsWith('.gz') ? file.stream().pipeThrough(new DecompressionStream('gzip')) : file.stream()
  return new Response(stream).arrayBuffer()
}

/**
 * Return a geometry of all points and triangles of a file, or null for a format that only the service reads.
 * @param {Blob} file @param {string} name @returns {Promise<{ geometry: BufferGeometry, mesh: boolean, map: any } | null>}
 */
export async function readScan(file, name) {
  const kind = suffix(name), content = await bytes(file, name), text = () => new TextDecoder().decode(content)
  if (kind === 'ply') return ready(new PLYLoader().parse(content))
  if (kind === 'stl') return ready(new STLLoader().parse(content), true)
  if (kind === 'obj') return merged(new OBJLoader().parse(text()))
  if (kind === 'glb' || kind === 'gltf') return merged((await new GLTFLoader().parseAsync(content, '')).scene)
  if (kind === 'off') return off(text())
  if (TABLES.includes(kind)) return table(text())
  return null
}

function ready(geometry, mesh = Boolean(geometry.index), map = null) {
  if (!geometry.attributes.position?.count) return null
  if (mesh && !geometry.attributes.normal) geometry.computeVertexNormals()
  return { geometry, mesh, map }
}

/** Join the meshes of a file, with their places applied; one mesh keeps its texture. */
function merged(root) {
  const parts = []
  root.updateMatrixWorld(true)
  root.traverse(object => { if (object.isMesh || object.isPoints) parts.push(object) })
  if (parts.length === 1) return ready(parts[0].geometry.applyMatrix4(parts[0].matrixWorld), parts[0].isMesh, parts[0].material?.map || null)
  const places = parts.flatMap(part => {
    const geometry = part.geometry.applyMatrix4(part.matrixWorld)
    return (geometry.index ? geometry.toNonIndexed() : geometry).attributes.position
  })
  if (!places.length) return null
  const all = new Float32Array(places.reduce((sum, one) => sum + 3 * one.count, 0))
  let at = 0
  for (const one of places) { all.set(one.array.subarray(0, 3 * one.count), at); at += 3 * one.count }
  return ready(new BufferGeometry().setAttribute('position', new BufferAttribute(all, 3)), parts.some(part => part.isMesh))
}

function table(text) {
  const rows = text.split('\n').map(line => line.trim().split(/[\s,;]+/).slice(0, 3).map(Number)).filter(row => row.length === 3 && row.every(Number.isFinite))
  return rows.length ? ready(new BufferGeometry().setAttribute('position', new BufferAttribute(new Float32Array(rows.flat()), 3))) : null
}

function off(text) {
  const numbers = text.replace(/#.*$/gm, '').replace(/^\s*OFF/, '').trim().split(/\s+/).map(Number), [points, faces] = numbers
  const geometry = new BufferGeometry().setAttribute('position', new BufferAttribute(new Float32Array(numbers.slice(3, 3 + 3 * points)), 3)), index = []
  for (let face = 0, at = 3 + 3 * points; face < faces; face++, at += numbers[at] + 1) {
    for (let corner = 2; corner < numbers[at]; corner++) index.push(numbers[at + 1], numbers[at + corner], numbers[at + corner + 1])
  }
  geometry.setIndex(index)
  return ready(geometry, index.length > 0)
}

/** Return points as a geometry. @param {number[][]} points */
export const cloudOf = points => ready(new BufferGeometry().setAttribute('position', new BufferAttribute(new Float32Array(points.flat()), 3)))
