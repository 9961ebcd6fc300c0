/** A canvas with a scene of three.js that is drawn when something changes, and skeletons, points and meshes in it. */
import {
  BufferAttribute, BufferGeometry, Color, CylinderGeometry, DirectionalLight, DoubleSide, Group, HemisphereLight, InstancedMesh, Matrix4, Mesh,
  MeshBasicMaterial, MeshLambertMaterial, OrbitControls, PerspectiveCamera, Points, PointsMaterial, Quaternion, Raycaster, Scene, SphereGeometry,
  Vector2, Vector3, WebGLRenderer,
} from './vendor/three-0.187.0.min.js'

export { BufferAttribute, BufferGeometry, Color, DoubleSide, Group, Mesh, MeshLambertMaterial, Points, PointsMaterial, Vector3 }

const BALL = new SphereGeometry(1, 16, 12), ROD = new CylinderGeometry(1, 1, 1, 10, 1), UP = new Vector3(0, 1, 0)

/** @param {string} name of a colour of the style sheet @returns {string} */
export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

export class Stage {
  /** @param {HTMLCanvasElement} canvas @throws {Error} without WebGL */
  constructor(canvas) {
    this.canvas = canvas
    try {
      this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true })
    } catch {
      throw new Error('This browser draws nothing in three dimensions: expected WebGL 2, which is missing or off. The requests below work without it.')
    }
    this.scene = new Scene()
    this.camera = new PerspectiveCamera(32, 2, 0.01, 100)
    this.controls = new OrbitControls(this.camera, canvas)
    this.controls.addEventListener('change', () => this.draw())
    this.light = new DirectionalLight(0xffffff, 1.6)
    this.camera.add(this.light)
    this.scene.add(this.camera, new HemisphereLight(0xffffff, 0x777777, 1.5))
    this.root = new Group()
    this.scene.add(this.root)
    this.pending = 0
    canvas.tabIndex = 0
    canvas.addEventListener('keydown', event => this.key(event))
    new ResizeObserver(() => this.draw()).observe(canvas)
    document.addEventListener('theme', () => { this.onrecolour(); this.draw() })
    this.onrecolour = () => {}
  }

  /** Remove everything from the scene. */
  clear() {
    this.root.traverse(object => { object.geometry !== BALL && object.geometry !== ROD && object.geometry?.dispose(); object.material?.dispose?.() })
    this.root.clear()
  }

  /**
   * Look at points so that all of them fit.
   * @param {number[][]} points @param {{ up?: number[], from?: number[], margin?: number }} [view] `from` points from them to who looks
   */
  look(points, { up = [0, 1, 0], from = [0.4, 0.35, 1], margin = 0.85 } = {}) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity]
    for (const point of points) if (point) for (let axis = 0; axis < 3; axis++) { low[axis] = Math.min(low[axis], point[axis]); high[axis] = Math.max(high[axis], point[axis]) }
    const centre = new Vector3(...low).add(new Vector3(...high)).multiplyScalar(0.5)
    const radius = new Vector3(...high).sub(centre).length() || 1
    const { clientWidth, clientHeight } = this.canvas, aspect = clientWidth / clientHeight || 1
    const half = Math.atan(Math.tan(this.camera.fov * Math.PI / 360) * Math.min(1, aspect))
    const distance = margin * radius / Math.sin(half)
    this.camera.up.set(...up)
    this.camera.near = distance / 100
    this.camera.far = distance * 20
    this.camera.updateProjectionMatrix()
    this.camera.position.copy(centre).addScaledVector(new Vector3(...from).normalize(), distance)
    this.controls.target.copy(centre)
    this.light.position.set(-0.4 * distance, 0.5 * distance, 0.2 * distance)
    this.light.target = this.root
    this.radius = radius
    this.controls.update()
    this.draw()
  }

  /** Turn by the arrows, and go nearer and farther by plus and minus. @param {KeyboardEvent} event */
  key(event) {
    const turns = { ArrowLeft: [UP, 1], ArrowRight: [UP, -1], ArrowUp: [null, 1], ArrowDown: [null, -1] }[event.key]
    const zoom = { '+': 0.9, '=': 0.9, '-': 1.1 }[event.key]
    if (!turns && !zoom) return
    event.preventDefault()
    const offset = this.camera.position.clone().sub(this.controls.target)
    if (zoom) offset.multiplyScalar(zoom)
    else {
      const axis = turns[0] ? this.camera.up.clone() : new Vector3().crossVectors(this.camera.up, offset)
      offset.applyAxisAngle(axis.normalize(), -0.12 * turns[1])
    }
    this.camera.position.copy(this.controls.target).add(offset)
    this.controls.update()
  }

  draw() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0
      const { clientWidth: width, clientHeight: height } = this.canvas
      if (!width || !height) return
      const ratio = Math.min(devicePixelRatio, 2)
      if (this.canvas.width !== Math.floor(width * ratio) || this.canvas.height !== Math.floor(height * ratio)) {
        this.renderer.setPixelRatio(ratio)
        this.renderer.setSize(width, height, false)
        this.camera.aspect = width / height
        this.camera.updateProjectionMatrix()
      }
      this.renderer.render(this.scene, this.camera)
    })
  }

  /** Return the index of the point of `points` nearest to the pointer, within some pixels; else -1. @param {PointerEvent} event @param {number[][]} points */
  nearest(event, points, within = 18) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect(), projected = new Vector3()
    let best = -1, least = within
    points.forEach((point, index) => {
      projected.set(...point).project(this.camera)
      const apart = Math.hypot((projected.x + 1) / 2 * width - (event.clientX - left), (1 - projected.y) / 2 * height - (event.clientY - top))
      if (apart < least) [best, least] = [index, apart]
    })
    return best
  }
}

