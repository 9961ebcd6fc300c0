"""Object file format meshes, .off, as text: OFF, COFF, NOFF and CNOFF."""

import re

import numpy as np

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.polygons import triangles_of
from models.scans.text import Lines, lines_of, plain_text, whole


def read_off(data: bytes, max_points: int) -> Scan:
    """Read an .off: the word OFF, the counts, the vertices, then the faces; colours and normals are ignored."""
    text = re.sub(rb"#[^\n]*", b"", plain_text(data))
    word = re.match(rb"\s*(C?N?OFF)\b(?![ \t]+BINARY)", text)
    if word is None:
        raise Unreadable(f"expected an .off file of text that begins with OFF, got one that begins with {data[:16]!r}")
    lines = lines_of(text[word.end() :], 4 * max_points, "an .off file")
    if len(lines.widths) == 0 or lines.widths[0] not in (2, 3) or not whole(lines.numbers[:2]):
        raise Unreadable("expected a line 'vertices faces edges' after OFF, got none")
    vertices, faces = (int(count) for count in lines.numbers[:2])
    if vertices > max_points:
        raise TooBig(f"expected at most {max_points} points, got an .off that announces {vertices}")
    if len(lines.widths) != 1 + vertices + faces:
        raise Unreadable(
            f"expected {vertices} vertices and {faces} faces, as the .off announces, got {len(lines.widths) - 1} lines"
        )
    starts = lines.starts()
    begin, end = lines.widths[0], lines.widths[: 1 + vertices].sum()
    points = Lines(lines.numbers[begin:end], lines.widths[1 : 1 + vertices]).table("vertex")
    if vertices and points.shape[1] < 3:
        raise Unreadable(f"expected at least 3 numbers in an .off vertex, got {points.shape[1]}")
    first, widths = starts[1 + vertices :], lines.widths[1 + vertices :]
    counts = lines.numbers[first]
    if not (whole(counts) and (counts < widths).all()):
        raise Unreadable("expected the number of corners, then that many corners, in every .off face, got fewer")
    return Scan(
        np.ascontiguousarray(points[:, :3]) if vertices else np.empty((0, 3)),
        triangles_of(lines.numbers, first + 1, counts.astype(np.int64), vertices, max_points),
    )


FORMAT = Format((".off",), read_off, mesh=True)
