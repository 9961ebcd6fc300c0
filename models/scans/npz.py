"""Clouds and meshes as archives of NumPy arrays, .npz."""

import numpy as np

from models.contract.npy import MAX_HEADER, ArrayTooLarge, BadArray, Npz
from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format, inflated_limit
from models.scans.npy import coordinates
from models.scans.polygons import triangles_of

POINT_BYTES = 64  # a point with normal and colour in float64
CLOUD_KEYS, VERTEX_KEYS = ("points", "positions", "xyz", "cloud", "pts"), ("vertices", "verts", "v")
TRIANGLE_KEYS = ("triangles", "faces", "tris", "f")


def read_npz(data: bytes, max_points: int) -> Scan:
    """Read points under one of CLOUD_KEYS or VERTEX_KEYS, or the only array, and triangles, if any, under one of TRIANGLE_KEYS.

    The triangles of an archive with vertices and further points are between the vertices. Other arrays are not inflated.
    """
    try:
        return _read(Npz(data), max_points)
    except ArrayTooLarge as error:
        raise TooBig(str(error)) from None
    except BadArray as error:
        raise Unreadable(str(error)) from None


def _read(archive: Npz, max_points: int) -> Scan:
    """Read the arrays of an open archive."""
    names = archive.names
    faces = next((key for key in TRIANGLE_KEYS if key in names), None) if len(names) > 1 else None
    keys = (*VERTEX_KEYS, *CLOUD_KEYS) if faces else (*CLOUD_KEYS, *VERTEX_KEYS)
    key = next((key for key in keys if key in names), names[0] if len(names) == 1 else None)
    if key is None:
        raise Unreadable(
            f"expected an array called {' or '.join(keys)}, or only one, in the .npz, got {', '.join(names)[:200] or 'none'}"
        )
    points = coordinates(_array(archive, key, max_points), f"the array {key[:40]!r}", max_points)
    if faces is None:
        return Scan(points, None)
    corners = _array(archive, faces, max_points)
    if corners.ndim != 2 or corners.shape[1] not in (3, 4) or corners.dtype.kind not in "iuf":
        raise Unreadable(
            f"expected whole numbers of shape (faces, 3 or 4) in {faces!r}, got {corners.dtype} of shape {corners.shape}"
        )
    rows, size = corners.shape
    triangles = triangles_of(corners.reshape(-1), np.arange(rows) * size, np.full(rows, size), len(points), max_points)
    return Scan(points, triangles)


def _array(archive: Npz, name: str, max_points: int) -> np.ndarray:
    """Return an array of a size that fits `max_points` and the bytes it is inflated from."""
    most = inflated_limit(archive.compressed_bytes(name))
    return archive.read(name, min(MAX_HEADER + POINT_BYTES * max_points, most))


FORMAT = Format((".npz",), read_npz, (b"PK\x03\x04",), ("application/x-npz",))
