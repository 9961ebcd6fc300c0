"""Tables of points as text: .xyz, .txt and .csv."""

import re

import numpy as np

from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import MAX_COLUMNS, lines_of

FIRST_LINE = 4096  # bytes within which the first line, with names or numbers, must end
_COORDINATES = ((b"x", b"y", b"z"), (b"px", b"py", b"pz"), (b"x_m", b"y_m", b"z_m"), (b"x_mm", b"y_mm", b"z_mm"))


def read_table(data: bytes, max_points: int) -> Scan:
    """Read a table of a point for each line, with x y z first or under a line of names that contains x, y and z.

    Columns are separated by white space, commas or semicolons, and by only one of them. Lines that begin with # or // are comments.
    """
    if (lines := data.count(b"\n")) > 2 * max_points:
        raise TooBig(f"expected at most {max_points} points, got a table of {lines} lines")
    body = re.sub(rb"(?m)^[ \t]*(#|//)[^\n]*$", b"", data.removeprefix(b"\xef\xbb\xbf")).lstrip()
    first = body[:FIRST_LINE].split(b"\n")[0]
    picks = [0, 1, 2]
    if re.search(rb"[A-Za-z_]", re.sub(rb"(?i)nan|inf(inity)?|\de[-+]?\d", b"", first)):
        names = [name.strip(b"\"' ").lower() for name in re.split(rb"[,;\t]|(?<=\S)[ ]+(?=\S)", first.strip())]
        picks = next(([names.index(name) for name in xyz] for xyz in _COORDINATES if set(xyz) <= set(names)), None)
        if picks is None:
            raise Unreadable(
                f"expected x, y and z in the table's line of names, got {first[:80]!r}; rename the columns"
            )
        body = body[len(first) :]
    rows = lines_of(_one_separator(body), max_points, "a table of points").table("row")
    if len(rows) and not max(picks) < rows.shape[1] <= MAX_COLUMNS:
        raise Unreadable(f"expected {max(picks) + 1} to {MAX_COLUMNS} numbers in a row, got {rows.shape[1]}")
    return Scan(np.ascontiguousarray(rows[:, picks]) if len(rows) else np.empty((0, 3)), None)


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
        if re.search(rb"(^|[,;\n])[ \t\r]*[,;]|[,;][ \t\r]*(\n|$)", body):
            raise Unreadable(f"expected a number in every column of a table, got nothing at a {mark.decode()!r}")
    return body.translate(bytes.maketrans(b",;", b"  "))


FORMAT = Format((".xyz", ".txt", ".csv"), read_table, media_types=("text/csv",))
