/** Archives in the form of .zip: files stored without compression, and a file added to an archive (APPNOTE 6.3, without Zip64). */

const MOST_BYTES = 0xFFFFFFFF, MOST_FILES = 0xFFFF
const LOCAL = 0x04034B50, ENTRY = 0x02014B50, END = 0x06054B50, UTF8 = 0x0800, DATE = 0x0021 // 1 January 1980, so that equal files give equal archives
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => { for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xEDB88320 ^ (n >>> 1) : n >>> 1; return n })

/** @typedef {{ name: string, blob: Blob }} Named */
/** @typedef {{ names: string[], at: number, directory: Uint8Array }} Directory  `at`: where the directory begins */

/** Return the CRC-32 of a blob, which is read in pieces. @param {Blob} blob */
async function checksum(blob) {
  let sum = -1
  const reader = blob.stream().getReader()
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return ~sum >>> 0
    for (let i = 0; i < value.length; i++) sum = TABLE[(sum ^ value[i]) & 255] ^ (sum >>> 8)
  }
}

/** Write numbers, each with its width in bytes, least byte first. @param {[number, number][]} fields */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [, width]) => sum + width, 0)))
  let at = 0
  for (const [value, width] of fields) {
    if (width === 2) view.setUint16(at, value, true)
    else view.setUint32(at, value, true)
    at += width
  }
  return new Uint8Array(view.buffer)
}

const end = (count, bytes, at) => record([[END, 4], [0, 2], [0, 2], [count, 2], [count, 2], [bytes, 4], [at, 4], [0, 2]])

/** Return the entries of files that are stored from `from` on: the parts of the archive, and those of its directory. @param {Named[]} files */
async function stored(files, from) {
  const parts = [], directory = []
  let at = from
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(name), sum = await checksum(blob)
    const common = [[20, 2], [UTF8, 2], [0, 2], [0, 2], [DATE, 2], [sum, 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2]]
    const head = record([[LOCAL, 4], ...common])
    parts.push(head, path, blob)
    directory.push(record([[ENTRY, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]), path)
    at += head.length + path.length + blob.size
    if (at > MOST_BYTES) throw new Error('Expected at most 4 GB of files. Register a folder of the server, or upload a .zip with Zip64.')
  }
  return { parts, directory, at }
}

/** Return files as an archive. @param {Named[]} files @returns {Promise<Blob>} */
export const zip = files => finished([], files, { names: [], at: 0, directory: new Uint8Array() })

async function finished(before, files, old) {
  const count = old.names.length + files.length
  if (count > MOST_FILES) throw new Error(`Expected at most ${MOST_FILES} files, got ${count}.`)
  const { parts, directory, at } = await stored(files, old.at)
  const whole = new Blob([old.directory, ...directory])
  return new Blob([...before, ...parts, whole, end(count, whole.size, at)], { type: 'application/zip' })
}

/** Read the directory of an archive; null if the blob is none, or has Zip64. @param {Blob} archive @returns {Promise<Directory | null>} */
export async function directoryOf(archive) {
  const tail = new DataView(await archive.slice(-22 - 0xFFFF).arrayBuffer())
  let last = tail.byteLength - 22
  while (last >= 0 && tail.getUint32(last, true) !== END) last--
  if (last < 0) return null
  const count = tail.getUint16(last + 10, true), bytes = tail.getUint32(last + 12, true), at = tail.getUint32(last + 16, true)
  if (count === MOST_FILES || at === MOST_BYTES) return null
  const directory = new Uint8Array(await archive.slice(at, at + bytes).arrayBuffer()), view = new DataView(directory.buffer), names = []
  for (let entry = 0; names.length < count; ) {
    if (entry + 46 > bytes || view.getUint32(entry, true) !== ENTRY) return null
    const [name, extra, comment] = [28, 30, 32].map(field => view.getUint16(entry + field, true))
    names.push(new TextDecoder().decode(directory.subarray(entry + 46, entry + 46 + name)))
    entry += 46 + name + extra + comment
  }
  return { names, at, directory }
}

/** Return an archive with one more file at its end. @param {Blob} archive @param {Directory} old @param {Named} file */
export const withFile = (archive, old, file) => finished([archive.slice(0, old.at)], [file], old)
