"""Checks of scan readers that the tests of every format share."""

import tracemalloc

import pytest

from models.scans.cloud import BadCloud
from models.scans.files import read_scan


def assert_refused(suffix: str, data: bytes, error: type[BadCloud], message: str) -> None:
    """Check that a file is refused with this error, with a message that matches and is of decent length, and without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message) as caught:
            read_scan(data, suffix)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500
    assert peak < 4e6 + 10 * len(data), "a file that announces gigabytes costs no memory"


def triangles_in(data: bytes, suffix: str) -> list[tuple[int, ...]]:
    """Read the triangles of a file."""
    triangles = read_scan(data, suffix).triangles
    assert triangles is not None
    return [tuple(corners) for corners in triangles.tolist()]