const at = new Vector3(), other = new Vector3(), middle = new Vector3(), turn = new Quaternion(), scale = new Vector3(), matrix = new Matrix4()
const NOTHING = new Matrix4().makeScale(0, 0, 0)

/** Balls, each with a place, a radius and a colour. */
export class Balls extends InstancedMesh {
  /** @param {number} count @param {{ colour?: string, opacity?: number, depthTest?: boolean, lit?: boolean }} [look] */
  constructor(count, { colour: name = 'ink', opacity = 1, depthTest = true, lit = true } = {}) {
    const Material = lit ? MeshLambertMaterial : MeshBasicMaterial
    super(BALL, new Material({ color: name.startsWith('#') ? name : colour(name), opacity, transparent: opacity < 1, depthTest, depthWrite: opacity === 1 && depthTest }), count)
    this.frustumCulled = false
    this.name = name
  }

  /** @param {(number[] | null)[]} points @param {(index: number) => number} radius */
  place(points, radius) {
    for (let i = 0; i < this.count; i++) {
      const point = points[i], r = point ? radius(i) : 0
      if (!(r > 0)) this.setMatrixAt(i, NOTHING)
      else this.setMatrixAt(i, matrix.makeScale(r, r, r).setPosition(point[0], point[1], point[2]))
    }
    this.instanceMatrix.needsUpdate = true
    return this
  }
}

/** A skeleton whose bones are rods and whose joints are balls; a joint may be missing. */
export class Figure extends Group {
  /**
   * @param {[number, number][]} bones @param {number} joints
   * @param {{ colour: string | ((joint: number) => string), radius: number, opacity?: number, depthTest?: boolean }} look the colour of all, or of
   *   each joint and the bone to it; without a test of depth it is drawn over all that is opaque
   */
  constructor(bones, joints, { colour: tint, radius, opacity = 1, depthTest = true }) {
    super()
    const material = new MeshLambertMaterial({ opacity, transparent: opacity < 1, depthWrite: opacity === 1 && depthTest, depthTest })
    this.bones = bones
    this.radius = radius
    this.rods = new InstancedMesh(ROD, material, bones.length)
    this.balls = new InstancedMesh(BALL, material, joints)
    this.rods.frustumCulled = this.balls.frustumCulled = false
    if (!depthTest) this.rods.renderOrder = this.balls.renderOrder = 1
    this.tint = typeof tint === 'string' ? () => tint : tint
    this.add(this.rods, this.balls)
    this.recolour()
  }

  /** Take the colours of the style sheet again. */
  recolour() {
    this.bones.forEach(([, b], i) => this.rods.setColorAt(i, new Color(colour(this.tint(b)))))
    for (let j = 0; j < this.balls.count; j++) this.balls.setColorAt(j, new Color(colour(this.tint(j))))
    for (const mesh of [this.rods, this.balls]) mesh.instanceColor && (mesh.instanceColor.needsUpdate = true)
  }

  /** @param {(number[] | null)[] | null | undefined} pose */
  set(pose) {
    this.visible = Boolean(pose)
    if (!pose) return this
    this.bones.forEach(([a, b], i) => {
      if (!pose[a] || !pose[b]) return this.rods.setMatrixAt(i, NOTHING)
      at.set(...pose[a]); other.set(...pose[b])
      middle.addVectors(at, other).multiplyScalar(0.5)
      const length = other.sub(at).length()
      turn.setFromUnitVectors(UP, other.normalize())
      this.rods.setMatrixAt(i, matrix.compose(middle, turn, scale.set(this.radius, length, this.radius)))
    })
    for (let j = 0; j < this.balls.count; j++) {
      const point = pose[j], r = 1.5 * this.radius
      this.balls.setMatrixAt(j, point ? matrix.makeScale(r, r, r).setPosition(point[0], point[1], point[2]) : NOTHING)
    }
    this.rods.instanceMatrix.needsUpdate = this.balls.instanceMatrix.needsUpdate = true
    return this
  }
}
