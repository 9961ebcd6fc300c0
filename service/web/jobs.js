/** Jobs: a list, one job with its curve and log as they grow, and what may be done with it. */
import { chart } from './charts.js'
import { announce, button, clock, connected, fixed, h, save, size, table } from './ui.js'
import { showVersion } from './version.js'

const POLL_MS = 3000, DRAW_MS = 500, LOG_LINES = 400, FINISHED = ['succeeded', 'failed', 'cancelled']
const NO_CURVES = ['step', 'steps', 'at', 'seed', 'epoch', 'attempt', 'eta_s'], COLOURS = ['accent', 'right', 'truth', 'other', 'past']
const SPECS = {
  train: { kind: 'train', run: 'hands-forecast', seeds: [0], steps: 200 },
  sweep: { kind: 'sweep', run: 'hands-forecast', steps: 200, grid: { layers: [2, 3], learning_rate: [0.001, 0.002] } },
  evaluate: { kind: 'evaluate', run: 'hands-forecast', seeds: [0], split: 'test' },
  benchmark: { kind: 'benchmark', table: 'hands' },
  check: { kind: 'check', dataset: 'own' },
}

/** @param {HTMLElement} element @param {any} page */
export function open(element, page) {
  const { chiron } = page, problem = h('div', { hidden: true }), list = h('div'), one = h('div'), workers = h('p', { class: 'dim' })
  const spec = h('textarea', { 'aria-label': 'Fields of the job, as JSON', spellcheck: 'false' })
  const write = kind => { spec.value = JSON.stringify(SPECS[kind], null, 2) }
  const submit = () => page.guard(problem, async () => {
    let fields
    try { fields = JSON.parse(spec.value) } catch (error) { throw new Error(`Expected the fields of a job as JSON. ${error.message}.`) }
    const job = await chiron.submit(fields)
    announce(`Job ${job.id} is ${job.state}`)
    location.hash = `#jobs/${job.id}`
  })
  write('train')
  element.append(h('h2', {}, 'Jobs'), h('p', {}, 'Trainings, sweeps, evaluations, benchmarks and checks of data sets. A worker runs them one at a time.'), workers, problem,
    h('div', { class: 'demo' }, h('div', {}, list), h('div', {}, h('details', { class: 'card' }, h('summary', {}, h('b', {}, 'Submit a job')),
      h('div', { class: 'fields' }, Object.keys(SPECS).map(kind => button(kind, () => write(kind)))), spec, button('Submit', submit, 'main')), one)))
  let timer = 0, chosen = '', following = new AbortController(), pages = []

  async function refresh() {
    await page.guard(problem, async () => {
      const [first, known] = await Promise.all([chiron.jobs({ limit: 20, parent: 'none' }), chiron.get('workers')])
      if (list.contains(problem)) problem.hidden = true
      workers.replaceChildren(...connected(known.workers, 'jobs wait'))
      showList([...first.jobs, ...pages.filter(job => !first.jobs.some(other => other.id === job.id))], pages.length ? pages.next : first.next)
    })
  }

  function showList(jobs, next) {
    const focused = document.activeElement?.textContent
    list.replaceChildren(jobs.length ? table('Newest first', ['job', 'what', 'state', 'progress', 'submitted'], jobs.map(job => [
      button(job.id.slice(0, 8), () => { location.hash = `#jobs/${job.id}` }), h('div', { class: 'what' }, titleOf(job), h('div', { class: 'small dim' }, settingsOf(job, jobs)), job.error && h('div', { class: 'small bad' }, faultOf(job.error))),
      h('span', { class: `tag ${job.state === 'succeeded' ? 'good' : job.state === 'failed' ? 'poor' : ''}` }, job.state), steps(job), clock(job.created_at)])) : h('p', { class: 'dim' }, 'No job yet.'),
      next && button('Older jobs', () => page.guard(problem, async () => { const older = await chiron.jobs({ limit: 20, parent: 'none', after: next }); pages = Object.assign([...pages, ...older.jobs], { next: older.next }); refresh() })) || '')
    for (const each of list.querySelectorAll('button')) if (each.textContent === focused) each.focus()
  }

  const steps = ({ progress }) => progress?.steps ? `${progress.step} of ${progress.steps}` : ''

  /** Follow one job until it ends or another is chosen. @param {string} id */
  async function follow(id) {
    following.abort()
    following = new AbortController()
    chosen = id
    one.replaceChildren()
    if (!id) return
    const { signal } = following
    const head = h('div'), failed = h('div', { hidden: true }), curves = h('div'), family = h('div'), log = h('pre', { tabindex: 0, 'aria-label': 'Log' }), files = h('div'), made = h('div')
    one.append(head, failed, made, family, curves, h('h3', {}, 'Log'), log, files)
    /** @type {Map<string, [number, number][]>} */ const lines = new Map()
    const look = async () => {
      const job = await chiron.job(id), first = !made.children.length
      showJob(job, head, failed)
      await showFamily(job, family)
      if (job.result?.version && first) await showVersion(made, page, job.result)
    }
    let due = 0
    // A finished job sends all of its events at once, so the curves are drawn after a pause
    const drawSoon = () => { due ||= setTimeout(() => {
      due = 0
      if (signal.aborted) return
      if (lines.size) curves.replaceChildren(h('h3', {}, 'Curve'), ...[...lines].map(([name, points], i) => chart(`${name} by step`, [{ name, colour: COLOURS[i % COLOURS.length], points }], { x: 'step', y: '', zero: false })))
      look().catch(() => {}) // the stream says what is wrong
    }, DRAW_MS) }
    await page.guard(failed, async () => {
      await look()
      await showFiles(id, files)
      for await (const { event, data } of chiron.events(id, signal)) {
        if (signal.aborted) return
        if (event === 'metrics' || event === 'progress') {
          const prefix = event === 'progress' ? 'training ' : ''
          for (const [name, value] of Object.entries(data)) if (Number.isFinite(value) && !NO_CURVES.includes(name)) lines.set(prefix + name, [...(lines.get(prefix + name) || []), [data.step ?? 0, value]])
          drawSoon()
        } else if (event === 'log') {
          log.textContent = `${log.textContent}${data.text ?? JSON.stringify(data)}\n`.split('\n').slice(-LOG_LINES).join('\n')
          log.scrollTop = log.scrollHeight
        } else await look()
      }
      await look()
      await showFiles(id, files)
    })
  }

  function showJob(job, head, failed) {
    const act = what => page.guard(failed, async () => { await chiron.change(job.id, what); announce(`Job ${what === 'cancel' ? 'cancelled' : 'queued again'}`); await refresh(); follow(job.id) })
    const drop = () => page.guard(failed, async () => { await chiron.remove(`jobs/${job.id}`); location.hash = '#jobs'; await refresh() })
    const { progress } = job
    head.replaceChildren(h('h3', {}, `${titleOf(job)} `, h('code', {}, job.id.slice(0, 8))), h('p', {}, job.detail),
      progress?.steps ? h('progress', { max: progress.steps, value: progress.step, 'aria-label': 'Progress' }) : '',
      progress?.steps ? h('p', { class: 'small dim' }, `step ${steps(job)}${progress.eta_s ? `, about ${fixed(progress.eta_s / 60, 1)} minutes left` : ''}, attempt ${job.attempt}`) : '',
      h('div', { class: 'fields' }, !FINISHED.includes(job.state) && button('Cancel', () => act('cancel'), 'bad'), ['failed', 'cancelled'].includes(job.state) && button('Retry', () => act('retry')),
        FINISHED.includes(job.state) && button('Remove', drop, 'bad')),
      job.error ? h('div', { class: 'problem', role: 'alert' }, h('b', {}, job.error.type), h('p', {}, job.error.detail), h('pre', {}, job.error.lines.join('\n'))) : '',
      h('details', {}, h('summary', {}, 'Fields'), h('pre', {}, JSON.stringify(job.spec, null, 2))))
  }

  /** Show the trainings of a sweep with their scores, or the sweep of a training. */
  async function showFamily(job, family) {
    const link = (id, text) => h('a', { href: `#jobs/${id}` }, text ?? id.slice(0, 8))
    if (job.parent) family.replaceChildren(h('p', {}, 'A training of the sweep ', link(job.parent), '.'))
    if (job.kind !== 'sweep') return
    const { jobs } = await chiron.jobs({ parent: job.id, limit: 50 }), best = job.result?.cells?.[job.result.best_cell]?.job
    const value = (spec, name) => String({ ...spec, ...spec.network, steps: spec.steps, seed: spec.seeds[0] }[name])
    const names = Object.keys(job.spec.grid)
    let picture = family.querySelector('img')
    if (job.state === 'succeeded') picture ??= h('img', { class: 'wide', alt: 'Validation score of each cell, against the fields of the grid',
      src: URL.createObjectURL(await (await chiron.request(`jobs/${job.id}/artifacts/sweep.png`, { accept: '*/*' })).blob()) })
    family.replaceChildren(table('Trainings of the sweep', ['job', ...names, 'state', 'validation score'], jobs.reverse().map(child => [
      link(child.id), ...names.map(name => value(child.spec, name)), child.state,
      child.result ? `${fixed(child.result.best.score, 3)}${child.id === best ? ', the best' : ''}` : ''])), picture || '')
  }

  async function showFiles(id, files) {
    const { artifacts } = await chiron.artifacts(id)
    const fetchFile = name => page.guard(files, async () => save(await (await chiron.request(`jobs/${id}/artifacts/${name}`, { accept: '*/*' })).blob(), name.split('/').pop()))
    files.replaceChildren(artifacts.length ? table('Artefacts', ['file', 'size'], artifacts.map(file => [button(file.name, () => fetchFile(file.name)), size(file.bytes)])) : '')
  }

  return {
    /** @param {string} id */
    shown(id) { refresh(); clearInterval(timer); timer = setInterval(() => document.hidden || refresh(), POLL_MS); if (id !== chosen || !id) follow(id) },
    hidden() { clearInterval(timer); following.abort(); chosen = '' },
  }
}

