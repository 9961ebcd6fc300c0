"""Reading of untrusted data folders: size limits, and errors that name the malformed file.

The checks of every task share these; `training.check` runs them.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MAX_BYTES = 2**30  # of a .npz of arrays; the largest known, of Penn Action, has 23 MB unpacked
MAX_MAT_BYTES = 2**24  # of a .mat; the longest clip known, of 663 frames, has less than 0.3 MB
MAX_JSON_BYTES = 2**24  # of a .json; the largest known that is read whole has 8 kB
MAT_COMPRESSED = 15  # miCOMPRESSED, "MAT-File Format", MathWorks

Found = Iterator[tuple[str, str, int]]  # source, split, number of recordings

# Errors of reading a malformed file. Not every Exception: a worker's time limit has another cause.
READING = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, EOFError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


class MalformedData(ValueError):
    """A data folder, or a file in it, that cannot be trained on; the message says what was expected and what was found."""


def any_present(points: np.ndarray, present: np.ndarray, name: str) -> bool:
    """Return whether any point is present; raise ValueError if a present point is not finite.

    `present` is boolean and has the leading dimensions of `points`; `name` is of the recording.
    """
    if not np.isfinite(points[present]).all():
        raise ValueError(f"{name}: expected finite coordinates for every point that is present, got NaN or infinity")
    return bool(present.any())


def bounded(path: Path) -> Path:
    """Return the path of a file that a reader loads whole; raise ValueError if it would take too much memory.

    A missing file passes, for its reader to report. Raises what opening the file raises.
    """
    if not path.is_file():
        return path
    size, limit = path.stat().st_size, MAX_JSON_BYTES
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            size, limit = sum(member.file_size for member in archive.infolist()), MAX_BYTES
    elif path.suffix == ".mat" and size <= MAX_MAT_BYTES:
        size, limit = _unpacked(path.read_bytes(), MAX_MAT_BYTES), MAX_MAT_BYTES
    if size > limit:
        raise ValueError(f"expected at most {limit:,} bytes, got {size:,} or more")
    return path


def _unpacked(mat: bytes, limit: int) -> int:
    """Count the bytes of a .mat file of version 5 with its elements unpacked; stop counting just above `limit`."""
    order = {b"MI": ">", b"IM": "<"}.get(mat[126:128])
    total, at = len(mat), 128
    while order and at + 8 <= len(mat) and total <= limit:
        kind, size = struct.unpack_from(f"{order}II", mat, at)
        if kind == MAT_COMPRESSED:
            total += len(zlib.decompressobj().decompress(mat[at + 8 : at + 8 + size], limit - total + 1))
        at += 8 + size
    return total


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises into MalformedData that names `path`, or the file beside it that the reader named."""
    try:
        yield
    except READING as error:
        message = str(error) or "no details"
        where = "" if str(path) in message or f"{path.parent}/" in message else f"{path}: {type(error).__name__}: "
        raise MalformedData(f"{where}{message}") from error


def alternatives(names: Iterable[str]) -> str:
    """Join names as in "a, b or c"."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


def contents(folder: Path) -> str:
    """List the first ten names in a folder, for an error message."""
    if not folder.is_dir():
        return "no folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "nothing"
