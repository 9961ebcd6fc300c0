/** A clip sent through the stream frame by frame, as a tracker sends it: how fast the answers come, and how far off they are. */
import { errorsOf } from './clips.js'
import { announce, button, fixed, h } from './ui.js'

const AHEAD_S = 0.1
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1]
const mean = values => values.reduce((sum, x) => sum + x, 0) / values.length

/**
 * @param {HTMLElement} place @param {any} page
 * @param {() => { clip: import('./clips.js').Clip & { name: string }, model: string, reach: number }} current `reach`: the model's, in seconds
 */
export function addReplay(place, page, current) {
  const { chiron } = page, problem = h('div', { hidden: true }), facts = h('p', { class: 'dim' })
  const start = button('Stream this clip', () => page.guard(problem, run))
  place.append(h('div', { class: 'fields' }, start), problem, facts)

  async function run() {
    const { clip, model, reach } = current(), ahead = Math.min(AHEAD_S, reach), side = clip.side || 'right'
    const hands = Object.fromEntries(Object.entries(clip.hands).map(([name, poses]) => [name === 'past' ? side : name, poses]))
    problem.hidden = true
    start.disabled = true
    facts.textContent = 'Streaming …'
    let stream = null
    try {
      stream = await chiron.handStream({ fps: clip.fps, joints: clip.joints, units: clip.units, ...(clip.axes && { axes: clip.axes }), model, at: [ahead], hands: Object.keys(hands) })
      const took = [], errors = []
      for (let number = 0; number < clip.frames; number++) {
        const sent = performance.now(), answer = await ask(stream, { number, ...Object.fromEntries(Object.entries(hands).map(([name, poses]) => [name, poses[number] ?? null])) })
        if (answer.kind === 'problem') throw new Error(answer.detail)
        if (answer.kind !== 'forecast') continue
        took.push(performance.now() - sent)
        const [error] = errorsOf(Object.fromEntries(Object.keys(hands).map(name => [name, answer[name]])), { ...clip, hands }, number + Math.round(ahead * clip.fps))
        if (Number.isFinite(error)) errors.push(error)
      }
      facts.textContent = took.length ? `${model} answered ${took.length} of ${clip.frames} frames of ${clip.name} through the stream, each in ${fixed(median(took))} ms (median)`
        + (errors.length ? `; ${fixed(ahead, 2)} s ahead it was ${fixed(mean(errors))} mm off on average.` : '.') : `${model} needs a longer past than the ${clip.frames} frames of ${clip.name}.`
      announce(facts.textContent)
    } catch (error) {
      facts.textContent = ''
      throw error
    } finally {
      stream?.close()
      start.disabled = false
    }
  }
}

/** Send a frame and resolve to its answer. @param {import('./chiron.js').HandStream} stream @param {any} frame */
const ask = (stream, frame) => new Promise((resolve, reject) => {
  stream.onanswer = answer => { if (answer.kind !== 'ready') resolve(answer) }
  stream.onclose = reason => reject(new Error(`The stream ended: ${reason}.`))
  stream.push(frame)
})
