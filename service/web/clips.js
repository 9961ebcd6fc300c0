/** Clips of hands as files have them, turned into one form: frames of a left and a right hand. */

/** @typedef {{ fps: number, units: string, joints: string, axes?: string, hands: Record<string, any[]>, frames: number, side: string | null }} Clip */

const METRES = { m: 1, cm: 0.01, mm: 0.001, in: 0.0254, ft: 0.3048 }
export const millimetres = units => 1000 * METRES[units]

const pointOf = point => point === null || point === undefined ? null : Array.isArray(point) ? point.slice(0, 3) : [point.x, point.y, point.z]
const poseOf = pose => Array.isArray(pose) ? pose.map(pointOf) : null

/** Read JSON, or a line of JSON for each frame. @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text)
  } catch (error) {
    const lines = text.split('\n').filter(line => line.trim())
    try {
      if (lines.length > 1) return lines.map(line => JSON.parse(line))
    } catch { /* the first error says more */ }
    throw new Error(`Expected a clip as JSON, or a line of JSON for each frame. ${error.message}.`)
  }
}

/**
 * Read a clip: a request of POST /forecast/hands, `[frames][joints][3]`, or a list of frames with `left` and `right`.
 * What the file does not state is guessed from the number of joints, and may be changed afterwards.
 * @param {string} text @param {Record<string, { of: string, joints: string[] }>} orders @returns {Clip}
 */
export function readClip(text, orders) {
  let given = parse(text)
  if (Array.isArray(given)) {
    const framed = given.length && given[0] && !Array.isArray(given[0])
    const shown = side => given.some(frame => frame?.[side]) ? { [side]: given.map(frame => frame?.[side] ?? null) } : {}
    given = framed ? { ...shown('left'), ...shown('right'), ...timed(given) } : { past: given }
  }
  let { past, left, right } = given
  const first = [past, left, right].flatMap(hand => hand || []).find(Array.isArray)
  if (!first) throw new Error('Expected `past`, `left` or `right` with frames of points, as POST /forecast/hands takes them; found none of them.')
  const named = Object.entries(orders).filter(([, order]) => order.of !== 'body')
  const joints = given.joints || named.find(([, order]) => order.joints.length === first.length || (past && 2 * order.joints.length === first.length))?.[0] || 'assembly101'
  const count = named.find(([name]) => name === joints)?.[1].joints.length
  if (past && first.length === 2 * count) {
    left = past.map(pose => pose && pose.slice(0, count))
    right = past.map(pose => pose && pose.slice(count))
    past = undefined
  }
  const hands = Object.fromEntries(Object.entries({ left, right, past }).filter(([, poses]) => poses).map(([side, poses]) => [side, poses.map(poseOf)]))
  return { fps: given.fps || 30, units: given.units || 'm', joints, axes: given.axes, hands, frames: Math.max(...Object.values(hands).map(poses => poses.length)), side: given.hand || null }
}

/** @param {any[]} frames @returns {{ fps?: number }} */
function timed(frames) {
  const times = frames.map(frame => frame.timestamp).filter(Number.isFinite)
  if (times.length < 2) return {}
  const step = (times[times.length - 1] - times[0]) / (times.length - 1)
  return { fps: Math.round(10 * (step > 1 ? 1000 / step : 1 / step)) / 10 }
}

/** Return frames `from` to `to` of a clip as a request. @param {Clip} clip @param {number} from @param {number} to */
export function requestOf(clip, from, to) {
  const hands = Object.fromEntries(Object.entries(clip.hands).map(([side, poses]) => [side, poses.slice(from, to)]))
  return { fps: clip.fps, units: clip.units, joints: clip.joints, ...(clip.axes && { axes: clip.axes }), ...(clip.side && { hand: clip.side }), ...hands }
}

/** Return the hands of an answer by side, as the clip has them. @param {any} answer @param {Clip} clip */
export function futureOf(answer, clip) {
  const sides = Object.keys(clip.hands)
  if (!answer.future) return Object.fromEntries(sides.map(side => [side, answer[side] || null]))
  return { [sides[0]]: answer.future }
}

/**
 * Return the mean distance of a forecast to what came, in millimetres, one a frame; NaN where nothing is known.
 * @param {Record<string, any[] | null>} future @param {Clip} clip @param {number} cut
 */
export function errorsOf(future, clip, cut) {
  const length = Math.min(Math.max(...Object.values(future).map(poses => poses?.length || 0)), clip.frames - cut), scale = millimetres(clip.units)
  return Array.from({ length: Math.max(0, length) }, (_, i) => {
    const apart = []
    for (const [side, poses] of Object.entries(future)) {
      const truth = clip.hands[side]?.[cut + i], pose = poses?.[i]
      if (truth && pose) pose.forEach((point, joint) => { if (point && truth[joint]) apart.push(Math.hypot(...point.map((x, axis) => x - truth[joint][axis]))) })
    }
    return apart.length ? scale * apart.reduce((sum, x) => sum + x, 0) / apart.length : NaN
  })
}
