"""The readers of scan files, one for each format."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.fuzz import containers
from benchmarks.fuzz.harness import Reader
from benchmarks.fuzz.scans import GOOD
from models.scans.cloud import MIN_POINTS, BadCloud, Scan
from models.scans.files import FORMATS, read_scan
from models.scans.format import Format

INSIDE = {".npz": containers.members, ".glb": containers.gltf_chunks, ".gltf": containers.values}
PACKED = tuple(data for suffix, data, _ in GOOD.values() if suffix.lower() == ".ply.gz")


def read(suffix: str, data: bytes) -> Scan:
    """Read a scan; check that it is usable."""
    scan = read_scan(data, suffix)
    assert len(scan.points) >= MIN_POINTS
    assert np.isfinite(scan.points).all()
    if scan.triangles is not None:
        assert len(scan.triangles)
        assert 0 <= scan.triangles.min() <= scan.triangles.max() < len(scan.points)
    return scan


def _seeds(format: Format) -> Callable[[], list[bytes]]:
    return lambda: [data for suffix, data, _ in GOOD.values() if suffix.lower() in format.suffixes]


READERS = {
    format.suffixes[0]: Reader(
        partial(read, format.suffixes[0]), _seeds(format), (BadCloud,), INSIDE.get(format.suffixes[0])
    )
    for format in FORMATS
} | {".gz": Reader(partial(read, ".ply.gz"), lambda: list(PACKED), (BadCloud,), containers.inside_gzip)}
