"""training.data.reading."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MAX_JSON_BYTES = 2**24  # of those that their loaders read whole, without a limit; the largest known has 8 kB


MAT_COMPRESSED = 15  # miCOMPRESSED of the format's description


Found = Iterator[tuple[str, str, int]]  # source, split, recordings


# What reading a malformed file raises. Not every Exception: a worker's time limit is none of the file's fault.
READING = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, EOFError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


class MalformedData(ValueError):
    """A data folder, or a file in it, that cannot be trained on; the message names it and says what was wanted and what came."""


def _finite(points: np.ndarray, there: np.ndarray, name: str) -> bool:
    """Whether anything is there. Raises ValueError where what is has no place. `there` has the first dimensions of `points`."""
    if not np.isfinite(points[there]).all():
        raise ValueError(f"{name}: what is there has coordinates that are no finite numbers")
    return bool(there.any())


def _bounded(path: Path) -> Path:
    """The path, of a file that its loader would unpack or read whole whatever its size. Raises ValueError for one too large, and what
    opening it raises."""
    if not path.is_file():
        return path  # for the loader to miss
    size, most = path.stat().st_size, MAX_JSON_BYTES
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            size, most = sum(member.file_size for member in archive.infolist()), MAX_BYTES
    elif path.suffix == ".mat" and size <= MAX_MAT_BYTES:
        size, most = _unpacked(path.read_bytes(), MAX_MAT_BYTES), MAX_MAT_BYTES
    if size > most:
        raise ValueError(f"it holds {size:,} bytes or more; at most {most:,} are read")
    return path


def _unpacked(mat: bytes, most: int) -> int:
    """The bytes that a .mat file of version 5 has once its packed elements are unpacked, of which no more than just above `most` are."""
    order = {b"MI": ">", b"IM": "<"}.get(mat[126:128])
    total, at = len(mat), 128
    while order and at + 8 <= len(mat) and total <= most:
        kind, size = struct.unpack_from(f"{order}II", mat, at)
        if kind == MAT_COMPRESSED:
            total += len(zlib.decompressobj().decompress(mat[at + 8 : at + 8 + size], most - total + 1))
        at += 8 + size
    return total


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What a loader raises, as MalformedData that names the path, if the loader did not name one in its folder."""
    try:
        yield
    except READING as error:
        told = str(error) or "no more is known"
        where = "" if str(path) in told or f"{path.parent}/" in told else f"{path}: {type(error).__name__}: "
        raise MalformedData(f"{where}{told}") from error


def _told(names: Sequence[str] | dict[str, Callable[..., Found]]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _names(folder: Path) -> str:
    if not folder.is_dir():
        return "no folder"
    found = sorted(path.name for path in folder.iterdir())
    return ", ".join(found[:10]) + (", ..." if len(found) > 10 else "") or "nothing"


MAX_BYTES = 2**30  # the largest .npz of bodies known, Penn Action's, is 23 MB unpacked


MAX_MAT_BYTES = 2**24  # the longest clip's, of 663 frames, is under 0.3 MB
