"""Point clouds for landmark networks: validation, centring, nearest neighbours, and heatmaps to points and back.

Every function commutes exactly with rotation and translation of the cloud: the same indices come out, and points move with the cloud.
Rounding could break this if two distances are equal, as on a grid or on a mirror-symmetric mesh. Squared distances are therefore compared
in whole multiples of `tie_unit`, which is far above rounding and far below every scanner's noise, and among equal distances the point that
is first in the file wins. Arrays are float64; cast only the result of `centre` to float32.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

MIN_POINTS = 4  # fewer points span no solid
MAX_COORDINATE = 1e9  # a thousand kilometres in millimetres; its fourth power does not overflow
SPREAD = 1e-10  # relative to the largest coordinate; a smaller extent is rounding
TIE_BITS = 26  # 1.5e-8 of the median squared distance from the centroid: 1 nm between neighbours 5 mm apart on a face
LEAF = 20  # points of a leaf of a search tree: larger ones are built faster and searched as fast
TOP, POWER = (
    10,
    3,
)  # defaults of decode: one point is as coarse as the sampling, and many include noise far from the peak


class BadCloud(ValueError):
    """Bytes or arrays that are not a usable cloud or mesh; the message says what was expected and what it got."""


class UnknownSuffix(BadCloud):
    """A suffix without a reader, or a file whose first bytes belong to another format."""


class Unreadable(BadCloud):
    """A file that is cut short, contradicts itself, or uses an unsupported part of its format."""


class TooBig(BadCloud):
    """A scan with more bytes or points than the limit: as sent, as announced in a header, or after decompression."""


class NotFinite(BadCloud):
    """Coordinates that are NaN, infinite, or too large to be lengths."""


class Degenerate(BadCloud):
    """A scan with too few points, with points that are all equal, or with a mesh without area."""


@dataclass(frozen=True)
class Scan:
    """The content of a scan file: points in the file's order and unit and, for a mesh, the triangles between them."""

    points: Float[np.ndarray, "points 3"]  # float64
    triangles: Int[np.ndarray, "triangles 3"] | None
    kept: Bool[np.ndarray, " file"] | None = None  # which points of the file these are, if others were dropped


def measured(scan: Scan) -> Scan:
    """Drop the points of a cloud that are not measurements: NaN, and (0, 0, 0) if it occurs more than once, as sensors write it.

    A mesh keeps all its points, because its triangles refer to them. Raises Degenerate if too few points remain.
    """
    if scan.triangles is not None and len(scan.triangles):
        return scan
    x, y, z = scan.points.T  # an axis at a time: reductions over rows of three take ten times as long
    missing = np.isnan(x) | np.isnan(y) | np.isnan(z)
    zeros = (x == 0) & (y == 0) & (z == 0)
    if np.count_nonzero(zeros) > 1:
        missing |= zeros
    if not missing.any():
        return scan
    if len(points := scan.points[~missing]) < MIN_POINTS:
        raise Degenerate(
            f"expected a cloud of at least {MIN_POINTS} points, got {len(points)} after {np.count_nonzero(missing)} without a "
            "measurement (NaN, or repeated zeros) were dropped"
        )
    return Scan(points, scan.triangles, np.logical_not(missing))


def check_points(points: Float[np.ndarray, "points 3"]) -> None:
    """Raise NotFinite or Degenerate for points on which no landmark can be found."""
    if len(points) < MIN_POINTS:
        raise Degenerate(f"expected a cloud of at least {MIN_POINTS} points, got {len(points)}")
    if not np.isfinite(points).all():
        finite = np.isfinite(points).all(axis=1)
        first = int(np.argmin(finite))
        raise NotFinite(
            f"expected finite coordinates, got a NaN or an infinity in {np.count_nonzero(~finite)} of {len(points)} points, "
            f"the first of them point {first}; leave out points without a measurement"
        )
    reach = max(float(points.max()), -float(points.min()))
    if reach > MAX_COORDINATE:
        raise NotFinite(f"expected coordinates of at most {MAX_COORDINATE:g} in any unit, got {reach:g}")
    if max(float(np.ptp(axis)) for axis in points.T) <= max(SPREAD * reach, 1e-30):
        raise Degenerate(f"expected points that differ, got {len(points)} that are all equal")


