"""Array files and pickles from strangers, read without running anything in them (training/data/unpickle.py) and within a size."""

import io
import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from models.contract.npy import read_header
from training.data.unpickle import CODE, UntrustedFile, require_characters, unpickle

__all__ = ["UntrustedFile", "load_arrays", "load_numpy", "load_pickle"]

HEAD = 2048  # bytes that hold the longest header
MALFORMED = (  # errors of reading a damaged archive or array
    zipfile.BadZipFile, zlib.error, struct.error, lzma.LZMAError, RuntimeError, EOFError, OSError, LookupError, ValueError, OverflowError,
)  # fmt: skip
MAX_BYTES = 4 * 2**30  # 669 faces of 8192 points, normals and 68 heatmaps, the largest expected, are 1.6 GB in float32


def load_pickle(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a pickle file. Raises UntrustedFile if it names anything but arrays, or is larger than `max_bytes`."""
    size = path.stat().st_size
    _check_size(path, size, max_bytes)
    with path.open("rb") as file:
        return unpickle(file, size, str(path))


def load_numpy(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of a .npy file, or the arrays of a .npz by name; arrays of objects included.

    Unlike np.load it allocates no more than the file has, whatever a header announces. Raises UntrustedFile.
    """
    size = path.stat().st_size
    _check_size(path, size, max_bytes)
    try:
        if path.suffix != ".npz":
            with path.open("rb") as file:
                return _read_npy(file, size, str(path))
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_size(path, sum(member.file_size for member in members), max_bytes)
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    name = f"{path}, array {member.filename}"
                    arrays[member.filename.removesuffix(".npy")] = _read_npy(file, member.file_size, name)  # pyright: ignore[reportArgumentType] - a ZipExtFile
            return arrays
    except UntrustedFile:
        raise
    except MALFORMED as error:
        raise UntrustedFile(f"{path} is no .npz file: {error}") from error


def _check_size(path: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise UntrustedFile(f"{path}: expected at most {max_bytes:,} bytes, got {size:,}")


def _read_npy(file: io.BufferedIOBase, size: int, name: str) -> np.ndarray:
    """Read an array file of `size` bytes, whose header must account for every byte. Raises UntrustedFile."""
    try:
        header = read_header(file.read(min(size, HEAD)))
        file.seek(header.end)
        dtype, shape, left = _dtype(header.descr), header.shape, size - header.end
        if not (isinstance(shape, tuple) and all(type(length) is int and 0 <= length < 2**62 for length in shape)):
            raise UntrustedFile(f"{name}: expected a shape of whole numbers in its header")
        if dtype.kind == "O":
            array = unpickle(file, left, name)
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise UntrustedFile(f"{name}: expected the {shape} objects of its header, got something else")
            return array
        if math.prod(shape) * dtype.itemsize != left:
            raise UntrustedFile(f"{name}: expected the {shape} {dtype} of its header, got {left:,} bytes")
        content = bytearray(left)
        if file.readinto(content) != left:
            raise UntrustedFile(f"{name}: expected {left:,} bytes after its header, got fewer")
        array = np.frombuffer(content, dtype)
        require_characters(array)
        return array.reshape(shape, order="F" if header.fortran_order is True else "C")
    except UntrustedFile:
        raise
    except (*MALFORMED, MemoryError, TypeError) as error:
        raise UntrustedFile(f"{name} is no array file: {error}") from error


def _dtype(description: Any) -> np.dtype:
    """Return the dtype of a header: numbers, text, dates or objects. Raises ValueError."""
    if not (isinstance(description, str) and len(description) <= CODE):
        raise ValueError(f"expected one type for its array, got {str(description)[:40]}")
    dtype = np.dtype(description)
    if dtype.kind not in "biufcSUOmM" or dtype.itemsize == 0:
        raise ValueError(f"expected numbers, text or objects, got {dtype}")
    return dtype


def load_arrays(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz by name, as `load_numpy` does. Raises UntrustedFile also for an array of objects."""
    arrays = load_numpy(path, max_bytes)
    if not isinstance(arrays, dict):
        raise UntrustedFile(f"{path}: expected a .npz file")
    for name, array in arrays.items():
        if array.dtype == object:
            raise UntrustedFile(f"{path}, array {name}: expected numbers or text, got objects")
    return arrays
