"""Stereolithography meshes, .stl, binary and text. Every triangle has three points of its own, in order."""

import re

import numpy as np

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import lines_of

HEADER, FACET = 84, 50  # bytes of a binary file
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes, max_points: int) -> Scan:
    """Read an .stl: binary if its length is what its count announces, whatever it begins with; otherwise text."""
    announced = int.from_bytes(data[80:HEADER], "little") if len(data) >= HEADER else 0
    if len(data) == HEADER + FACET * announced:
        if 3 * announced > max_points:
            raise TooBig(f"expected at most {max_points} points, got {announced} triangles")
        facets = np.frombuffer(data, _FACET, announced, HEADER)
        return Scan(facets["corners"].reshape(-1, 3).astype(np.float64), np.arange(3 * announced).reshape(-1, 3))
    if re.match(rb"\s*solid\b", data, re.IGNORECASE):
        return _read_text(data, max_points)
    raise Unreadable(
        f"expected {HEADER + FACET * announced} bytes of a binary .stl that announces {announced} triangles, got {len(data)}"
    )


def _read_text(data: bytes, max_points: int) -> Scan:
    """Read the text form."""
    if not re.search(rb"(?i)\bendsolid\b", data):
        raise Unreadable(
            "expected endsolid at the end of a text .stl, got none: it is cut short, or binary with a wrong length"
        )
    if data.count(b"\n") > 4 * max_points:
        raise TooBig(f"expected at most {max_points} points, got more lines in the .stl")
    rows = b"\n".join(line.group(1) for line in re.finditer(rb"(?i)\bvertex[ \t]+([^\r\n]*)", data))
    points = lines_of(rows, max_points, "the vertex lines of an .stl").table("vertex")
    facets = len(re.findall(rb"(?i)\bfacet[ \t]", data))
    if len(points) != 3 * facets or (facets and points.shape[1] != 3):
        raise Unreadable(
            f"expected 3 vertices of 3 numbers in every .stl facet, got {facets} facets and vertices of shape {points.shape}"
        )
    return Scan(points.reshape(-1, 3), np.arange(len(points)).reshape(-1, 3))


FORMAT = Format((".stl",), read_stl, media_types=("model/stl",), mesh=True)
