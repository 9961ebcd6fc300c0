"""Polygon files, .ply: text, little and big endian.

The counts of the header are claims; each is checked against the bytes that are there before anything is allocated. Elements may come in any
order, and any of their properties may be a list. Written here because trimesh 5.2 reads no binary .ply with triangles and quads mixed, and
reorders the vertices of one with texture coordinates.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.ply_rows import Column, Element, Property, binary_rows, text_rows
from models.scans.polygons import triangles_of
from models.scans.text import lines_of

MAX_HEADER, MAX_PROPERTIES = 65536, 256
MAX_TEXT_LINES = 8  # for each point
CORNERS = ("vertex_indices", "vertex_index")
_TYPES = {
    name: dtype
    for names, dtype in (
        ("char int8", "i1"),
        ("uchar uint8", "u1"),
        ("short int16", "i2"),
        ("ushort uint16", "u2"),
        ("int int32", "i4"),
        ("uint uint32", "u4"),
        ("float float32", "f4"),
        ("double float64", "f8"),
    )
    for name in names.split()
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Polygons:
    """The corners of faces, one after the other, and the number of corners of each."""

    corners: list[np.ndarray] = field(default_factory=list)
    counts: list[Int[np.ndarray, " faces"]] = field(default_factory=list)

    def triangles(self, points: int, max_points: int) -> Int[np.ndarray, "triangles 3"]:
        """Return the polygons as triangles. Raises TooBig or Unreadable."""
        corners, counts = np.concatenate(self.corners), np.concatenate(self.counts)
        return triangles_of(corners, np.cumsum(counts) - counts, counts, points, max_points)


def read_ply(data: bytes, max_points: int) -> Scan:
    """Read the vertices, faces and triangle strips of a .ply; other elements and properties are ignored."""
    data = data.removeprefix(codecs.BOM_UTF8)
    end = re.search(rb"(?m)^end_header[ \t]*\r?\n", data[:MAX_HEADER])
    if not re.match(rb"ply[ \t]*\r?\n", data) or end is None:
        raise Unreadable(
            f"expected a .ply that begins with 'ply' and has a header up to 'end_header', got one that begins with {data[:16]!r}"
        )
    elements, order = _header(data[: end.start()])
    _check_announced(elements, max_points)
    if order:
        rows = binary_rows(memoryview(data)[end.end() :], elements)
    else:
        rows = text_rows(lines_of(data[end.end() :], MAX_TEXT_LINES * max_points, "a text .ply"), elements)
    return _scan(rows, max_points)


def _scan(rows: Iterable[tuple[Element, dict[str, Column]]], max_points: int) -> Scan:
    """Build the scan from the rows of every element."""
    points, polygons = None, _Polygons()
    for element, columns in rows:
        if element.name == "vertex":
            points = np.stack([columns[name].numbers.astype(np.float64) for name in "xyz"], axis=1)
        elif element.name == "face":
            corners = columns[_corner_list(element)]
            polygons.corners.append(corners.numbers)
            polygons.counts.append(corners.counts)
        elif element.name == "tristrips":
            for corners, counts in map(_strip, _split(columns[_corner_list(element)])):
                polygons.corners.append(corners)
                polygons.counts.append(counts)
    assert points is not None, "the header was checked for vertices"
    return Scan(points, polygons.triangles(len(points), max_points) if polygons.counts else None)


def _split(strips: Column) -> list[np.ndarray]:
    """Return the strips of every row; a corner of -1 begins a new strip."""
    corners, ends = strips.numbers.astype(np.int64), np.cumsum(strips.counts)
    cuts = np.union1d(ends[:-1], np.flatnonzero(corners < 0))
    parts = (part[part >= 0] for part in np.split(corners, cuts))
    return [part for part in parts if len(part) >= 3]


def _strip(corners: Int[np.ndarray, " corners"]) -> tuple[Int[np.ndarray, " numbers"], Int[np.ndarray, " triangles"]]:
    """Return the triangles of a strip, every other one turned round, as flat corners and the count 3 for each."""
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]
    return triangles.reshape(-1), np.full(len(triangles), 3)


def _corner_list(element: Element) -> str:
    """Return the name of the list that holds the corners: a usual name, or the first list."""
    return next((name for name in CORNERS if name in element.lists), element.lists[0])


def _check_announced(elements: list[Element], max_points: int) -> None:
    """Raise Unreadable for a header without vertices, and TooBig for more rows than `max_points` allows."""
    names = [element.name for element in elements]
    if names.count("vertex") != 1:
        raise Unreadable(f"expected one element vertex in a .ply, got {', '.join(names)[:80] or 'none'}")
    for element in elements:
        scalars = {each.name for each in element.properties if each.length is None}
        most = max_points if element.name == "vertex" else 2 * max_points
        if (element.name == "vertex" or element.lists) and element.rows > most:
            what = "points" if element.name == "vertex" else f"rows of {element.name}"
            raise TooBig(f"expected at most {most} {what}, got a .ply that announces {element.rows}")
        if element.name == "vertex" and not {"x", "y", "z"} <= scalars:
            raise Unreadable(
                f"expected single numbers x, y and z in a .ply vertex, got {', '.join(scalars)[:80] or 'none'}"
            )
        if element.name in ("face", "tristrips") and not element.lists:
            raise Unreadable(f"expected a list of corners in a .ply {element.name}, got none")


def _header(header: bytes) -> tuple[list[Element], str]:
    """Return the elements, and the byte order of the body: "" for text."""
    elements: list[Element] = []
    order = None
    for line in header.decode("latin-1").split("\n")[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", form, _] if form in _ORDERS:
                order = _ORDERS[form]
            case ["element", name, rows] if re.fullmatch(r"[0-9]{1,18}", rows):
                elements.append(Element(name, int(rows), ()))
            case ["property", "list", length, dtype, name] if elements and order is not None:
                elements[-1] = _with(elements[-1], Property(name, _dtype(dtype, order), _dtype(length, order)))
            case ["property", dtype, name] if elements and order is not None:
                elements[-1] = _with(elements[-1], Property(name, _dtype(dtype, order), None))
            case _:
                raise Unreadable(f"expected lines of format, element and property in a .ply header, got {line[:80]!r}")
    if order is None:
        raise Unreadable(f"expected a format, one of {', '.join(_ORDERS)}, in the .ply header, got none")
    return elements, order


def _dtype(name: str, order: str) -> np.dtype:
    """Return the type of a property; text is parsed to doubles."""
    if name not in _TYPES:
        raise Unreadable(f"expected a .ply property of {', '.join(_TYPES)}, got {name[:80]!r}")
    return np.dtype(order + _TYPES[name] if order else "f8")


def _with(element: Element, new: Property) -> Element:
    """Return the element with another property."""
    if len(element.properties) >= MAX_PROPERTIES or any(new.name == other.name for other in element.properties):
        raise Unreadable(
            f"expected at most {MAX_PROPERTIES} properties of different names in a .ply element, got {new.name[:80]!r} beyond them"
        )
    return Element(element.name, element.rows, (*element.properties, new))


FORMAT = Format((".ply",), read_ply, (b"ply\n", b"ply\r"), ("model/ply", "model/vnd.ply", "application/ply"))
