/** Frames played in time, with a button, a slider and the time in seconds. */
import { fixed, h, stillness } from './ui.js'

const HOLD_S = 0.6 // the last frame stays this long before the clip begins again

export class Player {
  /** @param {(frame: number) => void} draw */
  constructor(draw) {
    this.draw = draw
    this.frames = this.position = this.origin = this.last = 0
    this.fps = 30
    this.playing = false
    this.button = h('button', { type: 'button', 'aria-label': 'Play', onclick: () => this.play(!this.playing) }, '▶')
    this.slider = h('input', { type: 'range', min: 0, value: 0, step: 1, 'aria-label': 'Time', oninput: () => { this.play(false); this.go(Number(this.slider.value)) } })
    this.time = h('output', { 'aria-live': 'off' })
    this.bar = h('div', { class: 'bar' }, this.button, this.slider, this.time)
  }

  /** Show a clip; `origin` is the frame at 0 s. It plays unless motion is to be reduced. @param {number} frames @param {number} fps */
  load(frames, fps, origin = 0, first = 0) {
    Object.assign(this, { frames, fps, origin })
    this.slider.max = String(frames - 1)
    this.go(first)
    this.play(!stillness.matches)
  }

  /** @param {number} position a frame, or a moment between two */
  go(position) {
    this.position = position
    const frame = Math.max(0, Math.min(this.frames - 1, Math.floor(position))), seconds = (frame - this.origin) / this.fps
    this.slider.value = String(frame)
    this.time.value = `${seconds > 0 ? '+' : ''}${fixed(seconds, 2)} s`
    this.slider.setAttribute('aria-valuetext', this.time.value)
    if (this.frames) this.draw(frame)
  }

  /** @param {boolean} on */
  play(on) {
    this.button.textContent = on ? '❚❚' : '▶'
    this.button.setAttribute('aria-label', on ? 'Pause' : 'Play')
    if (on === this.playing) return
    this.playing = on
    this.last = performance.now()
    const step = now => {
      if (!this.playing) return
      requestAnimationFrame(step)
      const position = this.position + (now - this.last) / 1000 * this.fps
      if (Math.floor(position) === Math.floor(this.position) || !this.frames) return
      this.last = now
      this.go(position < this.frames + HOLD_S * this.fps ? position : 0)
    }
    requestAnimationFrame(step)
  }
}
