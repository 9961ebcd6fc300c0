"""A file format for scans as a value; every module of a format exports one."""

from collections.abc import Callable
from dataclasses import dataclass

from models.scans.cloud import Scan

MAX_RATIO = 20  # inflated over compressed size: coordinates reach 2, corners of faces 10, a bomb 1000
FREE_BYTES = 1 << 20  # that may be inflated from anything


def inflated_limit(compressed: int) -> int:
    """Return how many bytes may be inflated from so many compressed ones."""
    return max(FREE_BYTES, MAX_RATIO * compressed)


@dataclass(frozen=True)
class Format:
    """A file format: its suffixes, its reader, and how a file or a request announces it.

    `read` takes the bytes of a file and the largest number of points, and returns a Scan or raises BadCloud. It unpickles nothing, runs
    nothing, and allocates in proportion to the bytes that are there, whatever the file announces.
    """

    suffixes: tuple[str, ...]  # lower case, with the dot
    read: Callable[[bytes, int], Scan]
    signatures: tuple[bytes, ...] = ()  # how a file begins, for formats that no other file begins like
    media_types: tuple[str, ...] = ()
    mesh: bool = False  # a file without a face is refused
