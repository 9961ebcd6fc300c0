"""Point clouds of the Point Cloud Library, .pcd: text, binary and compressed."""

import math
import re
import struct
from collections.abc import Sequence

import numpy as np

from models.contract.npy import NUMBERS
from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format, inflated_limit
from models.scans.lzf import BadLzf, decompress
from models.scans.text import MAX_COLUMNS, lines_of

MAX_HEADER = 4096


def read_pcd(data: bytes, max_points: int) -> Scan:
    """Read the fields x, y and z of a .pcd: text, binary, or compressed."""
    end = re.search(rb"(?m)^DATA[ \t]+(\w+)[ \t]*\r?\n", data[:MAX_HEADER])
    if end is None:
        raise Unreadable(f"expected a .pcd with a header up to a line DATA, got a file that begins with {data[:16]!r}")
    lines = [line.split() for line in data[: end.start()].decode("latin-1").split("\n")]
    header = {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}
    names, counts = header.get("FIELDS", []), header.get("COUNT", ["1"] * len(header.get("FIELDS", [])))
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    sides = [*header.get("WIDTH", [""]), *header.get("HEIGHT", [""])]  # older files have these alone
    whole = all(re.fullmatch("[0-9]{1,9}", side) for side in sides)
    rows = (header.get("POINTS") or [str(math.prod(map(int, sides))) if whole else ""])[0]
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
    if form not in (b"binary", b"binary_compressed"):
        raise Unreadable(f"expected a .pcd with DATA ascii, binary or binary_compressed, got {form.decode()[:30]}")
    types = [{"F": "f", "I": "i", "U": "u"}.get(kind, "") + size for kind, size in zip(kinds, sizes, strict=True)]
    if not set(types) <= set(NUMBERS):
        raise Unreadable(f"expected fields of {', '.join(NUMBERS)} in a .pcd, got {', '.join(types)[:80]}")
    fields = [(f"field {at}", "<" + kind, (width,)) for at, (kind, width) in enumerate(zip(types, widths, strict=True))]
    dtype = np.dtype(fields)
    if form == b"binary_compressed":
        return _compressed(
            body, [dtype[at] for at in range(len(names))], [names.index(name) for name in "xyz"], int(rows)
        )
    if int(rows) * dtype.itemsize > len(body):
        raise Unreadable(
            f"expected {rows} points of {dtype.itemsize} bytes, as the .pcd announces, got {len(body)} bytes"
        )
    records = np.frombuffer(body, dtype, int(rows))
    return Scan(np.concatenate([records[f"field {names.index(n)}"].astype(np.float64) for n in "xyz"], axis=1), None)


def _compressed(body: bytes, types: Sequence[np.dtype], picks: Sequence[int], rows: int) -> Scan:
    """Read a compressed body: two sizes, then all values of the first field, all of the second, and so on."""
    if len(body) < 8:
        raise Unreadable(f"expected two sizes at the beginning of a compressed .pcd, got {len(body)} bytes")
    packed, size = struct.unpack_from("<2I", body)
    expected = rows * sum(type_.itemsize for type_ in types)
    if size != expected or packed > len(body) - 8:
        raise Unreadable(
            f"expected {expected} bytes inflated from {len(body) - 8}, as the .pcd announces, got {size} from {packed}; it is cut short"
        )
    if size > (most := inflated_limit(packed)):
        raise TooBig(f"expected at most {most} bytes inflated from {packed} in a .pcd, got {size}")
    try:
        content = decompress(body[8 : 8 + packed], size)
    except BadLzf as error:
        raise Unreadable(f"expected LZF in a compressed .pcd: {error}") from None
    starts = np.cumsum([0, *(rows * type_.itemsize for type_ in types)])
    columns = [np.frombuffer(content, types[at].base, rows, int(starts[at])).astype(np.float64) for at in picks]
    return Scan(np.stack(columns, axis=1) if rows else np.empty((0, 3)), None)


FORMAT = Format((".pcd",), read_pcd, (b"# .PCD",))
