"""Array files and pickles from strangers, read without running anything in them (training/data/unpickle.py) and within a size."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from training.data.unpickle import UntrustedFile, unpickle

__all__ = ["UntrustedFile", "load_numpy", "load_pickle"]

MAX_BYTES = 4 * 2**30  # 669 faces of 8192 points, normals and 68 heatmaps, the largest expected, are 1.6 GB in float32


def load_pickle(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a pickle file. Raises UntrustedFile if it names anything but arrays, or is larger than `max_bytes`."""
    size = path.stat().st_size
    _check_size(path, size, max_bytes)
    with path.open("rb") as file:
        return unpickle(file, size, str(path))


def load_numpy(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of a .npy file, or the arrays of a .npz by name; arrays of objects included. Raises UntrustedFile."""
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
                    arrays[member.filename.removesuffix(".npy")] = _read_npy(file, member.file_size, name)
            return arrays
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise UntrustedFile(f"{path} is no .npz file: {error}") from error


def _check_size(path: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise UntrustedFile(f"{path}: expected at most {max_bytes:,} bytes, got {size:,}")


def _read_npy(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """Read an array file of `size` bytes. Raises UntrustedFile."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        left = size - file.tell()
        if dtype.kind == "O":
            array = unpickle(file, left, name)
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise UntrustedFile(f"{name}: expected the {shape} objects of its header, got something else")
            return array
        if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize > left:
            raise UntrustedFile(f"{name}: expected the {shape} {dtype} of its header, got {left:,} bytes")
        content = file.read(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(bytearray(content), dtype).reshape(shape, order="F" if fortran else "C")
    except UntrustedFile:
        raise
    except (ValueError, EOFError, OSError, MemoryError, OverflowError, TypeError, SyntaxError) as error:
        raise UntrustedFile(f"{name} is no array file: {error}") from error
