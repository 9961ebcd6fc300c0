"""Sampling of points from clouds and meshes; rotating or translating the scan selects the same points."""

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import Degenerate, centre, tie_unit

CANDIDATES = 128  # points that one round of farthest_points considers together
WORKSPACE = 2**16  # distances that are computed at once: 512 kB, which stay in the cache
MARGIN = 0.75  # of the squared distance expected at the end; closer points are set aside
PICKED = -np.inf  # rounding can give points in the same place a squared distance below 0
# the first picks, as a share of all: after them the expectation, which falls as 1 / picks, is 1.0 to 1.25 times the truth on three faces
FIRST = 1 / 16


def sample_surface(
    points: Float[np.ndarray, "points 3"], triangles: Int[np.ndarray, "triangles 3"], count: int, seed: int = 0
) -> Float[np.ndarray, "count 3"]:
    """Sample `count` points evenly on a mesh: one from each of `count` stretches of equal area, in the triangles' order.

    The triangle and the place in it depend on the areas and the seed only. Raises Degenerate if no triangle has an area.
    """
    return sample_with_normals(points, triangles, count, seed)[0]


def sample_with_normals(
    points: Float[np.ndarray, "points 3"], triangles: Int[np.ndarray, "triangles 3"], count: int, seed: int = 0
) -> tuple[Float[np.ndarray, "count 3"], Float[np.ndarray, "count 3"]]:
    """Sample points as `sample_surface` does, with the unit normals of their triangles, whose corners run counterclockwise around them."""
    corners = points[triangles].astype(np.float64)
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = np.cross(along, across)
    areas = np.linalg.norm(normals, axis=1)
    upto = np.cumsum(areas)
    if len(areas) == 0 or not upto[-1] > 0:
        raise Degenerate(f"expected a mesh with an area, got {len(areas)} triangles without one")
    rng = np.random.default_rng(seed)
    places = (np.arange(count) + rng.random(count)) * (upto[-1] / count)
    which = np.minimum(np.searchsorted(upto, places, side="right"), np.flatnonzero(areas)[-1])
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return corners[which, 0] + u * along[which] + v * across[which], normals[which] / areas[which, None]


def thinned(points: int, at_most: int, seed: int = 0) -> Int[np.ndarray, " kept"]:
    """Return which of `points` points to keep, in order: all, or `at_most` of them drawn by the seed, whatever their coordinates."""
    if points <= at_most:
        return np.arange(points)
    return np.sort(np.random.default_rng(seed).choice(points, at_most, replace=False))


def farthest_points(points: Float[np.ndarray, "points 3"], count: int) -> Int[np.ndarray, " count"]:
    """Sample farthest points exactly (Gonzalez 1985); return indices in the order of selection, any prefix of which is a sample too.

    The first is the point farthest from the centroid; each next one has the largest distance to those picked before. Distances are compared
    in steps of `tie_unit`, and the lowest index wins, so that the order is the same after any rotation and translation. Points in the same
    place come last, in their order. Raises Degenerate for more points than there are.

    The result is that of the plain loop, in fewer and larger steps. Distances to the picked points only decrease. Among the candidates, the
    points with the largest distances, picks may therefore continue until the best is no better than the best of the others. Points closer
    than the estimated distance of the last pick are set aside; if the estimate was too high they are brought up to date and return.
    """
    if not 0 < count <= len(points):
        raise Degenerate(
            f"expected to sample 1 to {len(points)} farthest points, as many as the cloud has, got {count}"
        )
    columns, rows = _columns(points)
    workspace = np.empty(WORKSPACE)
    picked = np.empty(count, dtype=np.int64)
    reach = np.full(len(points), np.inf)  # squared distance to the picked, in tie units; of these themselves, PICKED
    first = _one_by_one(reach, columns, rows, max(int(FIRST * count), 1))
    selected = len(first)
    picked[:selected] = first
    while selected < count:
        top = reach.max()
        if top <= 0:  # the remaining points coincide with picked ones
            picked[selected:] = np.flatnonzero(reach > PICKED)[: count - selected]
            break
        floor, first, share = MARGIN * top * selected / count, selected, 0.9
        awake = np.flatnonzero(reach > floor)
        active, active_columns = reach[awake], columns.take(awake, axis=1)
        while selected < count and len(awake):
            candidates, rest = _candidates(active, max(floor, share * active.max()))
            share = 1 - (1 - share) * min(
                max(CANDIDATES / len(candidates), 0.5), 2
            )  # any share gives the exact result; this one is fast
            between = rows[awake[candidates]] @ active_columns.take(candidates, axis=1)
            chosen = candidates[_picks(active[candidates], between, rest, count - selected)]
            picked[selected : selected + len(chosen)] = awake[chosen]
            selected += len(chosen)
            _lower(active, active_columns, rows[awake[chosen]], workspace)
            active[chosen] = PICKED
            floor = max(floor, MARGIN * active.max() * selected / count)  # on a surface it falls as 1 / picks
            kept = np.flatnonzero(active > floor)
            if len(kept) < 0.8 * len(awake):
                reach[awake] = active
                awake, active = awake[kept], active[kept]
                active_columns = active_columns.take(kept, axis=1)
        reach[awake] = active
        if selected < count:
            aside = np.flatnonzero((reach > PICKED) & (reach <= floor))
            active = reach[aside]
            _lower(active, columns.take(aside, axis=1), rows[picked[first:selected]], workspace)
            reach[aside] = active
    return picked


