"""A simulated scanner for a face model: crops, one-sided views, holes, noise, hair, shoulders and stray points.

A network trained on whole and clean faces only fails on other scans. The scanner therefore draws at random all that differs between real
scans, so that the face is all that scans have in common ("domain randomisation", Tobin et al. 2017, arXiv:1703.06907). Lengths are in
metres; the face looks along +z and is upright along +y.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from models.scans.levels import REACH_M
from models.scans.sampling import sample_surface
from models.skeletons.face import FACE68
from training.engine.fingerprint import LATER
from training.tasks.faces.faults import flown, in_steps, seamed, smoothed
from training.tasks.faces.ict import FaceModel

Points = Float[np.ndarray, "points 3"]
NOSE, CHIN, BROW = (FACE68.joints.index(name) for name in ("nose_tip", "chin", "right_brow_3"))


@dataclass(frozen=True)
class Scanner:
    """The probabilities of each defect, and the largest sizes of the defects in metres; all zero is a clean scan of the front.

    `regions` are the shares of whole heads, fronts (up to the ears), narrow faces, and balls around the nose, which the second pass of
    `levels.search` crops scans to.
    """

    points: tuple[int, int] = (8192, 8192)  # fewest and most, before anything is cut off
    regions: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 0.0)
    cut: float = 0.0  # by planes at random heights: behind the face, across neck and forehead, through a cheek
    view: float = 0.0  # seen from one or two sides only, in the grid of a depth camera
    density: float = 0.0  # denser at one end than at the other
    holes: float = 0.0
    mouth: float = 0.0  # the inside of an open mouth is visible
    hair: float = 0.0
    shoulders: float = 0.0
    strays: float = 0.0
    size: float = 0.0  # standard deviation of the logarithm of the size
    warp: float = 0.0  # slow bends of the surface, with the landmarks on it
    bumps: float = 0.0  # local swellings and dents, with the landmarks on them
    ripple: float = 0.0  # of the surface alone, like errors of a scanner's calibration
    noise: float = 0.0  # standard deviation for each point
    half: float = field(default=0.0, metadata=LATER)  # one side of a plane near the middle of the face is missing
    steps: float = field(default=0.0, metadata=LATER)  # of the depth of a camera: the largest
    flying: float = field(default=0.0, metadata=LATER)  # the share of points at edges of a camera's image that fly
    smooth: int = field(default=0, metadata=LATER)  # a point is a mean of this many neighbours at most; 0 is none
    seam: float = field(default=0.0, metadata=LATER)  # by which two parts of half of the scans are apart


@dataclass(frozen=True)
class Mix:
    """Scanners and the share of scans that each makes."""

    parts: tuple[tuple[float, Scanner], ...]

    def drawn(self, rng: np.random.Generator) -> Scanner:
        """Return one of the scanners at random."""
        shares = np.array([share for share, _ in self.parts])
        return self.parts[rng.choice(len(shares), p=shares / shares.sum())][1]


CLEAN = Scanner(noise=0.0003)
VARIED = Scanner(
    points=(2000, 6000),
    regions=(0.25, 0.4, 0.15, 0.2),
    cut=0.5,
    view=0.45,
    density=0.3,
    holes=0.35,
    mouth=0.4,
    hair=0.4,
    shoulders=0.3,
    strays=0.25,
    size=0.07,
    warp=0.002,
    bumps=0.004,
    ripple=0.0006,
    noise=0.0008,
)
HEAD = Scanner(regions=(1.0, 0.0, 0.0, 0.0), noise=0.0003)  # a whole head and neck
SENSOR = Scanner(points=(3000, 8000), regions=(0.5, 0.5, 0.0, 0.0), view=1.0, noise=0.001)  # a depth camera's cloud
HALF = Scanner(half=1.0, noise=0.0003)
DEPTH = replace(SENSOR, points=(1500, 6000), density=0.3, steps=0.003, flying=0.5)  # a coarse depth camera's cloud
PHONE = Scanner(  # a telephone's reconstruction
    points=(1500, 5000),
    regions=(0.2, 0.6, 0.2, 0.0),
    cut=0.5,
    density=0.5,
    holes=0.7,
    hair=0.3,
    ripple=0.001,
    noise=0.0005,
    smooth=12,
    seam=0.0015,
)
SHAPES = Scanner(size=0.06, warp=0.0015, bumps=0.003)  # more faces than the face model has
WIDE = Mix((
    (0.25, replace(SHAPES, points=(4000, 9000), regions=(0.3, 0.5, 0.05, 0.15), noise=0.0005)),
    (0.35, VARIED),
    (0.12, replace(SHAPES, points=(3000, 9000), regions=(0.3, 0.5, 0.1, 0.1), half=1.0, noise=0.0005)),
    (0.14, replace(DEPTH, size=0.06, warp=0.0015, bumps=0.003, hair=0.3, shoulders=0.3)),
    (0.14, replace(PHONE, size=0.06, warp=0.0015, bumps=0.003, shoulders=0.2)),
))  # fmt: skip


def scan(
    model: FaceModel, vertices: Float[np.ndarray, "vertices 3"], how: Scanner, rng: np.random.Generator
) -> tuple[Points, Float[np.ndarray, "68 3"]]:
    """Return a scan of a face, unordered, and the true landmarks on it, in metres, float64."""
    region = rng.choice(4, p=how.regions)
    mask = model.masks[("scan", "front", "narrow", "scan")[region]]
    if rng.random() < how.mouth:
        mask = mask | model.masks["mouth"]
    landmarks = vertices[model.landmarks].astype(np.float64)
    triangles = model.triangles[mask[model.triangles].all(axis=1)]
    if rng.random() < how.cut:
        triangles = triangles[_kept_by_planes(vertices[triangles[:, 0]], landmarks, rng)]
    count = int(rng.integers(how.points[0], how.points[1] + 1))
    seen = rng.random() < how.view
    points = sample_surface(vertices, triangles, 5 * count if seen else count, seed=int(rng.integers(2**31)))
    points, landmarks = _bent(points, landmarks, how, rng)
    parts = [points]
    if rng.random() < how.hair:
        parts[0] = parts[0][_bald(parts[0], landmarks, rng)]
        parts.append(_hair(landmarks, count, rng))
    if rng.random() < how.shoulders:
        parts.append(_shoulders(landmarks, count, rng))
    points = np.concatenate(parts)
    if seen:
        points = _seen(points, landmarks[NOSE], how, rng)
    if region == 3:
        middle = landmarks[NOSE] + rng.normal(0, 0.008, 3)
        points = points[np.linalg.norm(points - middle, axis=1) < REACH_M]
    if rng.random() < how.density:
        points = points[_thinned(points, rng)]
    if rng.random() < how.holes:
        points = points[_outside_holes(points, landmarks, rng)]
    if how.half and rng.random() < how.half:
        points = points[_on_one_side(points, landmarks, rng)]
    if how.seam and rng.random() < 0.5:
        points = seamed(points, landmarks[NOSE], how.seam, rng)
    points = _rippled(points, how, rng)
    if how.smooth:
        points = smoothed(points, how.smooth, rng)
    if rng.random() < how.strays:
        low, high = points.min(axis=0) - 0.05, points.max(axis=0) + 0.05
        points = np.concatenate([points, rng.uniform(low, high, (int(rng.uniform(0.001, 0.02) * len(points)), 3))])
    size = np.exp(how.size * rng.standard_normal())
    return points * size, landmarks * size


def _kept_by_planes(
    at: Points, landmarks: Float[np.ndarray, "68 3"], rng: np.random.Generator
) -> Bool[np.ndarray, " points"]:
    """Return which points are ahead of a plane behind the face and between planes across neck and forehead, all randomly tilted.

    In few scans a plane cuts off a cheek.
    """
    kept = np.ones(len(at), dtype=bool)
    for normal, through, often in (
        ([0, 0, 1], landmarks[NOSE] - [0, 0, rng.uniform(0.07, 0.18)], 0.7),
        ([0, 1, 0], landmarks[CHIN] - [0, rng.uniform(0.005, 0.09), 0], 0.6),
        ([0, -1, 0], landmarks[BROW] + [0, rng.uniform(0.01, 0.08), 0], 0.6),
        ([rng.choice([-1, 1]), 0, 0], landmarks[NOSE], 0.1),
    ):
        tilted = np.array(normal) + rng.normal(0, 0.2, 3)
        beyond = (at - through) @ tilted
        if normal[0]:
            beyond += rng.uniform(0.03, 0.07)
        if rng.random() < often:
            kept &= beyond > 0
    return kept


def _bent(
    points: Points, landmarks: Float[np.ndarray, "68 3"], how: Scanner, rng: np.random.Generator
) -> tuple[Points, Float[np.ndarray, "68 3"]]:
    """Return points and landmarks moved by one smooth field: long waves, and swellings around points of the face."""
    both = np.concatenate([points, landmarks])
    moved = both.copy()
    if how.warp:
        moved += _waves(both, how.warp * rng.random(), (0.06, 0.25), 4, rng)
    if how.bumps and rng.random() < 0.5:
        for _ in range(rng.integers(1, 5)):
            middle = points[rng.integers(len(points))]
            width, height = rng.uniform(0.012, 0.04), how.bumps * rng.uniform(-0.7, 1.0)
            outwards = middle - landmarks[NOSE] + [0, 0, 0.08]
            near = np.exp(-0.5 * np.square((both - middle) / width).sum(axis=1))
            moved += height * near[:, None] * outwards / np.linalg.norm(outwards)
    return moved[: len(points)], moved[len(points) :]


def _rippled(points: Points, how: Scanner, rng: np.random.Generator) -> Points:
    """Return the points with short waves and noise on them."""
    if how.ripple:
        points = points + _waves(points, how.ripple * rng.random(), (0.01, 0.05), 3, rng)
    return points + how.noise * (rng.random() if how.ripple else 1.0) * rng.standard_normal(points.shape)


def _waves(at: Points, height: float, lengths: tuple[float, float], count: int, rng: np.random.Generator) -> Points:
    """Return a sum of `count` plane waves with amplitudes of about `height` and wavelengths in the range `lengths`."""
    wave = rng.standard_normal((count, 3))
    wave *= (2 * np.pi / rng.uniform(*lengths, count) / np.linalg.norm(wave, axis=1))[:, None]
    heights = height * rng.standard_normal((count, 3)) / np.sqrt(count)
    return np.sin(at @ wave.T + rng.uniform(0, 2 * np.pi, count)) @ heights


def _seen(
    points: Points, nose: Float[np.ndarray, "3"], how: Scanner, rng: np.random.Generator
) -> Float[np.ndarray, "kept 3"]:
    """Return the points that one or two depth cameras in front see: the nearest in each cell of an image grid, with their faults."""
    kept, changed = [], []
    cell = rng.uniform(0.0013, 0.003)
    first = rng.uniform(-70, 70)
    for yaw in (first,) if rng.random() < 0.65 else (first, -first * rng.uniform(0.5, 1)):
        y, p = np.deg2rad(yaw), np.deg2rad(rng.uniform(-35, 35))
        ahead = np.array([np.sin(y) * np.cos(p), np.sin(p), np.cos(y) * np.cos(p)])
        right = np.cross([0, 1, 0], ahead)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        flat = (points - nose) @ axes
        coarse = _cells(flat, 0.006)
        nearest = np.full(coarse.max() + 1, -np.inf)
        np.maximum.at(nearest, coarse, flat[:, 2])
        visible = np.flatnonzero(flat[:, 2] > nearest[coarse] - 0.012)
        order = visible[np.argsort(-flat[visible, 2])]
        kept.append(order[np.unique(_cells(flat[order], cell), return_index=True)[1]])
        if how.steps:
            own = flown(flat[kept[-1]], coarse[kept[-1]], nearest, how.flying, rng)
            changed.append(in_steps(own, how.steps, rng) @ axes.T + nose)
    return np.concatenate(changed) if changed else points[np.unique(np.concatenate(kept))]


def _cells(flat: Points, size: float) -> Int[np.ndarray, " points"]:
    """Return the number of the cell of each point in a grid over x and y."""
    steps = np.floor((flat[:, :2] - flat[:, :2].min(axis=0)) / size).astype(np.int64)
    return steps[:, 0] * (steps[:, 1].max() + 1) + steps[:, 1]


def _thinned(points: Points, rng: np.random.Generator) -> Bool[np.ndarray, " points"]:
    """Return which points remain when the density falls along a random direction."""
    along = rng.standard_normal(3)
    place = points @ (along / np.linalg.norm(along))
    share = np.exp(-rng.uniform(0.5, 2.5) * (place - place.min()) / np.ptp(place))
    return rng.random(len(points)) < share


def _outside_holes(
    points: Points, landmarks: Float[np.ndarray, "68 3"], rng: np.random.Generator
) -> Bool[np.ndarray, " points"]:
    """Return which points are outside random balls, half of them around landmarks, where real scanners often fail."""
    kept = np.ones(len(points), dtype=bool)
    for _ in range(rng.integers(1, 6)):
        middle = landmarks[rng.integers(68)] if rng.random() < 0.5 else points[rng.integers(len(points))]
        kept &= np.square(points - middle).sum(axis=1) > rng.uniform(0.004, 0.02) ** 2
    return kept


def _on_one_side(
    points: Points, landmarks: Float[np.ndarray, "68 3"], rng: np.random.Generator
) -> Bool[np.ndarray, " points"]:
    """Return which points are on one side of a tilted plane at the nose, or up to 3 cm beyond it."""
    normal = np.array([rng.choice([-1, 1]), 0, 0]) + rng.normal(0, 0.15, 3)
    return (points - landmarks[NOSE]) @ (normal / np.linalg.norm(normal)) > -rng.uniform(0, 0.03)


def _bald(
    points: Points, landmarks: Float[np.ndarray, "68 3"], rng: np.random.Generator
) -> Bool[np.ndarray, " points"]:
    """Return which points hair leaves visible: those below the hairline, and a tenth of the others."""
    line = landmarks[BROW, 1] + rng.uniform(0.01, 0.08) - rng.uniform(0, 4) * np.square(points[:, 0])
    return (points[:, 1] < line) | (rng.random(len(points)) < 0.1)


def _hair(landmarks: Float[np.ndarray, "68 3"], count: int, rng: np.random.Generator) -> Points:
    """Return the points of hair: a rough cap around the skull, and in a third of scans long hair beside the face."""
    many = int(count * rng.uniform(0.1, 0.6))
    on = rng.standard_normal((many, 3))
    on /= np.linalg.norm(on, axis=1, keepdims=True)
    skull = landmarks[BROW] * [0, 1, 0] + [0, 0.015, landmarks[BROW, 2] - 0.1]
    radii = np.array([0.085, 0.1, 0.11]) * rng.uniform(0.95, 1.3)
    points = skull + on * radii
    points = points[(on[:, 1] > rng.uniform(0.1, 0.5)) | (on[:, 2] < -0.2)]
    parts = [points + _waves(points, rng.uniform(0.002, 0.01), (0.02, 0.08), 3, rng)]
    if rng.random() < 0.35:
        side = rng.choice([-1, 1], many)
        strand = np.stack(
            [
                side * (rng.uniform(0.07, 0.1) + 0.01 * rng.standard_normal(many)),
                landmarks[BROW, 1] - rng.uniform(-0.05, rng.uniform(0.1, 0.25), many),
                landmarks[NOSE, 2] - rng.uniform(0.05, 0.16, many),
            ],
            axis=1,
        )
        parts.append(strand + _waves(strand, 0.006, (0.02, 0.08), 3, rng))
    hair = np.concatenate(parts)
    return hair + rng.uniform(0.0005, 0.004) * rng.standard_normal(hair.shape)


def _shoulders(landmarks: Float[np.ndarray, "68 3"], count: int, rng: np.random.Generator) -> Points:
    """Return the points of an upper body: a bent sheet below the chin."""
    many = int(count * rng.uniform(0.1, 1.0))
    x = rng.uniform(-1, 1, many) * rng.uniform(0.1, 0.25)
    down = rng.uniform(0, rng.uniform(0.05, 0.25), many)
    y = landmarks[CHIN, 1] - rng.uniform(0.04, 0.1) - down - rng.uniform(1, 4) * np.square(x)
    z = landmarks[CHIN, 2] - rng.uniform(0.02, 0.1) + rng.uniform(0, 0.4) * down - rng.uniform(1, 4) * np.square(x)
    sheet = np.stack([x, y, z], axis=1)
    return sheet + _waves(sheet, rng.uniform(0.001, 0.006), (0.03, 0.15), 3, rng)