const titleOf = ({ kind, spec }) => `${kind} ${spec.run ?? spec.table ?? spec.dataset ?? ''}`
const faultOf = ({ type, detail }) => detail.trim().split('\n')[0] || type

const ALWAYS = ['dataset', 'name', 'base', 'architecture', 'steps', 'epochs', 'seeds'], IN_TITLE = ['kind', 'run', 'table']
const WORDS = { dataset: 'data set', seeds: 'seed' }

/** Return a value of a job as text: lists without brackets, objects as `layers=2`. @param {any} value @returns {string} */
const text = value => Array.isArray(value) ? value.map(text).join(', ') : value && typeof value === 'object' ? Object.entries(value).map(([name, one]) => `${name}=${text(one)}`).join(', ') : String(value)

/** Return what tells a job from others: its main settings, and each other one in which jobs of its title differ. @param {any} job @param {any[]} jobs */
function settingsOf(job, jobs) {
  const alike = jobs.filter(other => titleOf(other) === titleOf(job)), differs = name => new Set(alike.map(({ spec }) => JSON.stringify(spec[name] ?? null))).size > 1
  const others = Object.keys(job.spec).filter(name => !ALWAYS.includes(name) && !IN_TITLE.includes(name) && differs(name))
  const stated = [...ALWAYS, ...others].filter(name => text(job.spec[name] ?? '') && !(name === 'dataset' && titleOf(job).endsWith(` ${job.spec.dataset}`) && !job.spec.run && !job.spec.table))
  return stated.map(name => `${WORDS[name] ?? name.replaceAll('_', ' ')} ${text(job.spec[name])}`).join(' · ')
}
