"""Wavefront .obj meshes and clouds. Vertices stay in the file's order, which trimesh's reader does not promise."""

import re

import numpy as np
from jaxtyping import Int

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.polygons import require_triangles, triangles_of
from models.scans.text import Lines, lines_of, pieces, plain_text

LINES = 8  # for each point: v, vt, vn, two f, and some to spare


def read_obj(data: bytes, max_points: int) -> Scan:
    """Read the `v` lines in order and the `f` lines of an .obj, a cloud if it has none; other elements are ignored."""
    data = plain_text(data).replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    if (lines := data.count(b"\n")) > LINES * max_points:
        raise TooBig(f"expected an .obj of at most {LINES * max_points} lines, got {lines}")
    vertices = lines_of(_after(data, b"v"), max_points, "the v lines of an .obj")
    if len(vertices.widths) == 0 or vertices.widths.min() < 3:
        shortest = vertices.widths.min() if len(vertices.widths) else 0
        raise Unreadable(
            f"expected lines 'v x y z' in an .obj, got {len(vertices.widths)} of {shortest} numbers or more"
        )
    points = vertices.numbers[vertices.starts()[:, None] + np.arange(3)]  # a weight or a colour may follow
    faces = b"".join(re.sub(rb"/\S*", b"", part) for part in pieces(_after(data, b"f")))
    if not faces.strip():
        return Scan(points, None)
    corners = lines_of(faces, 2 * max_points, "the f lines of an .obj")
    numbers = corners.numbers - 1
    if (relative := corners.numbers < 0).any():  # -1 is the last vertex so far
        numbers = np.where(
            relative, corners.numbers + np.repeat(_vertices_before(data, corners), corners.widths), numbers
        )
    triangles = triangles_of(numbers, corners.starts(), corners.widths, len(points), max_points)
    scan = Scan(points, triangles)
    require_triangles(scan, "an .obj")
    return scan


def _vertices_before(data: bytes, faces: Lines) -> Int[np.ndarray, " faces"]:
    """Return how many vertices are before each face. Raises Unreadable."""
    line = re.compile(rb"(?m)^[ \t]*([vf])[ \t]+[^\s#]")
    kinds = np.frombuffer(b"".join(b"".join(line.findall(part)) for part in pieces(data)), np.uint8)
    before = np.cumsum(kinds == ord("v"))[kinds == ord("f")]
    if len(before) != len(faces.widths):
        raise Unreadable(
            f"expected corners on every f line of an .obj, got them on {len(faces.widths)} of {len(before)}"
        )
    return before


def _after(data: bytes, key: bytes) -> bytes:
    """Return what follows `key` on the lines that begin with it, up to a comment."""
    line = re.compile(rb"(?m)^[ \t]*" + key + rb"[ \t]([^#\r\n]*)")
    return b"\n".join(b"\n".join(line.findall(part)) for part in pieces(data) if line.search(part))


FORMAT = Format((".obj",), read_obj, media_types=("model/obj",))
