"""Tables of points as text: .csv, .xyz, .txt, .asc and .pts.

A row is a line. Columns are separated by commas, semicolons, tabs or other white space. A line of names, which may be a comment, says which
columns are x, y and z; without names they are the first three. With names, other columns may hold text. Every row must have as many columns
as the first.
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
_COMMENT = re.compile(rb"(?m)^[ \t]*(?:#|//)[^\n]*$")
_UNIT = re.compile(r"[ _]*[(\[][^)\]]*[)\]]$|[ _/](mm|cm|m|in|ft)$")  # "x (mm)", "x [m]", "x_mm"
_PLACE = r"(?:points?|pos|position|coords?|coordinates?|vertex|location)"
_AXIS = re.compile(rf"({_PLACE}[ _.:-]*|p)?([xyz])([ _.:-]*{_PLACE})?")  # "Position.X", "x_coord"
_NUMBERED = re.compile(r"(points?[ _:]*)([012])()")  # as ParaView writes it
_NOT_NAMES = re.compile(rb"(?i)nan|inf(inity)?|\de[-+]?\d")


def read_table(data: bytes, max_points: int) -> Scan:
    """Read a table of points. Lines that begin with # or // are comments; a first line may be the number of rows."""
    if (lines := data.count(b"\n")) > 2 * max_points:
        raise TooBig(f"expected at most {max_points} points, got a table of {lines} lines")
    text = re.sub(rb"\Asep=.\r?\n", b"", plain_text(data))  # Excel's
    body = _COMMENT.sub(b"", text).lstrip()
    first = body[:FIRST_LINE].split(b"\n")[0].strip()
    mark = next((mark for mark in (";", ",", "\t") if mark.encode() in first), None)
    if not re.search(rb"[A-Za-z_]", _NOT_NAMES.sub(b"", first)):
        rows = _rows(_without_count(body, first), max_points)
        return Scan(_columns(rows, _commented_names(text, rows.shape[1]) or _first_three(rows)), None)
    names = _fields(first.decode("latin-1"), mark)
    if not names[-1]:  # a separator at the end
        names.pop()
    picks = _coordinates(names)
    body = body[body.index(first) + len(first) :]
    try:
        if mark == "\t" and b"\t\t" in body:
            raise Unreadable("expected a number in every column")
        rows = _rows(body, max_points)
        if len(rows) and rows.shape[1] != len(names):
            raise Unreadable(f"expected {len(names)} columns, as many as names, in {WHAT}, got {rows.shape[1]}")
    except Unreadable:  # another column holds text, or nothing
        rows, picks = _rows(b"\n".join(_picked(body, mark, len(names), picks)), max_points), (0, 1, 2)
    return Scan(_columns(rows, picks), None)


def _rows(body: bytes, max_points: int) -> Float[np.ndarray, "rows columns"]:
    """Return a table of numbers. Raises Unreadable and TooBig."""
    return lines_of(_one_separator(body), max_points, WHAT).table("row")


def _columns(rows: Float[np.ndarray, "rows columns"], picks: Sequence[int]) -> Float[np.ndarray, "rows 3"]:
    """Return the picked columns. Raises Unreadable if there are too few, or too many in all."""
    if len(rows) == 0:
        return np.empty((0, 3))
    if not max(picks) < rows.shape[1] <= MAX_COLUMNS:
        raise Unreadable(f"expected {max(picks) + 1} to {MAX_COLUMNS} numbers in a row, got {rows.shape[1]}")
    return np.ascontiguousarray(rows[:, list(picks)])


def _commented_names(text: bytes, columns: int) -> tuple[int, ...] | None:
    """Return which columns are x, y and z by the last comment before the rows; None if it names nothing.

    A comment of more words than columns is prose. Raises Unreadable for one of fewer words that has x, y and z elsewhere than first.
    """
    comment = b""
    for line in text[:FIRST_LINE].split(b"\n"):
        if line.strip() and not _COMMENT.fullmatch(line):
            break
        comment = line or comment
    words = comment.decode("latin-1").strip().lstrip("#/ \t")
    for mark in (*(mark for mark in ",;\t" if mark in words), None):
        try:
            names = _fields(words, mark)
            picks = _coordinates(names)
        except Unreadable:
            continue
        if len(names) == columns:
            return picks
        if len(names) < columns and picks != (0, 1, 2):
            raise Unreadable(
                f"expected a name for each of the {columns} columns of {WHAT}, got {words[:80]!r}; name all of them"
            )
    return None


def _first_three(rows: Float[np.ndarray, "rows columns"]) -> tuple[int, ...]:
    """Return the first three columns. Raises Unreadable if the first of more counts the rows, which no coordinate does."""
    if rows.shape[1] > 3 and len(rows) > 3 and (rows[:, 0] - rows[0, 0] == np.arange(len(rows))).all():
        raise Unreadable(
            f"expected x, y and z in the first columns of {WHAT}, got a first column that counts the rows from {rows[0, 0]:g}; "
            "write a first line of names"
        )
    return 0, 1, 2


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
    found: dict[tuple[str | None, ...], dict[str, int]] = {}
    for column, name in enumerate(names):
        plain = name.strip().lower()
        unit = match.group() if (match := _UNIT.search(plain)) else ""
        plain = plain.removesuffix(unit).strip()
        if match := _AXIS.fullmatch(plain) or _NUMBERED.fullmatch(plain):
            axis = "xyz"["012".index(match[2])] if match[2] in "012" else match[2]
            axes = found.setdefault((match[1], unit, match[3]), {})
            if axis in axes:
                raise Unreadable(f"expected one column {name[:40]!r} in {WHAT}, got two; rename one")
            axes[axis] = column
    complete = sorted((key for key, axes in found.items() if len(axes) == 3), key=any)
    if not complete:
        raise Unreadable(
            f"expected x, y and z in the line of names of {WHAT}, got {', '.join(names)[:80]!r}; rename the columns"
        )
    return tuple(found[complete[0]][axis] for axis in "xyz")


FORMAT = Format((".csv", ".xyz", ".txt", ".asc", ".pts"), read_table, media_types=("text/csv",))
