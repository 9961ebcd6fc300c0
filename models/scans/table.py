"""Tables of points as text: .csv, .xyz, .txt, .asc and .pts.

A row is a line. Columns are separated by commas, semicolons, tabs or other white space. A first line of names says which columns are x, y
and z; without names they are the first three. With names, other columns may hold text. Every row must have as many columns as the first.
"""

import csv
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import MAX_COLUMNS, lines_of, pieces, plain_text

FIRST_LINE = 4096  # bytes within which the first line, with names or numbers, must end
WHAT = "a table of points"
_UNIT = re.compile(r"[ _]*[(\[][^)\]]*[)\]]$|[ _](mm|cm|m|in|ft)$")  # "x (mm)", "x [m]", "x_mm"
_AXIS = re.compile(r"((?:points?|pos|position|coords?|coordinates?|vertex|location)[ _.:]*|p)?([xyz])")
_NUMBERED = re.compile(r"(points?[ _:]*)([012])")  # as ParaView writes it
_NOT_NAMES = re.compile(rb"(?i)nan|inf(inity)?|\de[-+]?\d")


def read_table(data: bytes, max_points: int) -> Scan:
    """Read a table of points. Lines that begin with # or // are comments; a first line may be the number of rows."""
    if (lines := data.count(b"\n")) > 2 * max_points:
        raise TooBig(f"expected at most {max_points} points, got a table of {lines} lines")
    body = re.sub(rb"(?m)^[ \t]*(#|//)[^\n]*$", b"", plain_text(data)).lstrip()
    first = body[:FIRST_LINE].split(b"\n")[0].strip()
    mark = next((mark for mark in (";", ",", "\t") if mark.encode() in first), None)
    if not re.search(rb"[A-Za-z_]", _NOT_NAMES.sub(b"", first)):
        return Scan(_numbers(_without_count(body, first), max_points, None, (0, 1, 2)), None)
    names = _fields(first.decode("latin-1"), mark)
    if not names[-1]:  # a separator at the end
        names.pop()
    picks = _coordinates(names)
    body = body[body.index(first) + len(first) :]
    try:
        points = _numbers(body, max_points, len(names), picks)
    except Unreadable:  # another column holds text, or nothing
        rows = b"\n".join(_picked(body, mark, len(names), picks))
        points = _numbers(rows, max_points, None, (0, 1, 2))
    return Scan(points, None)


def _numbers(body: bytes, max_points: int, columns: int | None, picks: Sequence[int]) -> Float[np.ndarray, "points 3"]:
    """Return the picked columns of a table of numbers, which has so many `columns` if their number is known."""
    rows = lines_of(_one_separator(body), max_points, WHAT).table("row")
    if len(rows) == 0:
        return np.empty((0, 3))
    width = rows.shape[1]
    if columns is not None and width != columns:
        raise Unreadable(f"expected {columns} columns, as many as names, in every row of {WHAT}, got {width}")
    if not max(picks) < width <= MAX_COLUMNS:
        raise Unreadable(f"expected {max(picks) + 1} to {MAX_COLUMNS} numbers in a row, got {width}")
    return np.ascontiguousarray(rows[:, picks])


def _without_count(body: bytes, first: bytes) -> bytes:
    """Return the table without a first line that is the number of the rows after it, as .pts has one."""
    if not re.fullmatch(rb"[0-9]{1,18}", first):
        return body
    rest = body[len(first) :]
    if (rows := len(re.findall(rb"(?m)^[ \t]*[^\s]", rest))) != int(first):
        raise Unreadable(
            f"expected {int(first)} rows, as the first line of {WHAT} announces, got {rows}; it is cut short"
        )
    return rest


def _one_separator(body: bytes) -> bytes:
    """Return the table with blanks for its commas or semicolons. Raises Unreadable if they could mean something else."""
    used = [mark for mark in (b",", b";") if mark in body]
    if len(used) == 2:
        raise Unreadable(
            "expected one separator in a table, got commas and semicolons; write decimal points, not commas"
        )
    for mark in used:
        if re.search(rb"[^\s,;][ \t]+[^\s,;]", body):
            raise Unreadable(f"expected one separator in a table, got {mark.decode()!r} and blanks between numbers")
        body = re.sub(mark + rb"(?=[ \t\r]*(\n|$))", b"", body)  # an empty last column
        if re.search(rb"(^|[,;\n])[ \t\r]*[,;]|[,;][ \t\r]*(\n|$)", body):
            raise Unreadable(f"expected a number in every column of a table, got nothing at a {mark.decode()!r}")
    return body.translate(bytes.maketrans(b",;", b"  "))


def _picked(body: bytes, mark: str | None, columns: int, picks: Sequence[int]) -> Iterator[bytes]:
    """Yield the picked columns of a table that has text in others. Raises Unreadable for a row of another length."""
    row = 0
    for piece in pieces(body):
        for line in piece.decode("latin-1").split("\n"):
            if not line.strip():
                continue
            fields = _fields(line, mark)
            if len(fields) == columns + 1 and not fields[-1]:  # a separator at the end
                fields.pop()
            if len(fields) != columns:
                raise Unreadable(f"expected {columns} columns in every row of {WHAT}, got {len(fields)} in row {row}")
            chosen = [fields[i] for i in picks]
            if not all(chosen) or any(set(field) & set(" \t,;") for field in chosen):
                raise Unreadable(f"expected a number for x, y and z in every row of {WHAT}, got {chosen} in row {row}")
            yield " ".join(chosen).encode("latin-1")
            row += 1


def _fields(line: str, mark: str | None) -> list[str]:
    """Return the columns of a line, without quotes."""
    if mark is None:
        return [field.strip("\"'") for field in line.split()]
    try:
        row = next(csv.reader([line], delimiter=mark, skipinitialspace=True))
    except (csv.Error, StopIteration):
        raise Unreadable(f"expected columns separated by {mark!r} in {WHAT}, got {line[:80]!r}") from None
    return [field.strip().strip("\"'").strip() for field in row]


def _coordinates(names: Sequence[str]) -> tuple[int, ...]:
    """Return which columns are x, y and z: names that differ in the axis alone. Raises Unreadable."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for column, name in enumerate(names):
        plain = name.strip().lower()
        unit = match.group() if (match := _UNIT.search(plain)) else ""
        plain = plain.removesuffix(unit).strip()
        if match := _AXIS.fullmatch(plain) or _NUMBERED.fullmatch(plain):
            axis = "xyz"["012".index(match[2])] if match[2] in "012" else match[2]
            axes = found.setdefault((match[1] or "", unit), {})
            if axis in axes:
                raise Unreadable(f"expected one column {name[:40]!r} in {WHAT}, got two; rename one")
            axes[axis] = column
    complete = sorted((key for key, axes in found.items() if len(axes) == 3), key=lambda key: key != ("", ""))
    if not complete:
        raise Unreadable(
            f"expected x, y and z in the line of names of {WHAT}, got {', '.join(names)[:80]!r}; rename the columns"
        )
    return tuple(found[complete[0]][axis] for axis in "xyz")


FORMAT = Format((".csv", ".xyz", ".txt", ".asc", ".pts"), read_table, media_types=("text/csv",))
