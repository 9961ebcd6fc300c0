/** Live hands of a camera: MediaPipe finds them in the browser, the service forecasts each frame through its stream. */
import { announce, button, choice, fixed, h, showProblem } from './ui.js'

const FILES = new URL('vendor/mediapipe/', import.meta.url)
const ORDER = 'mediapipe', FPS = 30, AHEAD = ['0.05', '0.1', '0.2', '0.5'], KEPT = 60
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1]

/**
 * Place a hand before the camera, in metres: x to the right, y down, z away. The size of its image against its size gives the distance.
 * The focal length is taken as the width of the image; another one stretches the distance.
 * @param {{ x: number, y: number }[]} image points in fractions of the image @param {{ x: number, y: number, z: number }[]} world points in metres about the hand
 */
export function placed(image, world, width, height) {
  const mean = (points, axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length
  const pixels = image.map(p => ({ x: p.x * width - width / 2, y: p.y * height - height / 2 }))
  const [cx, cy, wx, wy, wz] = [mean(pixels, 'x'), mean(pixels, 'y'), mean(world, 'x'), mean(world, 'y'), mean(world, 'z')]
  const spread = (points, x, y) => Math.sqrt(points.reduce((sum, p) => sum + (p.x - x) ** 2 + (p.y - y) ** 2, 0)) || 1e-6
  const scale = spread(pixels, cx, cy) / spread(world, wx, wy)
  return world.map(p => [p.x - wx + cx / scale, p.y - wy + cy / scale, p.z - wz + width / scale])
}

/** Return where a point before the camera is in the image, in pixels. @param {number[]} point */
export const projected = ([x, y, z], width, height) => [width / 2 + width * x / z, height / 2 + width * y / z]

/** @param {HTMLElement} place @param {any} page @param {() => string} model the name of the chosen one @returns {{ stop: () => void }} */
export function addCamera(place, page, model) {
  const { chiron } = page
  const video = h('video', { playsinline: true, muted: true, 'aria-label': 'The camera' }), canvas = h('canvas', { role: 'img', 'aria-label': 'Hands in the image, and where they will be' })
  const live = h('div', { class: 'live', hidden: true }, video, canvas), facts = h('p', { class: 'dim' }), problem = h('div', { hidden: true }), controls = h('div', { class: 'fields' })
  place.append(h('h3', {}, 'Your own hands, live'), controls, problem, h('div', { class: 'stage', style: 'max-width: 48rem' }, live), facts)
  let running = null, ahead = '0.1'

  fetch(new URL('parts.json', import.meta.url)).then(answer => answer.json()).then(({ camera }) => {
    if (!camera) facts.append('The finder of hands is not installed with this service: ', h('code', {}, 'make page-camera'), ' fetches it (MediaPipe Hands, Apache-2.0, 13 MB), and the service then serves it.')
    else if (!navigator.mediaDevices) facts.textContent = 'This browser gives no camera to this page: it does so over https, or on this machine itself.'
    else ready()
  }, () => { facts.textContent = 'The service did not say whether it has the finder of hands.' })

  function ready() {
    facts.textContent = 'Pictures stay in this browser; only the points of the hands are sent to the service.'
    const toggle = button('Start the camera', () => running ? stop() : start(), 'main')
    controls.append(toggle, choice('seconds ahead', AHEAD.map(value => [value, value]), ahead, value => { ahead = value; if (running) { stop(); start() } }))
    controls.toggle = toggle
  }

  async function start() {
    const mine = running = { stopped: false }
    controls.toggle.textContent = 'Stop the camera'
    problem.hidden = true
    facts.textContent = 'Starting …'
    await page.guard(problem, async () => {
      try {
        await loadFinder()
        const [{ [ORDER]: order }, stream] = await Promise.all([chiron.joints(),
          chiron.handStream({ fps: FPS, joints: ORDER, ...(model() && { model: model() }), clock: 'milliseconds', at: [Number(ahead)] })])
        mine.stream = stream
        mine.media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, frameRate: FPS } })
        if (mine.stopped) return close(mine)
        video.srcObject = mine.media
        await video.play()
        live.hidden = false
        canvas.width = video.videoWidth
        canvas.height = video.videoHeight
        announce('The camera runs')
        await follow(mine, order)
      } catch (error) {
        close(mine)
        if (running === mine) stop()
        throw error.name === 'NotAllowedError' ? new Error('The camera was not allowed; the browser asks again from the symbol beside the address.')
          : error.name === 'NotFoundError' ? new Error('No camera was found on this machine.') : error
      }
    })
  }

  /** Find hands in each picture and send them, until stopped; draw what is seen and the newest forecast. */
  async function follow(mine, order) {
    const { width, height } = canvas, sent = new Map(), found = [], took = [], begun = performance.now()
    let hands = {}, forecast = null, number = 0, skipped = 0, said = ''
    mine.stream.onanswer = answer => {
      if (answer.kind === 'problem') said = answer.detail
      if (answer.kind !== 'forecast') return
      took.push(performance.now() - sent.get(answer.number))
      if (took.length > KEPT) took.shift()
      for (const old of sent.keys()) if (old <= answer.number) sent.delete(old)
      skipped += answer.skipped
      forecast = { left: answer.left?.[0], right: answer.right?.[0] }
    }
    mine.stream.onclose = reason => { if (!mine.stopped) { said = `the stream ended: ${reason}`; stop(); showProblem(problem, new Error(said), chiron) } }
    const finder = new globalThis.Hands({ locateFile: name => new URL(name, FILES).href })
    mine.finder = finder
    finder.setOptions({ maxNumHands: 2, modelComplexity: 0, minDetectionConfidence: 0.5, minTrackingConfidence: 0.5 })
    finder.onResults(results => {
      hands = {}
      results.multiHandWorldLandmarks?.forEach((world, i) => {
        // MediaPipe names the hands of a mirrored picture, and this one is not
        hands[results.multiHandedness[i].label === 'Left' ? 'right' : 'left'] = placed(results.multiHandLandmarks[i], world, width, height)
      })
    })
    while (!mine.stopped) {
      const captured = performance.now()
      await finder.send({ image: video })
      if (mine.stopped) break
      found.push(performance.now() - captured)
      if (found.length > KEPT) found.shift()
      sent.set(++number, performance.now())
      mine.stream.push({ number, timestamp: captured, left: hands.left || null, right: hands.right || null })
      draw(hands, hands.left || hands.right ? forecast : null, order.bones)
      const seen = Object.keys(hands).sort().join(' and ') || 'no hand'
      facts.textContent = `${seen} in view · ${fixed(1000 * number / (performance.now() - begun), 0)} frames a second · finding a hand takes ${fixed(median(found), 0)} ms`
        + (took.length ? ` · a forecast takes ${fixed(median(took), 1)} ms from sending a frame to its answer, ${ahead} s ahead by ${mine.stream.ready.model.name}` : '') + (skipped ? ` · ${skipped} frames skipped` : '') + (said ? ` · ${said}` : '')
      await new Promise(done => { requestAnimationFrame(done) })
    }
  }

  function draw(hands, forecast, bones) {
    const context = canvas.getContext('2d'), { width, height } = canvas, style = getComputedStyle(document.documentElement)
    context.clearRect(0, 0, width, height)
    context.lineCap = 'round'
    const skeleton = (pose, colour, thick) => {
      if (!pose) return
      context.strokeStyle = colour
      context.lineWidth = thick
      context.beginPath()
      for (const [a, b] of bones) if (pose[a] && pose[b]) { context.moveTo(...projected(pose[a], width, height)); context.lineTo(...projected(pose[b], width, height)) }
      context.stroke()
    }
    for (const side of ['left', 'right']) {
      skeleton(hands[side], '#ffffffc0', 2)
      skeleton(forecast?.[side], style.getPropertyValue(`--${side}`), 4)
    }
  }

  function close(mine) {
    mine.stopped = true
    mine.stream?.close()
    mine.media?.getTracks().forEach(track => track.stop())
    mine.finder?.close?.()
  }

  function stop() {
    if (!running) return
    close(running)
    running = null
    live.hidden = true
    controls.toggle.textContent = 'Start the camera'
    facts.textContent = 'Stopped.'
  }
  return { stop }
}

/** @type {Promise<void> | null} */
let loading = null

function loadFinder() {
  loading ||= new Promise((resolve, reject) => {
    const script = h('script', { src: new URL('hands.js', FILES).href, onload: () => resolve(), onerror: () => { loading = null; reject(new Error('The finder of hands could not be loaded.')) } })
    document.head.append(script)
  })
  return loading
}
