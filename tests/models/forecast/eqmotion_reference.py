"""EqMotion in the authors' structure, the slow and obvious way: loops over pairs, categories and channels, in NumPy and float64.

It is written from the equations and the published parameter counts, and shares no code with models/. A test copies the weights of
`REFERENCE` into `Weights` by name and compares the answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
UNIT = 10.0  # the authors work in decimetres


@dataclass(frozen=True)
class Linear:
    """x -> W x + b."""

    w: Array
    b: Array | None = None

    def __call__(self, x: Array) -> Array:
        return self.w @ x + (0.0 if self.b is None else self.b)


@dataclass(frozen=True)
class MLP:
    """Two linear maps, with SiLU between them and, unless `plain`, after them."""

    first: Linear
    second: Linear
    plain: bool = False

    def __call__(self, *parts: Array) -> Array:
        y = self.second(silu(self.first(np.concatenate(parts))))
        return y if self.plain else silu(y)


@dataclass(frozen=True)
class LayerWeights:
    """The networks of one layer; `experts` has one for each of the first categories."""

    message: MLP  # 2D+C -> D -> D
    experts: tuple[MLP, ...]  # 2D+C -> D -> C
    factor: MLP  # C -> C -> C
    node: MLP  # 2D -> D -> D, plain
    gate: Linear  # D -> C
    velocity: Array  # C x C
    query: Array  # C x C
    key: Array  # C x C


@dataclass(frozen=True)
class Weights:
    """The networks of EqMotion."""

    speed: Linear  # T -> D/2
    angle: Linear  # T -> D/2
    token: Array | None  # nodes x D
    token_mlp: MLP | None  # 2D -> D -> D
    position: Array  # C x T
    motion: Array  # C x T
    distance: MLP  # 2C -> D -> 2C
    edge: MLP  # 2D+2C -> D -> D
    category_node: MLP  # 2D -> D -> D
    category: MLP  # 2D+2C -> D -> K
    layers: tuple[LayerWeights, ...]
    out: Array  # future x C


def forecast(w: Weights, past: Array, *, dct: bool, residual: bool, temperature: float = 1.0) -> Array:
    """Return the future (future, nodes, 3) of one clip `past` (T, nodes, 3), both in metres. `residual` is that of h."""
    x = UNIT * past.astype(np.float64).transpose(1, 0, 2)  # (nodes, T, 3)
    v = np.stack([velocities(node) for node in x])
    h = np.stack([features(w, i, v[i]) for i in range(len(v))])
    centre = x.mean(axis=(0, 1))
    if dct:
        x, v = np.stack([cosines(node - centre) for node in x]), np.stack([cosines(node) for node in v])
    mean = x.mean(axis=(0, 1))
    g = np.stack([w.position @ (node - mean) + mean for node in x])  # (nodes, C, 3)
    v = np.stack([w.motion @ node for node in v])
    c = categories(w, h, np.concatenate([g, v], axis=1), temperature)
    for layer in w.layers:
        g, h = step(layer, g, v, h, c, residual)
    mean = g.mean(axis=(0, 1))
    y = np.stack([w.out @ (node - mean) + mean for node in g])
    if dct:
        y = np.stack([inverse_cosines(node) for node in y]) + centre
    return y.transpose(1, 0, 2) / UNIT


def velocities(x: Array) -> Array:
    """Return the backward differences of one node's path; the first frame has the velocity of the second."""
    v = np.zeros_like(x)
    for t in range(1, len(x)):
        v[t] = x[t] - x[t - 1]
    v[0] = v[1]
    return v


def features(w: Weights, node: int, v: Array) -> Array:
    """Return h of a node from its velocities (T, 3): embedded speeds beside embedded angles, with the node's token."""
    speed, angle = np.zeros(len(v)), np.zeros(len(v))
    for t in range(len(v)):
        before = v[max(t - 1, 0)]
        speed[t] = np.linalg.norm(v[t])
        cosine = before @ v[t] / ((np.linalg.norm(before) + 1e-6) * (speed[t] + 1e-6))
        angle[t] = np.arccos(np.clip(cosine, -1, 1))
    h = np.concatenate([w.speed(speed), w.angle(angle)])
    return h if w.token is None or w.token_mlp is None else w.token_mlp(h, w.token[node])


def categories(w: Weights, h: Array, gv: Array, temperature: float) -> Array:
    """Return the probabilities (nodes, nodes, K) of the categories of every pair."""
    n = len(h)
    d = [[w.distance(between(gv[i], gv[j])) for j in range(n)] for i in range(n)]
    total = [np.sum([w.edge(h[i], h[j], d[i][j]) for j in range(n) if j != i], axis=0) for i in range(n)]
    h = np.stack([w.category_node(h[i], total[i]) for i in range(n)])
    return np.array([[softmax(w.category(h[i], h[j], d[i][j]) / temperature) for j in range(n)] for i in range(n)])


