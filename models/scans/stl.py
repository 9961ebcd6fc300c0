"""Stereolithography meshes, .stl, binary and text. Every triangle has three points of its own, in order."""

import re

import numpy as np

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import lines_of, plain_text

HEADER, FACET = 84, 50  # bytes of a binary file
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes, max_points: int) -> Scan:
    """Read an .stl, which is binary if its length is what its count announces, whatever it begins with.

    Otherwise it is text if it begins with solid and has lines of facets. Else it is binary after all: bytes after the announced triangles
    are ignored, and a count of 0 is taken from the length.
    """
    announced = int.from_bytes(data[80:HEADER], "little") if len(data) >= HEADER else 0
    if len(data) == HEADER + FACET * announced:
        return _read_binary(data, announced, max_points)
    if re.match(rb"\s*solid\b", plain_text(data), re.IGNORECASE):
        text = plain_text(data).replace(b"\r", b"\n")
        if re.search(rb"(?mi)^[ \t]*(facet|endsolid)\b", text):
            return _read_text(text, max_points)
    if announced > 0 and HEADER + FACET * announced < len(data):
        return _read_binary(data, announced, max_points)
    if announced == 0 and len(data) > HEADER and (len(data) - HEADER) % FACET == 0:
        return _read_binary(data, (len(data) - HEADER) // FACET, max_points)
    raise Unreadable(
        f"expected {HEADER + FACET * announced} bytes of a binary .stl that announces {announced} triangles, got {len(data)}; "
        "it is cut short, or not an .stl"
    )


def _read_binary(data: bytes, count: int, max_points: int) -> Scan:
    """Read so many triangles of the binary form."""
    if 3 * count > max_points:
        raise TooBig(f"expected at most {max_points} points, got {count} triangles")
    facets = np.frombuffer(data, _FACET, count, HEADER)
    return Scan(facets["corners"].reshape(-1, 3).astype(np.float64), np.arange(3 * count).reshape(-1, 3))


def _read_text(text: bytes, max_points: int) -> Scan:
    """Read the text form; the name of the solid may be anything."""
    if not re.search(rb"(?mi)^[ \t]*endsolid\b", text):
        raise Unreadable("expected endsolid at the end of a text .stl, got none; it is cut short")
    if text.count(b"\n") > 16 * max_points:
        raise TooBig(f"expected at most {max_points} points, got more lines in the .stl")
    rows = b"\n".join(re.findall(rb"(?mi)^[ \t]*vertex[ \t]+([^\n]*)", text))
    points = lines_of(rows, max_points, "the vertex lines of an .stl").table("vertex")
    facets = len(re.findall(rb"(?mi)^[ \t]*facet\b", text))
    if len(points) != 3 * facets or (facets and points.shape[1] != 3):
        raise Unreadable(
            f"expected 3 vertices of 3 numbers in every .stl facet, got {facets} facets and vertices of shape {points.shape}"
        )
    return Scan(points.reshape(-1, 3), np.arange(len(points)).reshape(-1, 3))


FORMAT = Format((".stl",), read_stl, media_types=("model/stl",), mesh=True)
