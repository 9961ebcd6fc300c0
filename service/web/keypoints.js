/** What detectors of bodies write, read for the eye and for forecasts; the service reads the documents itself, and more of them. */

/** @typedef {{ frames: ((number[] | null)[] | null)[], joints: string | null, fractions: boolean }} Seen */

const BY_COUNT = { 17: 'coco-17', 18: 'openpose-18', 25: 'openpose-25', 33: 'mediapipe-33' }

const chunks = flat => Array.from({ length: Math.floor(flat.length / 3) }, (_, i) => flat.slice(3 * i, 3 * i + 3))
const numbered = pose => Array.isArray(pose) && pose.some(Array.isArray)
const landmarks = frame => {
  const found = frame?.pose_landmarks ?? frame?.poseLandmarks ?? frame?.landmarks ?? frame
  const pose = Array.isArray(found?.[0]) ? found[0] : found
  return Array.isArray(pose) && pose[0] && typeof pose[0].x === 'number' ? pose.map(p => [p.x, p.y, p.visibility ?? 1]) : null
}

/** Return the first person of each frame, or null if the document has another form. @param {any} document @returns {Seen | null} */
export function readKeypoints(document) {
  const given = document?.keypoints ?? document?.past ?? document
  const list = Array.isArray(given) ? given : [given]
  const first = list.find(Boolean)
  if (!first) return null
  const named = typeof document?.joints === 'string' ? document.joints : null
  const seen = (frames, fractions = false) => {
    const count = frames.find(Boolean)?.length
    return count ? { frames, joints: named || BY_COUNT[count] || null, fractions } : null
  }
  if (numbered(first)) return seen(list)
  if (first.people) return seen(list.map(frame => frame.people?.[0] ? known(chunks(frame.people[0].pose_keypoints_2d)) : null))
  if (first.image_id !== undefined && Array.isArray(first.keypoints)) {
    const frames = new Map()
    for (const one of list) if (!frames.has(one.image_id)) frames.set(one.image_id, known(chunks(one.keypoints)))
    return seen([...frames.values()])
  }
  if (landmarks(first)) return seen(list.map(landmarks), true)
  return null
}

const known = pose => pose.map(point => point[2] > 0 ? point : null)
