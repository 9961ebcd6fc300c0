"""Numbers in text, and the clouds and meshes that are written with them: .xyz .txt .csv .obj .off and the text form of .stl.

Text is parsed by numpy's own number reader, the whole file at once. Every row must have the columns of the first: nothing
is guessed where a row is short. Vertices stay in the file's order, which trimesh's .obj reader does not promise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import (
    Degenerate,
    Scan,
    TooBig,
    Unreadable,
)

MAX_COLUMNS = 64
FIRST_LINE = 4096  # bytes in which a table's first line, with its names or numbers, must end
PIECE = 1 << 18  # bytes that are parsed at a time, in some 10 ms
_NUMERALS = b"0123456789+-.eEnaifNAIFty \t\r\n"  # "ty" of infinity
_COORDINATES = ((b"x", b"y", b"z"), (b"px", b"py", b"pz"), (b"x_m", b"y_m", b"z_m"), (b"x_mm", b"y_mm", b"z_mm"))


@dataclass(frozen=True)
class Lines:
    """The numbers of a text, one after the other, and how many are on each line that has any."""

    numbers: Float[np.ndarray, " numbers"]
    widths: Int[np.ndarray, " lines"]

    def table(self, kind: str) -> Float[np.ndarray, "lines columns"]:
        """The numbers line by line. Raises Unreadable unless all lines are equally long."""
        if len(self.widths) == 0:
            return np.empty((0, 0))
        columns = int(self.widths[0])
        if (ragged := np.flatnonzero(self.widths != columns)).size:
            row = int(ragged[0])
            raise Unreadable(f"{kind} 0 has {columns} numbers, but {kind} {row} has {self.widths[row]}")
        return self.numbers.reshape(-1, columns)

    def starts(self) -> Int[np.ndarray, " lines"]:
        """Where in `numbers` each line begins."""
        return np.cumsum(self.widths) - self.widths


def lines_of(text: bytes, max_lines: int, what: str) -> Lines:
    """The numbers of `text`, which are separated by white space. Raises Unreadable or TooBig."""
    if (lines := text.count(b"\n")) > max_lines:
        raise TooBig(f"{what} of at most {max_lines} lines are taken; {lines} came")
    if strange := text.translate(None, _NUMERALS):
        at = text.index(strange[:1])
        raise Unreadable(f"{what} wants numbers; came {text[max(0, at - 20) : at + 20]!r}")
    letters = np.frombuffer(text, np.uint8)
    begins = letters > ord(" ")
    begins[1:] &= letters[:-1] <= ord(" ")
    if len(letters) == 0 or not begins.any():
        return Lines(np.empty(0), np.empty(0, np.int64))
    line_starts = np.concatenate([[0], np.flatnonzero(letters == ord("\n")) + 1])
    words = np.flatnonzero(begins)
    wanted = len(words)
    widths = np.diff(np.searchsorted(words, line_starts), append=wanted)
    try:
        numbers = np.concatenate(
            [np.fromstring(piece, np.float64, sep=" ") for piece in _pieces(text) if piece.strip()]
        )
    except (ValueError, DeprecationWarning):  # numpy says by the one or the other that it stopped at what is no number
        numbers = np.empty(0)
    if len(numbers) != wanted:
        raise Unreadable(f"{what} wants numbers; not all of the {wanted} words are")
    return Lines(numbers, widths[widths > 0])


def read_table(data: bytes, max_points: int) -> Scan:
    """A .xyz, .txt or .csv table: a point a line, x y z first or under a line of names that has x, y and z.

    Separated by white space, commas or semicolons, one of them throughout; lines that begin with # or // are comments.
    """
    if (lines := data.count(b"\n")) > 2 * max_points:
        raise TooBig(f"at most {max_points} points are taken; a table of {lines} lines came")
    body = re.sub(rb"(?m)^[ \t]*(#|//)[^\n]*$", b"", data.removeprefix(b"\xef\xbb\xbf")).lstrip()
    first = body[:FIRST_LINE].split(b"\n")[0]
    picks = [0, 1, 2]
    if re.search(rb"[A-Za-z_]", re.sub(rb"(?i)nan|inf(inity)?|\de[-+]?\d", b"", first)):
        names = [name.strip(b"\"' ").lower() for name in re.split(rb"[,;\t]|(?<=\S)[ ]+(?=\S)", first.strip())]
        picks = next(([names.index(name) for name in xyz] for xyz in _COORDINATES if set(xyz) <= set(names)), None)
        if picks is None:
            raise Unreadable(f"a table with a line of names wants x, y and z among them; came {first[:80]!r}")
        body = body[len(first) :]
    table = lines_of(_one_separator(body), max_points, "a table of points").table("row")
    if len(table) and not max(picks) < table.shape[1] <= MAX_COLUMNS:
        raise Unreadable(f"a point wants {max(picks) + 1} to {MAX_COLUMNS} columns; a row has {table.shape[1]}")
    return Scan(np.ascontiguousarray(table[:, picks]) if len(table) else np.empty((0, 3)), None)


def _one_separator(body: bytes) -> bytes:
    """The table with blanks for its commas or semicolons. Raises Unreadable where they could mean something else."""
    used = [mark for mark in (b",", b";") if mark in body]
    if len(used) == 2:
        raise Unreadable("a table has one separator; this one has commas and semicolons (a decimal comma is not read)")
    for mark in used:
        if re.search(rb"[^\s,;][ \t]+[^\s,;]", body):
            raise Unreadable(f"a table has one separator; this one has {mark.decode()!r} and blanks between numbers")
        if re.search(rb"(^|[,;\n])[ \t\r]*[,;]|[,;][ \t\r]*(\n|$)", body):
            raise Unreadable(f"a table has a number in every column; this one has nothing at a {mark.decode()!r}")
    return body.translate(bytes.maketrans(b",;", b"  "))


def read_obj(data: bytes, max_points: int) -> Scan:
    """Wavefront .obj: its `v` lines in order and its `f` lines; names, normals and textures are passed over."""
    data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    if (lines := data.count(b"\n")) > 8 * max_points:  # v, vt, vn and twice as many f, and some to spare
        raise TooBig(f".obj files of at most {8 * max_points} lines are taken; {lines} came")
    points = lines_of(_keyed(data, b"v"), max_points, "the v lines of an .obj").table("v line")
    if len(points) == 0 or points.shape[1] < 3:
        raise Unreadable(f"an .obj wants lines 'v x y z'; {len(points)} of {points.shape[1]} numbers came")
    faces = b"".join(re.sub(rb"/\S*", b"", piece) for piece in _pieces(_keyed(data, b"f")))
    corners = lines_of(faces, 2 * max_points, "the f lines of an .obj")
    numbers = np.where(corners.numbers < 0, corners.numbers + len(points), corners.numbers - 1)  # -1 is the last so far
    return Scan(
        np.ascontiguousarray(points[:, :3]),
        triangles_of(numbers, corners.starts(), corners.widths, len(points), max_points),
    )


def _keyed(data: bytes, key: bytes) -> bytes:
    """What follows `key` on the lines that begin with it, up to a comment."""
    line = re.compile(rb"(?m)^[ \t]*" + key + rb"[ \t]([^#\r\n]*)")
    return b"\n".join(b"\n".join(line.findall(piece)) for piece in _pieces(data) if line.search(piece))


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text in whole lines, some PIECE bytes at a time: one call on all of it would keep every other thread waiting."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def read_off(data: bytes, max_points: int) -> Scan:
    """Object file format, as text: OFF (or COFF, NOFF, CNOFF), the counts, the vertices, the faces."""
    text = re.sub(rb"#[^\n]*", b"", data)
    found = re.match(rb"\s*(C?N?OFF)\b(?![ \t]+BINARY)", text)
    if found is None:
        raise Unreadable(f"an .off file is text that begins with OFF; this one begins with {data[:16]!r}")
    lines = lines_of(text[found.end() :], 4 * max_points, "an .off file")
    if len(lines.widths) == 0 or lines.widths[0] not in (2, 3) or not _whole(lines.numbers[:2]):
        raise Unreadable("an .off file wants a line 'vertices faces edges' after OFF")
    vertices, faces = (int(count) for count in lines.numbers[:2])
    if vertices > max_points:
        raise TooBig(f"at most {max_points} points are taken; the .off announces {vertices}")
    if len(lines.widths) != 1 + vertices + faces:
        raise Unreadable(
            f"the .off announces {vertices} vertices and {faces} faces; {len(lines.widths) - 1} lines came"
        )
    starts = lines.starts()
    begin, end = lines.widths[0], lines.widths[: 1 + vertices].sum()
    points = Lines(lines.numbers[begin:end], lines.widths[1 : 1 + vertices]).table("vertex")
    if vertices and points.shape[1] < 3:
        raise Unreadable(f"an .off vertex wants 3 numbers; came {points.shape[1]}")
    first, room = starts[1 + vertices :], lines.widths[1 + vertices :]
    counts = lines.numbers[first]
    if not (_whole(counts) and (counts < room).all()):
        raise Unreadable("an .off face wants its number of corners, then as many corners")
    return Scan(
        np.ascontiguousarray(points[:, :3]) if vertices else np.empty((0, 3)),
        triangles_of(lines.numbers, first + 1, counts.astype(np.int64), vertices, max_points),
    )


def read_stl_text(data: bytes, max_points: int) -> Scan:
    """The text form of .stl. Every triangle has its own three points, in order."""
    if not re.search(rb"(?i)\bendsolid\b", data):
        raise Unreadable(
            "a text .stl ends with endsolid; this one is cut short, or is a binary one with a wrong length"
        )
    if data.count(b"\n") > 4 * max_points:
        raise TooBig(f"at most {max_points} points are taken; the .stl has more")
    rows = b"\n".join(found.group(1) for found in re.finditer(rb"(?i)\bvertex[ \t]+([^\r\n]*)", data))
    points = lines_of(rows, max_points, "the vertex lines of an .stl").table("vertex")
    facets = len(re.findall(rb"(?i)\bfacet[ \t]", data))
    if len(points) != 3 * facets or (facets and points.shape[1] != 3):
        raise Unreadable(f"an .stl facet has 3 vertices of 3 numbers; came {facets} facets and {points.shape} vertices")
    return Scan(points.reshape(-1, 3), np.arange(len(points)).reshape(-1, 3))


def _whole(numbers: Float[np.ndarray, " numbers"]) -> bool:
    """Whether they are counts."""
    return bool(((numbers >= 0) & (numbers < 2**53) & (numbers == np.floor(numbers))).all())


def triangles_of(
    corners: np.ndarray,
    starts: Int[np.ndarray, " faces"],
    counts: Int[np.ndarray, " faces"],
    points: int,
    max_points: int,
) -> Int[np.ndarray, "triangles 3"]:
    """The triangles of faces whose corners begin at `starts` in the flat `corners`: fans, those of the same size together.

    Faces of one or two corners are dropped. Raises TooBig for more than twice as many triangles as points are taken,
    Unreadable for a corner that is no point.
    """
    total = int(np.maximum(counts - 2, 0).sum())
    if total > 2 * max_points:
        raise TooBig(f"at most {2 * max_points} triangles are taken; {total} came")
    fans = [np.empty((0, 3), np.int64)]
    fans += [_fan(corners[rows[:, None] + np.arange(count)], points) for count, rows in _by_count(starts, counts)]
    return np.concatenate(fans)


def _by_count(
    starts: Int[np.ndarray, " faces"], counts: Int[np.ndarray, " faces"]
) -> Iterator[tuple[int, Int[np.ndarray, " rows"]]]:
    """The starts of faces of each size from 3 on."""
    starts, counts = starts[counts >= 3], counts[counts >= 3]
    if len(counts) == 0:
        return
    order = np.argsort(counts, kind="stable")
    sizes, begins = np.unique(counts[order], return_index=True)
    for size, rows in zip(sizes, np.split(starts[order], begins[1:]), strict=True):
        yield int(size), rows


def _fan(corners: np.ndarray, points: int) -> Int[np.ndarray, "triangles 3"]:
    """The triangles of (faces, size) polygons."""
    if not ((corners >= 0) & (corners < points)).all() or (corners != np.floor(corners)).any():
        raise Unreadable(f"the corners of faces are among the {points} points; others came")
    corners = corners.astype(np.int64)
    first = np.broadcast_to(corners[:, :1], (len(corners), corners.shape[1] - 2))
    return np.stack([first, corners[:, 1:-1], corners[:, 2:]], axis=2).reshape(-1, 3)


def require_triangles(scan: Scan, kind: str) -> Scan:
    """The scan, for formats that are for meshes. Raises Degenerate if it has no triangle."""
    if scan.triangles is None or len(scan.triangles) == 0:
        raise Degenerate(f"{kind} wants a face; it has none. A cloud is taken as .ply, .xyz, .pcd, .npy or .npz")
    return scan
