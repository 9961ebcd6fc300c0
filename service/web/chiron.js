/**
 * A client of Chiron for browsers, Node.js and Deno: one module without dependencies, which the page at / uses itself.
 * TypeScript reads its types from the comments.
 *
 *   import { Chiron } from 'http://127.0.0.1:8000/web/chiron.js'
 *   const chiron = new Chiron('http://127.0.0.1:8000/', { key: 'KEY' })
 *   const { future } = await chiron.forecastHands(await chiron.example('hands-forecast'))
 *
 * @typedef {[number, number, number]} Point
 * @typedef {(Point | null)[]} Pose  the points of one moment; null: not seen
 * @typedef {'m' | 'cm' | 'mm' | 'in' | 'ft'} Units
 * @typedef {{ metric: string, value: number, unit: string, split: string, source: string, windows: number,
 *   baseline: string | null, baseline_value: number | null }} Measurement
 * @typedef {{ name: string, version: string }} ModelVersion
 * @typedef {{ joints: string, fps?: number, timestamps?: number[], units?: Units, axes?: string, past?: (Pose | null)[],
 *   left?: (Pose | null)[], right?: (Pose | null)[], hand?: 'left' | 'right', model?: string, at?: number[], horizon?: number,
 *   spread?: boolean, hypotheses?: boolean, keep_bones?: boolean }} HandClip
 * @typedef {{ model: ModelVersion, times: number[], units: Units, joints: string, future?: Pose[], left?: Pose[] | null,
 *   right?: Pose[] | null, std?: { future?: number[][], left?: number[][], right?: number[][] },
 *   intervals?: Record<string, number>, warnings: string[], expected_error: Measurement[] }} HandForecast
 * @typedef {{ index: number, name: string, position: Point, confidence: number, seen: boolean }} Landmark
 * @typedef {{ model: ModelVersion, landmarks: Landmark[], regions: Record<string, number[]>, confidence: { within: number },
 *   pose: number[][], distances: Record<string, { value: number, uncertainty: number }>, units: Units, units_inferred: boolean,
 *   points: number, triangles: number, warnings: string[], expected_error: Measurement[],
 *   heatmaps?: { points: Point[], indices: number[] | null, values: number[][] } }} FaceAnswer
 * @typedef {{ units?: Units | 'auto', model?: string, heatmaps?: 'none' | 'points', filename?: string, format?: string }} FaceOptions
 * @typedef {{ joints?: string, fps?: number, image?: [number, number], keypoints?: unknown, past?: unknown, clip?: unknown,
 *   model?: string, [option: string]: unknown }} BodyClip
 * @typedef {'queued' | 'running' | 'cancelling' | 'succeeded' | 'failed' | 'cancelled'} JobState
 * @typedef {{ id: string, kind: string, state: JobState, detail: string, spec: Record<string, unknown>, attempt: number,
 *   created_at: number, started_at: number | null, finished_at: number | null, worker: string | null,
 *   progress: Record<string, any> | null, metrics: Record<string, any> | null,
 *   error: { type: string, detail: string, lines: string[] } | null, result: Record<string, any> | null,
 *   parent: string | null }} Job
 * @typedef {{ id: number, event: string, data: Record<string, any> }} JobEvent
 * @typedef {{ number?: number, timestamp?: number, left?: unknown[] | null, right?: unknown[] | null }} HandFrame
 */

/** A refusal of the service, RFC 9457: what was expected and what came. */
export class Problem extends Error {
  /** @param {{ type?: string, title?: string, status: number, detail?: string, instance?: string, errors?: { pointer: string, detail: string }[] }} document */
  constructor(document) {
    super(document.detail || document.title || `the service answered ${document.status}`)
    this.name = 'Problem'
    this.status = document.status
    this.title = document.title || ''
    this.kind = (document.type || '').split('/').pop() || ''
    this.request = (document.instance || '').split(':').pop() || ''
    this.errors = document.errors || []
  }
}

