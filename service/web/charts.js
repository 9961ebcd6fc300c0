/** Lines over a common axis, as SVG. */
import { h } from './ui.js'

const WIDTH = 420, HEIGHT = 170, LEFT = 44, BOTTOM = 30, TOP = 8
const MARKED = 20 // points that are few enough to be marked

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/** Return some round numbers between two. @param {number} low @param {number} high */
function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].find(x => x * power >= rough) * power, found = []
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(6)))
  return found
}

/**
 * Draw lines.
 * @param {string} label what a screen reader says of the chart
 * @param {{ name: string, colour: string, points: [number, number][], dashed?: boolean }[]} lines
 * @param {{ x: string, y: string, zero?: boolean }} axes
 */
export function chart(label, lines, { x, y, zero = true }) {
  const all = lines.flatMap(line => line.points).filter(([, value]) => Number.isFinite(value))
  if (!all.length) return h('p', { class: 'dim' }, 'Nothing to draw yet.')
  const xs = all.map(p => p[0]), ys = all.map(p => p[1])
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], top = Math.max(...ys), low = zero ? 0 : Math.min(...ys), same = top - low || Math.abs(top) || 1
  const [y0, y1] = top > low ? [low, top] : [low - same / 2, top + same / 2]
  const across = value => LEFT + (value - x0) / (x1 - x0 || 1) * (WIDTH - LEFT - 8)
  const down = value => HEIGHT - BOTTOM - (value - y0) / (y1 - y0 || 1) * (HEIGHT - BOTTOM - TOP)
  const picture = s('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label })
  for (const tick of ticks(y0, y1)) {
    picture.append(s('line', { class: 'axis', x1: LEFT, x2: WIDTH - 8, y1: down(tick), y2: down(tick) }))
    picture.append(s('text', { x: LEFT - 6, y: down(tick) + 4, 'text-anchor': 'end' }, String(tick)))
  }
  for (const tick of ticks(x0, x1, 5)) picture.append(s('text', { x: across(tick), y: HEIGHT - BOTTOM + 14, 'text-anchor': 'middle' }, String(tick)))
  for (const line of lines) {
    const known = line.points.filter(([, value]) => Number.isFinite(value))
    const path = known.map(([a, b], i) => `${i ? 'L' : 'M'}${across(a).toFixed(1)},${down(b).toFixed(1)}`).join('')
    picture.append(s('path', { d: path, style: `stroke: var(--${line.colour})`, 'stroke-dasharray': line.dashed ? '5 4' : 'none' }))
    if (known.length < MARKED) picture.append(...known.map(([a, b]) => s('circle', { cx: across(a), cy: down(b), r: 3, style: `fill: var(--${line.colour})` })))
  }
  picture.append(s('text', { x: WIDTH - 8, y: HEIGHT - 3, 'text-anchor': 'end' }, x))
  const legend = h('div', { class: 'legend' }, h('span', {}, y), lines.map(line => h('span', {}, h('i', { style: `background: var(--${line.colour})` }), line.name)))
  return h('div', {}, legend, picture)
}
