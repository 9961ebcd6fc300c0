"""Fewer points of a cloud, or new ones on a mesh, so that turning and moving the scan chooses the same ones."""

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import Degenerate, centre, tie_unit

CANDIDATES = 128  # points that one round of farthest_points looks at together
COLUMNS = 2048  # points whose distances are held at once: 2 MB, which stay in the cache
MARGIN = 0.75  # of the squared distance expected at the end; points nearer than this sleep
SURE = 1 / 16  # of the picks, from which on that is expected: on three faces 1.0 to 1.25 times what it is


def sample_surface(
    points: Float[np.ndarray, "points 3"], triangles: Int[np.ndarray, "triangles 3"], count: int, seed: int = 0
) -> Float[np.ndarray, "count 3"]:
    """`count` points on the mesh, evenly: one from each of `count` stretches of equal area, in the triangles' order.

    Which triangle and where in it depends on the areas and the seed only. Raises Degenerate if no triangle has an area.
    """
    corners = points[triangles].astype(np.float64)
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = np.linalg.norm(np.cross(along, across), axis=1)
    upto = np.cumsum(areas)
    if len(areas) == 0 or not upto[-1] > 0:
        raise Degenerate(f"a mesh wants a triangle with an area; none of its {len(areas)} has one")
    rng = np.random.default_rng(seed)
    places = (np.arange(count) + rng.random(count)) * (upto[-1] / count)
    which = np.minimum(np.searchsorted(upto, places, side="right"), np.flatnonzero(areas)[-1])
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return corners[which, 0] + u * along[which] + v * across[which]


def thinned(points: int, at_most: int, seed: int = 0) -> Int[np.ndarray, " kept"]:
    """Which of so many points to keep, in order: all, or `at_most` drawn by the seed, whatever their coordinates."""
    if points <= at_most:
        return np.arange(points)
    return np.sort(np.random.default_rng(seed).choice(points, at_most, replace=False))


def farthest_points(points: Float[np.ndarray, "points 3"], count: int) -> Int[np.ndarray, " count"]:
    """Exact farthest point sampling (Gonzalez 1985): indices in the order picked, so that any prefix is a sampling too.

    The first is the point farthest from the centroid; each next one has the largest distance to those picked. Distances
    are compared in steps of `tie_unit` and the lowest index wins, so the order survives every rotation and translation.
    Points in the same place come last, in their order. Raises Degenerate for more points than there are.

    The picks of the plain loop come out, in fewer and larger steps. Distances to the picked only shrink, so among the
    highest of them, the candidates, picks may go on until the best is no better than what was left out. Points that are
    already nearer than the last pick can be (a guess) sleep; if the guess was too high they wake and are caught up.
    1024 of 8192 take 7.4 ms of a busy core, where the plain loop in numpy takes 17.5.
    """
    if not 0 < count <= len(points):
        raise Degenerate(
            f"{count} farthest points want a cloud of at least as many, and at least 1; came {len(points)}"
        )
    columns = _columns(points)
    rows = np.stack([*(-2 * columns[:3]), columns[4], columns[3]], axis=1)  # rows @ columns = |a|^2 + |b|^2 - 2 a.b
    held = np.empty(CANDIDATES * COLUMNS)
    picked = np.empty(count, dtype=np.int64)
    picked[0] = np.rint(columns[3]).argmax()
    done = 1
    reach = np.full(len(points), np.inf)  # squared distance to the picked, in tie units; -1 for the picked themselves
    _lower(reach, columns, rows[picked[:1]], held)
    reach[picked[0]] = -1
    while done < count:
        top = reach.max()
        if top <= 0:  # what is left coincides with what was picked
            picked[done:] = np.flatnonzero(reach == 0)[: count - done]
            break
        floor, first, share = 0.0, done, 0.9
        awake = np.flatnonzero(reach > floor)
        theirs, their_columns = reach[awake], columns.take(awake, axis=1)
        while done < count and len(awake):
            candidates, rest = _candidates(theirs, max(floor, share * theirs.max()))
            share = 1 - (1 - share) * min(max(CANDIDATES / len(candidates), 0.5), 2)  # exact with any, fast with this
            between = rows[awake[candidates]] @ their_columns.take(candidates, axis=1)
            chosen = candidates[_picks(theirs[candidates], between, rest, count - done)]
            picked[done : done + len(chosen)] = awake[chosen]
            done += len(chosen)
            _lower(theirs, their_columns, rows[awake[chosen]], held)
            theirs[chosen] = -1
            if done >= SURE * count:  # on a surface the squared distance goes as 1 / picks
                floor = max(floor, MARGIN * theirs.max() * done / count)
            kept = np.flatnonzero(theirs > floor)
            if len(kept) < 0.8 * len(awake):
                reach[awake] = theirs
                awake, theirs, their_columns = awake[kept], theirs[kept], their_columns.take(kept, axis=1)
        reach[awake] = theirs
        if done < count:
            sleepers = np.flatnonzero((reach >= 0) & (reach <= floor))
            theirs = reach[sleepers]
            _lower(theirs, columns.take(sleepers, axis=1), rows[picked[first:done]], held)
            reach[sleepers] = theirs
    return picked


