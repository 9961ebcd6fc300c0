"""Faults of cheap scanners: depth in steps and flying pixels of a depth camera, smoothing and seams of a telephone's reconstruction.

Lengths are in metres.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

Points = Float[np.ndarray, "points 3"]
EDGE_M, FARTHEST_M = 0.012, 0.06  # a jump in depth makes an edge; the longest way of a flying pixel


def in_steps(flat: Points, largest: float, rng: np.random.Generator) -> Points:
    """Return points with depths (z) that are multiples of one step of at most `largest`."""
    step = largest * rng.uniform(0.2, 1)
    return np.concatenate([flat[:, :2], step * np.round(flat[:, 2:] / step)], axis=1)


def flown(
    flat: Points,
    cells: Int[np.ndarray, " points"],
    nearest: Float[np.ndarray, " cells"],
    share: float,
    rng: np.random.Generator,
) -> Points:
    """Return points seen along z of which some at edges are behind the surface, on the way to what is seen in the next cell.

    `cells` has the cell of each point in a grid over x and y, `nearest` the depth of what is seen in each cell, and `share` is the largest
    share of the points at edges that fly.
    """
    ahead = np.append(nearest, -np.inf)
    gap = ahead[cells] - ahead[cells + 1]
    flies = np.isfinite(gap) & (gap > EDGE_M) & (rng.random(len(flat)) < share * rng.random())
    back = np.where(flies, rng.random(len(flat)) * np.minimum(np.where(flies, gap, 0.0), FARTHEST_M), 0.0)
    return flat - back[:, None] * [0, 0, 1]


def smoothed(points: Points, most: int, rng: np.random.Generator) -> Points:
    """Return the means of the 2 to `most` nearest points of each point, itself among them; edges and the tip of the nose recede."""
    near = min(int(rng.integers(2, most + 1)), len(points))
    return points[KDTree(points).query(points, k=near)[1]].mean(axis=1)


def seamed(
    points: Points, middle: Float[np.ndarray, "3"], apart: float, rng: np.random.Generator
) -> Float[np.ndarray, "kept 3"]:
    """Return points in two parts that a plane near `middle` divides.

    One part is moved by up to `apart`, and a strip of up to 3 mm between them may be missing.
    """
    normal = rng.standard_normal(3)
    beside = (points - middle) @ (normal / np.linalg.norm(normal)) - rng.normal(0, 0.03)
    moved = points + np.where(beside[:, None] > 0, rng.uniform(-1, 1, 3) * apart / np.sqrt(3), 0.0)
    return moved[np.abs(beside) > max(0.0, rng.uniform(-0.0015, 0.0015))]
