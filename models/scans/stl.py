"""models.scans.stl."""

import re

import numpy as np

from models.scans.cloud import (
    Scan,
    TooBig,
    Unreadable,
)
from models.scans.text import (
    read_stl_text,
)


def read_stl(data: bytes, max_points: int) -> Scan:
    """An .stl: binary if its length is what its count announces, whatever it begins with; otherwise text."""
    announced = int.from_bytes(data[80:84], "little") if len(data) >= 84 else 0
    if len(data) == 84 + 50 * announced:
        if 3 * announced > max_points:
            raise TooBig(f"at most {max_points} points are taken; {announced} triangles came")
        facets = np.frombuffer(
            data, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")], announced, 84
        )
        return Scan(facets["corners"].reshape(-1, 3).astype(np.float64), np.arange(3 * announced).reshape(-1, 3))
    if re.match(rb"\s*solid\b", data, re.IGNORECASE):
        return read_stl_text(data, max_points)
    raise Unreadable(
        f"a binary .stl that announces {announced} triangles has {84 + 50 * announced} bytes; {len(data)} came"
    )
