/** Forecasts of one clip beside each other, over equal times, and what is not compared. */
import { fixed, h, table } from './ui.js'

/** @typedef {{ errors: number[], times: number[], reason?: string }} Measured errors in mm, one a frame of what came; or why there are none */

/** Return the mean error over the first frames and the error at the last of them; NaN for a forecast that ends before. @param {Measured} one @param {number} frames */
export function over({ errors }, frames) {
  const known = errors.slice(0, frames).filter(Number.isFinite)
  return errors.length < frames || !known.length ? { mean: NaN, end: NaN } : { mean: known.reduce((sum, x) => sum + x, 0) / known.length, end: errors[frames - 1] }
}

/**
 * Return a table with a pair of columns for each time that some model reaches, and a line for the models that gave no forecast.
 * @param {Map<string, Measured>} answers by model @param {string} chosen model, which is marked
 */
export function comparison(answers, chosen) {
  const measured = [...answers].filter(([, one]) => !one.reason), refused = [...answers].filter(([, one]) => one.reason)
  const times = new Map(measured.filter(([, one]) => one.errors.length).map(([, { errors, times }]) => [errors.length, times[errors.length - 1]]))
  const columns = [...times].sort(([a], [b]) => a - b).flatMap(([frames, seconds]) => ['mean', 'end'].map(figure => {
    const text = `${Number(seconds.toFixed(2))}\u00a0s`, values = measured.map(([, one]) => over(one, frames)[figure]), least = Math.min(...values.filter(Number.isFinite))
    return { head: figure === 'mean' ? `mean to ${text}` : `at\u00a0${text}`, cells: values.map(value => !Number.isFinite(value) ? '–' : value === least ? h('b', {}, fixed(value)) : fixed(value)) }
  }))
  return [
    columns.length ? table('Distance from what came, in mm, on this clip alone; the nearest of each column in bold', ['model', ...columns.map(column => column.head)], measured.map(([name], i) =>
      [h('span', {}, `${name} `, name === chosen && h('span', { class: 'tag' }, 'shown')), ...columns.map(column => column.cells[i])])) : '',
    ...refused.map(([name, { reason }]) => h('p', { class: 'small dim' }, `${name} gave no forecast: ${reason}`)),
  ]
}
