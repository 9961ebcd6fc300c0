"""A scan format outside the package: .lab, triples of little-endian float64."""

import numpy as np

from models.scans.cloud import Scan, Unreadable
from models.scans.format import Format


def read(data: bytes, max_points: int) -> Scan:
    if len(data) % 24:
        raise Unreadable(f"expected a .lab file of whole points, 24 bytes each, got {len(data)} bytes")
    return Scan(np.frombuffer(data, "<f8").reshape(-1, 3).astype(np.float64), None)


SCAN_FORMAT = Format((".lab",), read)
