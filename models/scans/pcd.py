"""models.scans.pcd."""

import re

import numpy as np

from models.scans.arrays import NPY_TYPES, PCD_MAX_HEADER
from models.scans.cloud import (
    Scan,
    TooBig,
    Unreadable,
)
from models.scans.text import (
    MAX_COLUMNS,
    lines_of,
)


def read_pcd(data: bytes, max_points: int) -> Scan:
    """A .pcd of the Point Cloud Library, text or binary; compressed ones are refused."""
    end = re.search(rb"(?m)^DATA[ \t]+(\w+)[ \t]*\r?\n", data[:PCD_MAX_HEADER])
    if end is None:
        raise Unreadable(f"a .pcd has a header up to a line DATA; this one begins with {data[:16]!r}")
    lines = [line.split() for line in data[: end.start()].decode("latin-1").split("\n")]
    header = {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}
    names, counts = header.get("FIELDS", []), header.get("COUNT", ["1"] * len(header.get("FIELDS", [])))
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    rows = (header.get("POINTS") or [""])[0]
    widths = [int(count) for count in counts if re.fullmatch("[0-9]{1,4}", count)]
    if not (len(names) == len(widths) == len(counts) == len(sizes) == len(kinds) <= MAX_COLUMNS):
        raise Unreadable("a .pcd header has equally many FIELDS, SIZE, TYPE and COUNT; this one has not")
    if any(names.count(name) != 1 or widths[names.index(name)] != 1 for name in "xyz") or not re.fullmatch(
        "[0-9]{1,18}", rows
    ):
        raise Unreadable(
            f"a .pcd wants single fields x, y and z, and POINTS; it has {', '.join(names)[:80]} and {rows[:20]!r}"
        )
    if int(rows) > max_points:
        raise TooBig(f"at most {max_points} points are taken; the .pcd announces {rows}")
    body, form = data[end.end() :], end.group(1)
    if form == b"ascii":
        table = lines_of(body, max_points + 1, "a text .pcd").table("point")
        if table.shape != (int(rows), sum(widths)):
            raise Unreadable(f"the .pcd announces {rows} points of {sum(widths)} numbers; {table.shape} came")
        columns = [sum(widths[: names.index(name)]) for name in "xyz"]
        return Scan(np.ascontiguousarray(table[:, columns]), None)
    if form != b"binary":
        raise Unreadable(f"a .pcd with DATA ascii or binary is read; came {form.decode()[:20]}")
    types = [{"F": "f", "I": "i", "U": "u"}.get(kind, "") + size for kind, size in zip(kinds, sizes, strict=True)]
    if not set(types) <= set(NPY_TYPES):
        raise Unreadable(f"a .pcd has fields of {', '.join(NPY_TYPES)}; came {', '.join(types)[:80]}")
    fields = [(f"field {at}", "<" + kind, (width,)) for at, (kind, width) in enumerate(zip(types, widths, strict=True))]
    dtype = np.dtype(fields)
    if int(rows) * dtype.itemsize > len(body):
        raise Unreadable(f"the .pcd announces {rows} points of {dtype.itemsize} bytes; {len(body)} bytes came")
    records = np.frombuffer(body, dtype, int(rows))
    return Scan(np.concatenate([records[f"field {names.index(n)}"].astype(np.float64) for n in "xyz"], axis=1), None)
