"""Polygon files, .ply: text, little and big endian.

The header's counts are claims, and each is held against the bytes that are there before anything is allocated. Written
here since trimesh 5.2 reads no binary .ply with triangles and quads mixed, and re-orders the vertices of one with texture
coordinates.
"""

import re
import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.text import lines_of, triangles_of

MAX_HEADER, MAX_PROPERTIES = 65536, 256
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
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    name: str
    dtype: np.dtype
    length: np.dtype | None  # of a list: what its length is written as


@dataclass(frozen=True)
class Element:
    name: str
    rows: int
    properties: tuple[Property, ...]

    @property
    def lists(self) -> list[Property]:
        return [property_ for property_ in self.properties if property_.length is not None]


def read_ply(data: bytes, max_points: int) -> Scan:
    """A .ply as mesh or, if it has no face, as cloud; elements and properties other than these are passed over."""
    end = re.search(rb"(?m)^end_header[ \t]*\r?\n", data[:MAX_HEADER])
    if not re.match(rb"ply[ \t]*\r?\n", data) or end is None:
        raise Unreadable(
            f"a .ply begins with 'ply' and a header up to 'end_header'; this one begins with {data[:16]!r}"
        )
    elements, text = _header(data[: end.start()])
    body = data[end.end() :]
    if text:  # its numbers as doubles make a body like a binary one
        body = lines_of(body, 8 * max_points, "a text .ply").numbers.tobytes()
    at, points, triangles = 0, None, None
    for element in elements:
        if (element.lists or element.name == "vertex") and element.rows > 2 * max_points:
            raise TooBig(f"at most {max_points} points are taken; the .ply announces {element.rows} of {element.name}")
        if element.name == "vertex":
            records, at = _records(body, at, element, {})
            if element.lists or not {"x", "y", "z"} <= set(records.dtype.names or ()):
                raise Unreadable(f"a .ply vertex wants single numbers x, y and z; it has {records.dtype.names}")
            points = np.stack([records[name].astype(np.float64) for name in "xyz"], axis=1)
            if len(points) > max_points:
                raise TooBig(f"at most {max_points} points are taken; {len(points)} came")
        elif element.lists:
            corners, counts, at = _lists(body, at, element)
            if element.name == "face" and element.rows:
                if points is None:
                    raise Unreadable("a .ply has its vertices before its faces; this one has not")
                triangles = triangles_of(corners, np.cumsum(counts) - counts, counts, len(points), max_points)
        else:
            _, at = _records(body, at, element, {})
    if points is None:
        raise Unreadable(f"a .ply wants an element vertex; it has {[element.name for element in elements]}")
    return Scan(points, triangles)


def _header(header: bytes) -> tuple[list[Element], bool]:
    """The elements, and whether the body is text."""
    elements, order = [], None
    for line in header.decode("latin-1").split("\n")[1:]:
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", form, _] if form in _FORMATS:
                order = _FORMATS[form]
            case ["element", name, rows] if re.fullmatch(r"[0-9]{1,18}", rows):
                elements.append(Element(name, int(rows), ()))
            case ["property", "list", length, dtype, name] if elements and order is not None:
                elements[-1] = _with(elements[-1], Property(name, _dtype(dtype, order), _dtype(length, order)))
            case ["property", dtype, name] if elements and order is not None:
                elements[-1] = _with(elements[-1], Property(name, _dtype(dtype, order), None))
            case _:
                raise Unreadable(f"a .ply header has lines of format, element, property; came {line[:80]!r}")
    if order is None:
        raise Unreadable(f"a .ply header says its format, one of {', '.join(_FORMATS)}; this one does not")
    return elements, order == ""


def _dtype(name: str, order: str) -> np.dtype:
    if name not in _TYPES:
        raise Unreadable(f"a .ply property is one of {', '.join(_TYPES)}; came {name[:80]!r}")
    return np.dtype(order + _TYPES[name] if order else "<f8")


