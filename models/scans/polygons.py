"""Polygons of meshes to triangles."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from models.scans.cloud import Degenerate, Scan, TooBig, Unreadable


def triangles_of(
    corners: np.ndarray,
    starts: Int[np.ndarray, " faces"],
    counts: Int[np.ndarray, " faces"],
    points: int,
    max_points: int,
) -> Int[np.ndarray, "triangles 3"]:
    """Cut faces into fans of triangles; the `counts` corners of a face begin at its `starts` in the flat array `corners`.

    Triangles are in the order of the size of their faces. Faces of one or two corners are dropped. Raises TooBig for more than twice as
    many triangles as `max_points`, and Unreadable for a corner that is not the index of one of the `points`.
    """
    total = int(np.maximum(counts - 2, 0).sum())
    if total > 2 * max_points:
        raise TooBig(f"expected at most {2 * max_points} triangles, got {total}")
    fans = [np.empty((0, 3), np.int64)]
    fans += [_fan(corners[rows[:, None] + np.arange(count)], points) for count, rows in _by_count(starts, counts)]
    return np.concatenate(fans)


def check_corners(corners: np.ndarray, points: int) -> None:
    """Raise Unreadable for a corner that is not the index of one of the `points`."""
    wrong = ~((corners >= 0) & (corners < points)) | (corners != np.floor(corners))
    if wrong.any():
        raise Unreadable(
            f"expected corners of faces from 0 to {points - 1}, the indices of the points, got {corners[wrong].flat[0]:g}; "
            "export the mesh again"
        )


def require_triangles(scan: Scan, what: str) -> None:
    """Raise Degenerate if the scan, in a format for meshes, has no triangle."""
    if scan.triangles is None or len(scan.triangles) == 0:
        raise Degenerate(f"expected {what} with faces, got none; save a point cloud as .ply, .xyz, .pcd, .npy or .npz")


def _by_count(
    starts: Int[np.ndarray, " faces"], counts: Int[np.ndarray, " faces"]
) -> Iterator[tuple[int, Int[np.ndarray, " rows"]]]:
    """Yield each size of a face from 3 on, with the starts of the faces of that size."""
    starts, counts = starts[counts >= 3], counts[counts >= 3]
    if len(counts) == 0:
        return
    order = np.argsort(counts, kind="stable")
    sizes, begins = np.unique(counts[order], return_index=True)
    for size, rows in zip(sizes, np.split(starts[order], begins[1:]), strict=True):
        yield int(size), rows


def _fan(corners: np.ndarray, points: int) -> np.ndarray:
    """Cut (faces, size) polygons into (triangles, 3)."""
    check_corners(corners, points)
    corners = corners.astype(np.int64)
    first = np.broadcast_to(corners[:, :1], (len(corners), corners.shape[1] - 2))
    return np.stack([first, corners[:, 1:-1], corners[:, 2:]], axis=2).reshape(-1, 3)