def step(w: LayerWeights, g: Array, v: Array, h: Array, c: Array, residual: bool) -> tuple[Array, Array]:
    """Return G and h after one layer."""
    n, channels = len(g), g.shape[1]
    moved, heard = np.zeros_like(g), np.zeros_like(h)
    for i in range(n):
        for j in range(n):
            if j == i:
                continue
            apart = between(g[i], g[j])
            heard[i] += w.message(h[i], h[j], apart)
            mix = np.zeros(channels)
            for k, expert in enumerate(w.experts):
                mix += c[i, j, k] * expert(h[i], h[j], apart)
            moved[i] += w.factor(mix)[:, None] * (g[i] - g[j])
    mean = g.mean(axis=(0, 1))
    new = np.stack([g[i] + silu(w.gate(h[i]))[:, None] * (g[i] - mean) for i in range(n)]) + moved
    new = np.stack([new[i] + w.velocity @ v[i] for i in range(n)])
    mean = new.mean(axis=(0, 1))
    new = np.stack([vector_relu(w.query @ (node - mean), w.key @ (node - mean)) + mean for node in new])
    updated = np.stack([w.node(h[i], heard[i]) for i in range(n)])
    return new, h + updated if residual else updated


def vector_relu(q: Array, k: Array) -> Array:
    """Return q, without its component along k in the channels in which the two point apart."""
    y = q.copy()
    for channel in range(len(q)):
        along = q[channel] @ k[channel]
        if along < 0:
            y[channel] -= along / (k[channel] @ k[channel] + 1e-4) * k[channel]
    return y


def between(a: Array, b: Array) -> Array:
    """Return the distance of two nodes in each channel."""
    return np.array([np.linalg.norm(p - q) for p, q in zip(a, b, strict=True)])


def cosines(x: Array) -> Array:
    """Return the orthonormal DCT-II along the first axis."""
    n = len(x)
    y = [sum(x[t] * np.cos(np.pi * k * (t + 0.5) / n) for t in range(n)) for k in range(n)]
    return np.array([y[k] * np.sqrt((1 if k == 0 else 2) / n) for k in range(n)])


def inverse_cosines(y: Array) -> Array:
    """Return the samples whose orthonormal DCT-II is y."""
    n = len(y)
    scaled = [y[k] * np.sqrt((1 if k == 0 else 2) / n) for k in range(n)]
    return np.array([sum(scaled[k] * np.cos(np.pi * k * (t + 0.5) / n) for k in range(n)) for t in range(n)])


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    return np.exp(x) / np.exp(x).sum()


def copied(state: Mapping[str, Array], *, experts: int, layers: int) -> Weights:
    """Return the weights that have these names in `REFERENCE`, in float64."""
    state = {name: np.asarray(x, dtype=np.float64) for name, x in state.items()}

    def linear(name: str) -> Linear:
        w = state[f"{name}.weight"]
        return Linear(w.reshape(w.shape[:2]), state.get(f"{name}.bias"))

    def mlp(name: str, *, plain: bool = False) -> MLP:
        return MLP(linear(f"{name}.0"), linear(f"{name}.2"), plain)

    def of_pairs(name: str, second: str, rows: slice = slice(None)) -> MLP:
        """Join the parts of a first layer on [h_i, h_j, d_ij], or the rows of it that belong to one network."""
        w = np.concatenate([linear(f"{name}.{part}").w for part in ("of_i", "of_j", "of_distance")], axis=1)
        return MLP(Linear(w[rows], state[f"{name}.of_i.bias"][rows]), linear(second))

    def layer(name: str) -> LayerWeights:
        d = state[f"{name}.gate.weight"].shape[1]
        message, *mixed = (
            of_pairs(f"{name}.pair_first", f"{name}.pair_second.{k}", slice(k * d, (k + 1) * d))
            for k in range(1 + experts)
        )
        return LayerWeights(
            message,
            tuple(mixed),
            mlp(f"{name}.factor"),
            mlp(f"{name}.node", plain=True),
            linear(f"{name}.gate"),
            state[f"{name}.velocity.weight"],
            state[f"{name}.nonlinearity.query.weight"],
            state[f"{name}.nonlinearity.key.weight"],
        )

    return Weights(
        speed=linear("embed_speed"),
        angle=linear("embed_turn"),
        token=state.get("tokens"),
        token_mlp=mlp("embed_tokens") if "tokens" in state else None,
        position=state["embed_position.weight"],
        motion=state["embed_velocity.weight"],
        distance=mlp("reasoning.distance"),
        edge=of_pairs("reasoning.edge_first", "reasoning.edge_second"),
        category_node=mlp("reasoning.node"),
        category=of_pairs("reasoning.category_first", "reasoning.category_second"),
        layers=tuple(layer(f"layers.{i}") for i in range(layers)),
        out=state["read_out.weight"],
    )