def _with(element: Element, property_: Property) -> Element:
    if len(element.properties) >= MAX_PROPERTIES or any(property_.name == other.name for other in element.properties):
        raise Unreadable(
            f"a .ply element has at most {MAX_PROPERTIES} properties, each once; {property_.name!r} is more"
        )
    return Element(element.name, element.rows, (*element.properties, property_))


def _records(body: bytes, at: int, element: Element, widths: dict[str, int]) -> tuple[np.ndarray, int]:
    """The rows of an element whose lists have these lengths throughout, and where they end."""
    fields: list[tuple] = []
    for property_ in element.properties:
        if property_.length is not None:
            fields.append((f"length of {property_.name}", property_.length))
            fields.append((property_.name, property_.dtype, (widths[property_.name],)))
        else:
            fields.append((property_.name, property_.dtype))
    dtype = np.dtype(fields)
    if element.rows * dtype.itemsize > len(body) - at:
        raise Unreadable(
            f"the .ply announces {element.rows} of {element.name}, {dtype.itemsize} bytes each; {len(body) - at} bytes are left"
        )
    rows = element.rows if dtype.itemsize else 0
    return np.frombuffer(body, dtype, rows, at) if rows else np.empty(0, dtype), at + rows * dtype.itemsize


def _lists(body: bytes, at: int, element: Element) -> tuple[np.ndarray, Int[np.ndarray, " rows"], int]:
    """The numbers of an element's list of corners (or first list), one after the other; how many each row has; its end."""
    name = next((property_.name for property_ in element.lists if property_.name in CORNERS), element.lists[0].name)
    if element.rows == 0:
        return np.empty(0), np.empty(0, np.int64), at
    first, _ = _walk(body, at, Element(element.name, 1, element.properties))
    widths = {key: int(counts[0]) for key, (_, counts) in first.items()}
    records, end = None, at
    with suppress(Unreadable):  # other rows may be shorter
        records, end = _records(body, at, element, widths)
    if records is not None and all((records[f"length of {key}"] == width).all() for key, width in widths.items()):
        return records[name].reshape(-1), np.full(element.rows, widths[name]), end
    rows, end = _walk(body, at, element)
    return *rows[name], end


def _walk(body: bytes, at: int, element: Element) -> tuple[dict[str, tuple[np.ndarray, Int[np.ndarray, " rows"]]], int]:
    """The lists of an element whose rows differ, by name, and its end: row by row, some microseconds each."""
    steps = []  # a list: how to read its length, the size of that and of an item, where its bytes and its lengths go
    for property_ in element.properties:
        if property_.length is None:
            steps.append((None, 0, property_.dtype.itemsize, bytearray(), []))
        else:
            length = struct.Struct(
                (property_.length.byteorder.replace("|", "<").replace("=", "<")) + property_.length.char
            )
            steps.append((length.unpack_from, length.size, property_.dtype.itemsize, bytearray(), []))
    for row in range(element.rows):
        for unpack, size, item, items, lengths in steps:
            if unpack is None:
                at += item
                continue
            length = unpack(body, at)[0] if at + size <= len(body) else -1
            end = at + size + int(length) * item if 0 <= length <= len(body) else -1
            if not at < end <= len(body) or length != int(length):
                raise Unreadable(
                    f"row {row} of the {element.rows} of {element.name} in the .ply has no list, or half a one"
                )
            items += body[at + size : end]
            lengths.append(int(length))
            at = end
    if at > len(body):
        raise Unreadable(f"the .ply announces {element.rows} of {element.name}; it ends before the last of them")
    lists = [property_ for property_ in element.properties if property_.length is not None]
    filled = [step for step in steps if step[0] is not None]
    return {
        property_.name: (np.frombuffer(items, property_.dtype), np.array(lengths, np.int64))
        for property_, (_, _, _, items, lengths) in zip(lists, filled, strict=True)
    }, at
