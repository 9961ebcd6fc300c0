"""Shared checks for the tests of scan readers."""

import tracemalloc

import pytest

from models.scans.cloud import BadCloud
from models.scans.files import read_scan


def assert_refused(suffix: str, data: bytes, error: type[BadCloud], message: str) -> None:
    """Check that reading raises `error` with a matching message of less than 500 characters, and allocates little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message) as caught:
            read_scan(data, suffix)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500
    assert peak < 4e6 + 10 * len(data), f"expected no allocation for an announced size, got a peak of {peak} bytes"


def triangles_in(data: bytes, suffix: str) -> list[tuple[int, ...]]:
    """Read the triangles of a file."""
    triangles = read_scan(data, suffix).triangles
    assert triangles is not None
    return [tuple(corners) for corners in triangles.tolist()]