def _columns(
    points: Float[np.ndarray, "points 3"],
) -> tuple[Float[np.ndarray, "5 points"], Float[np.ndarray, "points 5"]]:
    """Return matrices whose product rows @ columns is |a|^2 - 2 a.b + |b|^2, the squared distances of all points, in tie units."""
    columns = np.ones((5, len(points)))
    columns[:3] = centre(points)[0].T
    squares = np.einsum("ij,ij->j", columns[:3], columns[:3])
    unit = tie_unit(squares)
    columns[:3] /= np.sqrt(unit)
    columns[4] = squares / unit
    return columns, np.stack([*(-2 * columns[:3]), columns[4], columns[3]], axis=1)


def _one_by_one(
    reach: Float[np.ndarray, " points"],
    columns: Float[np.ndarray, "5 points"],
    rows: Float[np.ndarray, "points 5"],
    count: int,
) -> list[int]:
    """Return the first picks, fewer if all other points coincide with them, and lower `reach` in place.

    At first this is faster than rounds, in which few points are picked.
    """
    picked = [int(np.rint(columns[4]).argmax())]
    squares = np.empty(len(reach))
    while True:
        np.rint(np.matmul(rows[picked[-1]], columns, out=squares), out=squares)
        np.minimum(reach, squares, out=reach)
        reach[picked[-1]] = PICKED
        best = int(reach.argmax())
        if len(picked) == count or reach[best] <= 0:
            return picked
        picked.append(best)


def _lower(
    reach: Float[np.ndarray, " points"],
    columns: Float[np.ndarray, "5 points"],
    rows: Float[np.ndarray, "picks 5"],
    workspace: Float[np.ndarray, " numbers"],
) -> None:
    """Lower `reach` in place to the squared distance to the nearest pick, if that is less; `workspace` is overwritten."""
    least = np.empty(len(reach))
    for begin in range(0, len(rows), CANDIDATES):
        some = rows[begin : begin + CANDIDATES, :4]
        width = len(workspace) // len(some)
        for start in range(0, len(reach), width):
            part = least[start : start + width]
            products = workspace[: len(some) * len(part)].reshape(len(some), len(part))
            np.matmul(some, columns[:4, start : start + width], out=products)
            products.min(axis=0, out=part)
        np.minimum(reach, np.rint(np.add(least, columns[4], out=least), out=least), out=reach)


def _candidates(reach: Float[np.ndarray, " points"], rest: float) -> tuple[Int[np.ndarray, " candidates"], float]:
    """Return some points, in order, and a reach that no other point exceeds, nor equals if it is before one of them.

    They are the points beyond `rest` or, if these are too many, fewer of them.
    """
    candidates = np.flatnonzero(reach > rest)
    if len(candidates) <= 2 * CANDIDATES:
        return candidates, rest
    rest = float(np.partition(reach, -CANDIDATES - 1)[-CANDIDATES - 1])
    candidates = np.flatnonzero(reach > rest)
    if len(candidates):
        return candidates, rest
    return np.flatnonzero(reach == rest)[:CANDIDATES], rest - 1  # more ties for the farthest: the first of them


def _picks(
    reach: Float[np.ndarray, " candidates"], between: Float[np.ndarray, "candidates candidates"], rest: float, most: int
) -> list[int]:
    """Return which candidates are picked next, in order, until the farthest reaches no farther than `rest`."""
    np.rint(between, out=between)
    chosen = []
    for _ in range(min(most, len(reach))):
        best = int(reach.argmax())
        if reach[best] <= rest:
            break
        chosen.append(best)
        np.minimum(reach, between[best], out=reach)
        reach[best] = PICKED
    return chosen
