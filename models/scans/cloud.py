"""Point clouds as the networks for faces take and give them: centring, nearest neighbours, and heatmaps to points and back.

Everything here follows a rotation and translation of the cloud exactly: the same indices come out, and points move with
the cloud. What could spoil that is rounding where two distances are equal, as they are on a grid or a mirror-symmetric
mesh. So squared distances are compared in whole multiples of `tie_unit`, far above rounding and far below every
scanner's noise, and of equal ones the point that came first in the file wins. Arrays are float64: cast to float32 only
what `centre` gives.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

MIN_POINTS = 4  # fewer span no solid, and a face has no side
MAX_COORDINATE = 1e9  # a thousand kilometres in millimetres; squares of squares still fit
SPREAD = 1e-10  # of the largest coordinate: below it what is left of the shape is rounding
TIE_BITS = 26  # 1.5e-8 of the median squared distance from the centroid: 1 nm between neighbours 5 mm apart on a face
TOP, POWER = 10, 3  # of decode: one point is as coarse as the sampling, and many bring in the noise far from the peak


class BadCloud(ValueError):
    """Bytes or arrays that are no cloud or mesh to find anything on; the message says what was wanted and what came."""


class UnknownSuffix(BadCloud):
    """A suffix that no reader is for, or one whose contents are plainly of another format."""


class Unreadable(BadCloud):
    """A file that is cut short, contradicts itself, or uses a part of its format that is not read here."""


class TooBig(BadCloud):
    """More bytes or points than are taken, as sent, as announced in a header, or once inflated."""


class NotFinite(BadCloud):
    """NaN, infinity, or coordinates so large that they cannot be lengths."""


class Degenerate(BadCloud):
    """Too few points, points that are all equal, or a mesh without a face that has an area."""


@dataclass(frozen=True)
class Scan:
    """What was uploaded: points in the file's order and unit, and the triangles between them if it is a mesh."""

    points: Float[np.ndarray, "points 3"]  # float64
    triangles: Int[np.ndarray, "triangles 3"] | None


def check_points(points: Float[np.ndarray, "points 3"]) -> None:
    """Raises NotFinite or Degenerate for points that no landmark can be found on."""
    if len(points) < MIN_POINTS:
        raise Degenerate(f"a cloud wants at least {MIN_POINTS} points; came {len(points)}")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise NotFinite(
            f"coordinates are finite numbers; {np.count_nonzero(~finite)} of {len(points)} points have a NaN or an infinity, the first is "
            f"point {first}. Leave out points without a measurement"
        )
    reach = float(np.abs(points).max())
    if reach > MAX_COORDINATE:
        raise NotFinite(f"coordinates are at most {MAX_COORDINATE:g} in any unit; came {reach:g}")
    if float(np.ptp(points, axis=0).max()) <= max(SPREAD * reach, 1e-30):
        raise Degenerate(f"the {len(points)} points are all equal")


def centre(points: Float[np.ndarray, "points 3"]) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "3"]]:
    """The points about their centroid, and the centroid; float64, so that 10 m of offset cost 1e-15 m."""
    weights = np.full(len(points), 1 / len(points))
    centroid = weights @ points.astype(np.float64)
    about = points - centroid
    rest = weights @ about  # what the long sum lost
    return about - rest, centroid + rest