def _columns(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "5 points"]:
    """x, y, z, squared radius and 1 of each point about the centroid, in roots of the tie unit."""
    columns = np.ones((5, len(points)))
    columns[:3] = centre(points)[0].T
    columns[3] = np.einsum("ij,ij->j", columns[:3], columns[:3])
    unit = tie_unit(columns[3])
    columns[:3] /= np.sqrt(unit)
    columns[3] /= unit
    return columns


def _lower(
    reach: Float[np.ndarray, " points"],
    columns: Float[np.ndarray, "5 points"],
    rows: Float[np.ndarray, "picks 5"],
    held: Float[np.ndarray, " room"],
) -> None:
    """Puts into `reach` the squared distance to the nearest pick where that is less; `held` is room to work in."""
    for begin in range(0, len(rows), CANDIDATES):
        some = rows[begin : begin + CANDIDATES]
        for start in range(0, len(reach), COLUMNS):
            part = reach[start : start + COLUMNS]
            squared = held[: len(some) * len(part)].reshape(len(some), len(part))
            np.matmul(some, columns[:, start : start + COLUMNS], out=squared)
            least = np.rint(squared.min(axis=0))
            np.minimum(part, np.maximum(least, 0, out=least), out=part)


def _candidates(reach: Float[np.ndarray, " points"], rest: float) -> tuple[Int[np.ndarray, " candidates"], float]:
    """Some points, in order, and a reach that none of the others exceeds, nor has if it comes before one of them.

    They are those beyond `rest` or, if these are too many, fewer.
    """
    candidates = np.flatnonzero(reach > rest)
    if len(candidates) <= 2 * CANDIDATES:
        return candidates, rest
    rest = float(np.partition(reach, -CANDIDATES - 1)[-CANDIDATES - 1])
    candidates = np.flatnonzero(reach > rest)
    if len(candidates):
        return candidates, rest
    return np.flatnonzero(reach == rest)[:CANDIDATES], rest - 1  # more ties for the farthest than that: the first


def _picks(
    reach: Float[np.ndarray, " candidates"], between: Float[np.ndarray, "candidates candidates"], rest: float, most: int
) -> list[int]:
    """Which candidates are picked next, in order, until the farthest reaches no farther than `rest`."""
    between = np.maximum(np.rint(between, out=between), 0, out=between)
    chosen = []
    for _ in range(min(most, len(reach))):
        best = int(reach.argmax())
        if reach[best] <= rest:
            break
        chosen.append(best)
        np.minimum(reach, between[best], out=reach)
        reach[best] = -1
    return chosen