export class Chiron {
  /**
   * @param {string | URL} [base] the address of the service, by default the one that this module came from
   * @param {{ key?: string | null, fetch?: typeof fetch }} [options]
   */
  constructor(base = new URL('..', import.meta.url), { key = null, fetch: send = globalThis.fetch } = {}) {
    this.base = new URL(String(base).replace(/\/*$/, '/'))
    this.key = key
    this.send = send.bind(globalThis)
  }

  /** @returns {Record<string, string>} */
  get credentials() {
    return this.key ? { 'x-api-key': this.key } : {}
  }

  /**
   * Send a request; throw Problem if the service refuses it, and TypeError if it cannot be reached.
   * @param {string} path relative to the address of the service
   * @param {{ method?: string, body?: BodyInit, type?: string, accept?: string, query?: Record<string, any>, signal?: AbortSignal, headers?: Record<string, string> }} [options]
   */
  async request(path, { method, body, type, accept = 'application/json', query = {}, signal, headers = {} } = {}) {
    const url = new URL(path.replace(/^\//, ''), this.base)
    for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null) url.searchParams.set(name, String(value))
    const sent = { accept, ...(type && { 'content-type': type }), ...this.credentials, ...headers }
    const answer = await this.send(url, { method: method || (body === undefined ? 'GET' : 'POST'), body, headers: sent, signal })
    if (answer.ok) return answer
    const document = await answer.json().catch(() => ({}))
    throw new Problem({ ...document, status: answer.status })
  }

  /** @param {string} path @param {Record<string, any>} [query] */
  async get(path, query) {
    return (await this.request(path, { query })).json()
  }

  /** @param {string} path @param {unknown} [document] @param {AbortSignal} [signal] */
  async post(path, document, signal) {
    const body = document === undefined ? '' : JSON.stringify(document)
    return (await this.request(path, { method: 'POST', body, type: 'application/json', signal })).json()
  }

  /** @param {string} path */
  async remove(path) {
    await this.request(path, { method: 'DELETE' })
  }

  models() { return this.get('models') }
  joints() { return this.get('joints') }
  landmarks() { return this.get('landmarks') }

  /** Return a request body to try a model with: a clip, or the bytes of a scan. @param {string} model */
  async example(model) {
    const answer = await this.request(`models/${model}/example`, { accept: '*/*' })
    return answer.headers.get('content-type')?.startsWith('application/json') ? answer.json() : answer.blob()
  }

  /** @param {HandClip} clip @param {AbortSignal} [signal] @returns {Promise<HandForecast>} */
  forecastHands(clip, signal) { return this.post('forecast/hands', clip, signal) }

  /** @param {BodyClip} clip */
  liftPoses(clip) { return this.post('poses/lift', clip) }

  /** @param {BodyClip} clip */
  forecastPoses(clip) { return this.post('forecast/poses', clip) }

  /** @param {BodyClip} clip */
  recognizeActions(clip) { return this.post('actions/recognize', clip) }

  /**
   * Find the landmarks of a face on a scan; `filename` or `format` says how the scan is written.
   * @param {Blob | ArrayBuffer} scan @param {FaceOptions} [options] @param {AbortSignal} [signal] @returns {Promise<FaceAnswer>}
   */
  async faceLandmarks(scan, options = {}, signal) {
    return (await this.request('landmarks/face', { body: scan, type: 'application/octet-stream', query: options, signal })).json()
  }

  /** @param {Blob | ArrayBuffer} scan @param {FaceOptions} options @param {string} accept the media type of the answer */
  async faceFile(scan, options, accept) {
    return (await this.request('landmarks/face', { body: scan, type: 'application/octet-stream', query: options, accept })).blob()
  }

  /** Open a stream of hands; resolve when the service is ready. @param {{ fps: number } & Record<string, unknown>} settings */
  async handStream(settings) {
    const url = new URL('forecast/hands/stream', this.base)
    url.protocol = url.protocol.replace('http', 'ws')
    const socket = new WebSocket(url, this.key ? ['chiron', `chiron.key.${this.key}`] : [])
    const stream = new HandStream(socket)
    await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(JSON.stringify(settings))
      socket.onerror = () => reject(new Problem({ status: 0, title: 'No stream', detail: 'the stream could not be opened; is the key valid?' }))
      socket.onclose = event => reject(new Problem({ status: 0, title: 'The stream ended', detail: event.reason || `close code ${event.code}` }))
      stream.onanswer = answer => (answer.kind === 'ready' ? resolve(answer) : reject(new Problem({ status: 0, ...answer })))
    }).then(ready => { stream.ready = ready })
    stream.onanswer = () => {}
    socket.onclose = event => stream.onclose(event.reason || `close code ${event.code}`)
    return stream
  }

  /** @param {Record<string, any>} [query] @returns {Promise<{ jobs: Job[], next: string | null }>} */
  jobs(query) { return this.get('jobs', query) }

  /** @param {string} id @returns {Promise<Job>} */
  job(id) { return this.get(`jobs/${id}`) }

  /** @param {Record<string, unknown>} spec @returns {Promise<Job>} */
  submit(spec) { return this.post('jobs', spec) }

  /** @param {string} id @param {'cancel' | 'retry'} change @returns {Promise<Job>} */
  change(id, change) { return this.post(`jobs/${id}/${change}`) }

  /** @param {string} id @returns {Promise<{ artifacts: { name: string, bytes: number }[] }>} */
  artifacts(id) { return this.get(`jobs/${id}/artifacts`) }

  /** Yield the events of a job until it ends. @param {string} id @param {AbortSignal} [signal] @returns {AsyncGenerator<JobEvent>} */
  async *events(id, signal) {
    const answer = await this.request(`jobs/${id}/events`, { accept: 'text/event-stream', signal })
    const reader = /** @type {ReadableStream} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader()
    for (let text = ''; ;) {
      const { value, done } = await reader.read()
      if (done) return
      const parts = (text + value).split('\n\n')
      text = parts.pop() || ''
      for (const part of parts) {
        const fields = Object.fromEntries(part.split('\n').map(line => line.split(/: ?(.*)/s).slice(0, 2)))
        if (fields.event) yield { id: Number(fields.id), event: fields.event, data: JSON.parse(fields.data) }
      }
    }
  }

  /** @param {string} name @param {string} version @param {'promote' | 'rollback'} change */
  version(name, version, change) { return this.post(`models/${name}/versions/${version}/${change}`) }

  datasets() { return this.get('datasets') }

  /** Upload a data set as a .zip. @param {string} name @param {Blob} archive */
  async uploadDataset(name, archive) {
    return (await this.request('datasets', { body: archive, type: 'application/zip', query: { name } })).json()
  }
}

/** A WebSocket to which a tracker sends its frames, and which answers with forecasts. */
export class HandStream {
  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket
    /** @type {any} the first answer: model, times, frames_needed */
    this.ready = null
    /** @type {(answer: any) => void} */
    this.onanswer = () => {}
    /** @type {(reason: string) => void} */
    this.onclose = () => {}
    socket.onmessage = event => this.onanswer(JSON.parse(event.data))
  }

  /** @param {HandFrame} frame */
  push(frame) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame))
  }

  close() {
    this.onclose = () => {}
    this.socket.close()
  }
}
