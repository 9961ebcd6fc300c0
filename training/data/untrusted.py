"""Pickles and object arrays from strangers, read without running anything in them.
 Data sets are published as pickles, and a pickle may name any function to be called. Here only NumPy's array, dtype and
scalar can be named, and even these are not NumPy's own constructors, which trust what they are given, but small
stand-ins that build plain arrays from bytes of the right length. What comes back is made of lists, tuples, dicts, str,
bytes, numbers, None and arrays.
"""

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 4 * 2**30  # 669 faces of 8192 points, normals and 68 heatmaps, the largest expected, are 1.6 GB in float32


class UntrustedFile(ValueError):
    """A file refused: it is too large, malformed, or asks for something to be run."""


def load_pickle(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """What a pickle file holds. Raises UntrustedFile if it names anything but arrays, or is larger than `max_bytes`."""
    _check_size(path, path.stat().st_size, max_bytes)
    with path.open("rb") as file:
        return _unpickle(file, str(path))


def load_numpy(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file or the arrays of a .npz by name, object arrays included. Raises UntrustedFile."""
    _check_size(path, path.stat().st_size, max_bytes)
    try:
        if path.suffix != ".npz":
            with path.open("rb") as file:
                return _read_npy(file, str(path), max_bytes)
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(member.file_size for member in archive.infolist()), max_bytes)
            arrays = {}
            for member in archive.infolist():
                with archive.open(member) as file:
                    where = f"{path}, array {member.filename}"
                    arrays[member.filename.removesuffix(".npy")] = _read_npy(io.BytesIO(file.read()), where, max_bytes)
            return arrays
    except zipfile.BadZipFile as error:
        raise UntrustedFile(f"{path} is no .npz file: {error}") from error


def _check_size(path: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise UntrustedFile(f"{path} holds {size:,} bytes; at most {max_bytes:,} are read")


def _read_npy(file: io.BufferedIOBase, where: str, max_bytes: int) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.kind == "O":
            array = _unpickle(file, where)
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise UntrustedFile(f"{where}: the header says {shape} objects, and the pickle is none such")
            return array
        if math.prod(shape) * dtype.itemsize > max_bytes:
            raise UntrustedFile(f"{where}: the header says {shape} {dtype}, and at most {max_bytes:,} bytes are read")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except UntrustedFile:
        raise
    except (ValueError, EOFError, OSError, MemoryError, OverflowError) as error:
        raise UntrustedFile(f"{where} is no array file: {error}") from error


def _unpickle(file: io.BufferedIOBase, where: str) -> Any:
    try:
        return _arrays_in(_ArraysOnly(file, where).load(), {})
    except UntrustedFile:
        raise
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        raise UntrustedFile(f"{where} is no readable pickle: {type(error).__name__}: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """An unpickler whose only globals stand in for NumPy's, made anew for each file, as a pickle can set attributes."""

    def __init__(self, file: io.BufferedIOBase, where: str) -> None:
        super().__init__(file)
        self.where = where

        class Dtype(_Dtype):
            pass

        class Array(_Array):
            pass

        stand_ins = {
            "ndarray": Array,
            "dtype": Dtype,
            "_reconstruct": lambda kind, shape, code: Array(),
            "scalar": lambda dtype, raw: dtype.decode(raw, ())[()],
            "_frombuffer": lambda raw, dtype, shape, order: dtype.decode(raw, shape, order),
        }
        modules = [
            "numpy",
            *(f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric")),
        ]
        self.known: dict[tuple[str, str], Any] = {
            (module, name): stand_ins[name] for module in modules for name in stand_ins
        }
        # bytes in protocols before 3
        self.known["_codecs", "encode"] = lambda text, encoding: text.encode("latin1")
        self.known["__builtin__", "bytes"] = lambda: b""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise UntrustedFile(
                f"{self.where} asks for {module}.{name}; from a pickle come arrays and plain values only"
            )
        return self.known[module, name]


class _Dtype:
    """Stands in for numpy.dtype: a code such as "f8", and a byte order from the state."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufSUO" or self.dtype.fields or self.dtype.subdtype:
            raise UntrustedFile(f"arrays of {code!r} are not read from a pickle; numbers, text and objects are")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])

    def decode(self, raw: Any, shape: Any, order: str = "C") -> np.ndarray:
        if self.dtype.kind != "O":
            flat = np.frombuffer(bytes(raw), dtype=self.dtype).copy()
            return flat.reshape(shape, order="F" if order == "F" else "C")
        if not isinstance(raw, list) or len(raw) != math.prod(shape):
            raise UntrustedFile(f"an object array of shape {shape} wants a list of as many objects")
        flat = np.empty(len(raw), dtype=object)
        for place, item in enumerate(raw):  # one by one: NumPy would take a list of arrays apart
            flat[place] = item
        return flat.reshape(shape)  # objects are listed in C order, whatever the order of the array


class _Array:
    """Stands in for numpy.ndarray: empty until its state comes."""

    array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = dtype.decode(raw, shape, "F" if fortran else "C")


def _arrays_in(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """The value with its arrays in place of stand-ins; `done` keeps shared parts shared, and their ids from reuse."""
    if id(value) in done:
        return done[id(value)][1]
    result: Any = value
    if isinstance(value, _Array):
        result = _arrays_in(value.array, done)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        flat = value.reshape(-1)
        for place, item in enumerate(flat):
            flat[place] = _arrays_in(item, done)
    elif isinstance(value, dict):
        result = {_arrays_in(key, done): _arrays_in(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = type(value)(_arrays_in(item, done) for item in value)
    elif not isinstance(value, (str, bytes, int, float, complex, type(None), np.ndarray, np.generic)):
        raise UntrustedFile(f"a {type(value).__name__} is not read from a pickle")
    done[id(value)] = (value, result)
    return result