def centre(points: Float[np.ndarray, "points 3"]) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "3"]]:
    """Return the points relative to their centroid, and the centroid, in float64: an offset of 10 m costs 1e-15 m."""
    axes = np.array(points.T, np.float64, order="C")  # an axis at a time takes a third of the time of rows of three
    weights = np.full(len(points), 1 / len(points))
    centroid = axes @ weights
    axes -= centroid[:, None]
    correction = axes @ weights  # the rounding of the long sum
    axes -= correction[:, None]
    return axes.T, centroid + correction


def tie_unit(squared_radii: Float[np.ndarray, " points"]) -> float:
    """Return the step in which squared distances of a cloud are compared, from its squared distances to the centroid.

    It is a power of four, so that dividing lengths by its root is exact, and relative to the median, so that an outlier does not change it.
    """
    middle = len(squared_radii) // 2
    scale = float(np.partition(squared_radii, middle)[middle])
    mean = float(squared_radii.mean())
    if scale < 1e-12 * mean:  # more than half of the points are one point
        scale = mean
    return 4.0 ** (np.floor(np.log2(scale) / 2) - TIE_BITS // 2)


def _squared(vectors: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Return the squared lengths of vectors."""
    return np.einsum("ij,ij->i", vectors, vectors)


class Tree:
    """A search tree of points, for their neighbours and those of other places, with ties decided in steps of their `tie_unit`."""

    def __init__(self, points: Float[np.ndarray, "points 3"]) -> None:
        self.points = points
        self.unit = tie_unit(_squared(centre(points)[0]))
        self._tree = KDTree(points, leafsize=LEAF)

    def nearest(self, queries: Float[np.ndarray, "queries 3"], k: int) -> Int[np.ndarray, "queries k"]:
        """Return the k points nearest to each query, nearest first and, among equally near points, the lower index first.

        Takes 2 to 3 ms for 1024 queries of 16 among 1024; a query with ties costs about 30 us more. Raises Degenerate for fewer than k
        points.
        """
        points, unit = self.points, self.unit
        if k > len(points):
            raise Degenerate(f"expected a cloud of at least {k} points for {k} nearest ones, got {len(points)}")
        distances, indices = map(np.asarray, self._tree.query(queries, list(range(1, min(k + 1, len(points)) + 1))))  # pyright: ignore - scipy's stub
        steps = np.rint(distances**2 / unit)
        for row in np.flatnonzero((steps[:, 1:] == steps[:, :-1]).any(axis=1)):
            reach = np.sqrt((steps[row, k - 1] + 1) * unit)
            around = np.array(self._tree.query_ball_point(queries[row], reach), dtype=indices.dtype)
            squared = np.rint(_squared(points[around] - queries[row]) / unit)
            indices[row, :k] = around[np.lexsort((around, squared))[:k]]
        return indices[:, :k]

    def neighbours(self, k: int) -> Int[np.ndarray, "points k"]:
        """Return the k nearest other points of each point, nearest first. Raises Degenerate."""
        indices = self.nearest(self.points, k + 1)
        own = indices == np.arange(len(self.points))[:, None]
        own[~own.any(axis=1), -1] = True  # k + 1 other points in the same place
        return indices[~own].reshape(len(self.points), k)


def interpolation(
    known: Float[np.ndarray, "known 3"], targets: Float[np.ndarray, "targets 3"], k: int = 3
) -> tuple[Int[np.ndarray, "targets k"], Float[np.ndarray, "targets k"]]:
    """Return the k known points to interpolate from at each target, and their weights, which add up to 1.

    Weights are inverse squared distances (Qi et al. 2017, arXiv:1706.02413, eq. 2). At a known point they give its own value. Raises
    Degenerate.
    """
    tree = Tree(known)
    index = tree.nearest(targets, k)
    squared = np.square(known[index] - targets[:, None]).sum(axis=2)
    squared = np.maximum(squared, 1e-12 * tree.unit)
    weights = squared[:, :1] / squared  # relative to the nearest, so that nothing overflows
    return index, weights / weights.sum(axis=1, keepdims=True)


def interpolate(
    values: Float[np.ndarray, "known channels"],
    index: Int[np.ndarray, "targets k"],
    weights: Float[np.ndarray, "targets k"],
) -> Float[np.ndarray, "targets channels"]:
    """Return the values at the targets of `interpolation`, in the values' dtype."""
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
    """Return the position of each heatmap's peak, in the unit of the points.

    It is the mean of the heatmap's `top` highest points within `radius` of the highest, weighted by the `power` of their height. Two sigma
    of the heatmap is a good radius. A heatmap that is nowhere positive gives its highest point.
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
