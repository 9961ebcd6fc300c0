"""Wavefront .obj meshes. Vertices stay in the file's order, which trimesh's reader does not promise."""

import re

import numpy as np

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.polygons import require_triangles, triangles_of
from models.scans.text import lines_of, pieces, plain_text

LINES = 8  # for each point: v, vt, vn, two f, and some to spare


def read_obj(data: bytes, max_points: int) -> Scan:
    """Read the `v` lines in order and the `f` lines of an .obj, a cloud if it has none; other elements are ignored."""
    data = plain_text(data).replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    if (lines := data.count(b"\n")) > LINES * max_points:
        raise TooBig(f"expected an .obj of at most {LINES * max_points} lines, got {lines}")
    points = lines_of(_after(data, b"v"), max_points, "the v lines of an .obj").table("v line")
    if len(points) == 0 or points.shape[1] < 3:
        raise Unreadable(f"expected lines 'v x y z' in an .obj, got {len(points)} of {points.shape[1]} numbers")
    faces = b"".join(re.sub(rb"/\S*", b"", part) for part in pieces(_after(data, b"f")))
    if not faces.strip():
        return Scan(np.ascontiguousarray(points[:, :3]), None)
    corners = lines_of(faces, 2 * max_points, "the f lines of an .obj")
    numbers = np.where(corners.numbers < 0, corners.numbers + len(points), corners.numbers - 1)  # -1 is the last vertex
    triangles = triangles_of(numbers, corners.starts(), corners.widths, len(points), max_points)
    scan = Scan(np.ascontiguousarray(points[:, :3]), triangles)
    require_triangles(scan, "an .obj")
    return scan


def _after(data: bytes, key: bytes) -> bytes:
    """Return what follows `key` on the lines that begin with it, up to a comment."""
    line = re.compile(rb"(?m)^[ \t]*" + key + rb"[ \t]([^#\r\n]*)")
    return b"\n".join(b"\n".join(line.findall(part)) for part in pieces(data) if line.search(part))


FORMAT = Format((".obj",), read_obj, media_types=("model/obj",))