def tie_unit(squared_radii: Float[np.ndarray, " points"]) -> float:
    """The step in which squared distances of a cloud are compared, from its points' squared distances to the centroid.

    A power of four, so that dividing lengths by its root rounds nothing; of the median, so that an outlier a kilometre
    away leaves it alone.
    """
    middle = len(squared_radii) // 2
    scale = float(np.partition(squared_radii, middle)[middle])
    mean = float(squared_radii.mean())
    if scale < 1e-12 * mean:  # more than half of the points are one point
        scale = mean
    return 4.0 ** (np.floor(np.log2(scale) / 2) - TIE_BITS // 2)


def _squared(vectors: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    return np.einsum("ij,ij->i", vectors, vectors)


def nearest(
    points: Float[np.ndarray, "points 3"], queries: Float[np.ndarray, "queries 3"], k: int
) -> Int[np.ndarray, "queries k"]:
    """The k points nearest to each query, nearest first; among equally near ones the lower index. Raises Degenerate.

    2 to 3 ms for 1024 queries of 16 among 1024; a query with ties costs some 30 us more.
    """
    if k > len(points):
        raise Degenerate(f"{k} nearest points want a cloud of at least {k} points; came {len(points)}")
    unit = tie_unit(_squared(centre(points)[0]))
    tree = KDTree(points)
    distances, found = map(np.asarray, tree.query(queries, list(range(1, min(k + 1, len(points)) + 1))))  # pyright: ignore - scipy's stub
    steps = np.rint(distances**2 / unit)
    for row in np.flatnonzero((steps[:, 1:] == steps[:, :-1]).any(axis=1)):
        reach = np.sqrt((steps[row, k - 1] + 1) * unit)
        around = np.array(tree.query_ball_point(queries[row], reach), dtype=found.dtype)
        theirs = np.rint(_squared(points[around] - queries[row]) / unit)
        found[row, :k] = around[np.lexsort((around, theirs))[:k]]
    return found[:, :k]


def neighbours(points: Float[np.ndarray, "points 3"], k: int) -> Int[np.ndarray, "points k"]:
    """The k nearest other points of each point, nearest first. Raises Degenerate."""
    found = nearest(points, points, k + 1)
    own = found == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True  # k + 1 points in the same place, none of them this one
    return found[~own].reshape(len(points), k)


def interpolation(
    known: Float[np.ndarray, "known 3"], wanted: Float[np.ndarray, "wanted 3"], k: int = 3
) -> tuple[Int[np.ndarray, "wanted k"], Float[np.ndarray, "wanted k"]]:
    """Which k known points give the value at each wanted one, and with what weights: inverse squared distances that add
    up to 1 (Qi et al. 2017, arXiv:1706.02413, eq. 2). At a known point its own value comes out. Raises Degenerate.
    """
    index = nearest(known, wanted, k)
    squared = np.square(known[index] - wanted[:, None]).sum(axis=2)
    squared = np.maximum(squared, 1e-12 * tie_unit(_squared(centre(known)[0])))
    weights = squared[:, :1] / squared  # 1/d^2 over that of the nearest: nothing overflows
    return index, weights / weights.sum(axis=1, keepdims=True)


def interpolate(
    values: Float[np.ndarray, "known channels"],
    index: Int[np.ndarray, "wanted k"],
    weights: Float[np.ndarray, "wanted k"],
) -> Float[np.ndarray, "wanted channels"]:
    """The values at the wanted points of `interpolation`, in the values' dtype."""
    out = np.zeros((len(index), values.shape[1]), dtype=values.dtype)
    for column in range(index.shape[1]):
        out += values[index[:, column]] * weights[:, column, None].astype(values.dtype)
    return out


def decode(
    heatmaps: Float[np.ndarray, "points landmarks"],
    points: Float[np.ndarray, "points 3"],
    radius: float,
    *,
    top: int = TOP,
    power: float = POWER,
) -> Float[np.ndarray, "landmarks 3"]:
    """Where each heatmap peaks, in the unit of the points: the mean of its `top` highest points that are within `radius`
    of the highest, weighted by the `power` of their height. Two sigma of the heatmap is a good radius.

    A heatmap that is nowhere positive gives its highest point.
    """
    heights = heatmaps.astype(np.float64)
    order = np.argsort(-heights, axis=0, kind="stable")[: min(top, len(points))]  # (top, landmarks)
    places = points[order].astype(np.float64)
    weights = np.maximum(np.take_along_axis(heights, order, axis=0), 0)
    weights /= np.maximum(weights[:1], np.finfo(np.float64).tiny)
    weights **= power
    weights[0] = np.maximum(weights[0], np.finfo(np.float64).tiny)
    weights[np.linalg.norm(places - places[:1], axis=2) > radius] = 0
    return (weights[..., None] * places).sum(axis=0) / weights.sum(axis=0)[:, None]
