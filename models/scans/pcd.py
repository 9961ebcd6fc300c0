"""Point clouds of the Point Cloud Library, .pcd, text and binary."""

import re

import numpy as np

from models.contract.npy import NUMBERS
from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import MAX_COLUMNS, lines_of

MAX_HEADER = 4096


def read_pcd(data: bytes, max_points: int) -> Scan:
    """Read the fields x, y and z of a .pcd; compressed files are refused."""
    end = re.search(rb"(?m)^DATA[ \t]+(\w+)[ \t]*\r?\n", data[:MAX_HEADER])
    if end is None:
        raise Unreadable(f"expected a .pcd with a header up to a line DATA, got a file that begins with {data[:16]!r}")
    lines = [line.split() for line in data[: end.start()].decode("latin-1").split("\n")]
    header = {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}
    names, counts = header.get("FIELDS", []), header.get("COUNT", ["1"] * len(header.get("FIELDS", [])))
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    rows = (header.get("POINTS") or [""])[0]
    widths = [int(count) for count in counts if re.fullmatch("[0-9]{1,4}", count)]
    if not (len(names) == len(widths) == len(counts) == len(sizes) == len(kinds) <= MAX_COLUMNS):
        raise Unreadable(
            f"expected as many SIZE, TYPE and COUNT as FIELDS, at most {MAX_COLUMNS}, in a .pcd, got others"
        )
    single = all(names.count(name) == 1 and widths[names.index(name)] == 1 for name in "xyz")
    if not single or not re.fullmatch("[0-9]{1,18}", rows):
        raise Unreadable(
            f"expected single fields x, y and z, and POINTS, in a .pcd, got {', '.join(names)[:80]} and {rows[:20]!r}"
        )
    if int(rows) > max_points:
        raise TooBig(f"expected at most {max_points} points, got a .pcd that announces {rows}")
    body, form = data[end.end() :], end.group(1)
    if form == b"ascii":
        table = lines_of(body, max_points + 1, "a text .pcd").table("point")
        if table.shape != (int(rows), sum(widths)):
            raise Unreadable(
                f"expected {rows} points of {sum(widths)} numbers, as the .pcd announces, got {len(table)} of "
                f"{table.shape[1]}"
            )
        columns = [sum(widths[: names.index(name)]) for name in "xyz"]
        return Scan(np.ascontiguousarray(table[:, columns]), None)
    if form != b"binary":
        raise Unreadable(f"expected a .pcd with DATA ascii or binary, got {form.decode()[:20]}; save it uncompressed")
    types = [{"F": "f", "I": "i", "U": "u"}.get(kind, "") + size for kind, size in zip(kinds, sizes, strict=True)]
    if not set(types) <= set(NUMBERS):
        raise Unreadable(f"expected fields of {', '.join(NUMBERS)} in a .pcd, got {', '.join(types)[:80]}")
    fields = [(f"field {at}", "<" + kind, (width,)) for at, (kind, width) in enumerate(zip(types, widths, strict=True))]
    dtype = np.dtype(fields)
    if int(rows) * dtype.itemsize > len(body):
        raise Unreadable(
            f"expected {rows} points of {dtype.itemsize} bytes, as the .pcd announces, got {len(body)} bytes"
        )
    records = np.frombuffer(body, dtype, int(rows))
    return Scan(np.concatenate([records[f"field {names.index(n)}"].astype(np.float64) for n in "xyz"], axis=1), None)


FORMAT = Format((".pcd",), read_pcd, (b"# .PCD",))
