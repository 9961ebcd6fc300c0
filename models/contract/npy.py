"""NumPy's .npy and .npz formats, read from untrusted bytes: nothing is unpickled, and every header is checked.

A header is parsed as a literal of bounded length, and its shape and type must account for every byte of the array. Members of an archive
are inflated one at a time, on request, within a limit on their size and on their compression ratio.
"""

import ast
import io
import math
import re
import struct
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np

MAGIC, MAX_HEADER = b"\x93NUMPY", 1024
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
MAX_AXES = 8
MAX_MEMBERS = 1000
_DIRECTORY_ENTRY = b"PK\x01\x02"
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(
        RuntimeError,
        NotImplementedError,
        LookupError,
        ValueError,
        OverflowError,
    ),  # zipfile raises these for malformed records
)


class BadArray(ValueError):
    """Bytes that are not an array or archive of arrays that is read here."""


class ArrayTooLarge(BadArray):
    """An array or archive over a limit of its size or its number of members."""


class Header(NamedTuple):
    """A parsed .npy header: the type as NumPy writes it ("<f4"), the order, the shape, and the offset of the first byte after it."""

    descr: Any
    fortran_order: Any
    shape: Any
    end: int


def read_header(data: bytes) -> Header:
    """Parse the header of a .npy file of version 1 to 3. Raises BadArray; the fields are literals whose values are not checked."""
    if data[:6] != MAGIC or len(data) < 12 or data[6] not in (1, 2, 3):
        raise BadArray(
            f"expected a .npy file, which begins with \\x93NUMPY and a version of 1 to 3, got {data[:8]!r}; write it with numpy.save"
        )
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    if end > min(len(data), start + MAX_HEADER):
        raise BadArray(f"expected a .npy header of at most {MAX_HEADER} bytes within the file, got {end - start}")
    try:
        header = ast.literal_eval(data[start:end].decode("latin-1").strip())
        return Header(header["descr"], header["fortran_order"], header["shape"], end)
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
        raise BadArray("expected descr, fortran_order and shape in the .npy header, got another text") from None


def read_npy(data: bytes, *, text: bool = False) -> np.ndarray:
    """Return the array in a .npy file as a view of `data`. Raises BadArray.

    It has real numbers of any size and byte order, or, with `text`, text or truth values.
    """
    descr, fortran_order, shape, end = read_header(data)
    if not (
        isinstance(descr, str)
        and descr[:1] in "<>|"
        and (descr[1:] in NUMBERS or (text and (descr == "|b1" or _is_text(descr))))
    ):
        raise BadArray(f"expected a .npy of real numbers, not of objects or records, got {str(descr)[:40]!r}")
    if not (
        isinstance(shape, tuple) and len(shape) <= MAX_AXES and all(type(n) is int and 0 <= n < 2**62 for n in shape)
    ):
        raise BadArray(f"expected a shape of at most {MAX_AXES} axes in the .npy header, got {str(shape)[:80]}")
    dtype = np.dtype(descr)
    if (size := math.prod(shape) * dtype.itemsize) != len(data) - end:
        raise BadArray(f"expected {size} bytes for {shape} of {descr} in the .npy, got {len(data) - end}")
    array = np.frombuffer(data, dtype, offset=end).reshape(shape, order="F" if fortran_order is True else "C")
    if dtype.kind == "U" and not _is_unicode(np.frombuffer(data, dtype.byteorder + "u4", offset=end)):
        raise BadArray("expected text of Unicode characters in the .npy, got other numbers")
    return array


def _is_text(descr: str) -> bool:
    return re.fullmatch(r"[<>]U[0-9]{1,4}", descr) is not None


def _is_unicode(codes: np.ndarray) -> bool:
    """Return whether all code points are characters: not surrogates, and at most the largest."""
    return bool(((codes < 0xD800) | ((codes > 0xDFFF) & (codes <= 0x10FFFF))).all())


class Npz:
    """A .npz archive in memory: its names are known, and its arrays are inflated when they are read."""

    def __init__(self, data: bytes) -> None:
        """Open the archive. Raises BadArray, and ArrayTooLarge for more than MAX_MEMBERS members."""
        if (members := data.count(_DIRECTORY_ENTRY)) > MAX_MEMBERS:  # counted before zipfile makes an object for each
            raise ArrayTooLarge(f"expected a .npz of at most {MAX_MEMBERS} arrays, got {members}")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            self._members = {each.filename.removesuffix(".npy"): each for each in self._archive.infolist()}
        except _ZIP_ERRORS as error:
            raise _unopened(error) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the arrays, without .npy."""
        return tuple(self._members)

    def compressed_bytes(self, name: str) -> int:
        """Return the size of an array in the archive, for limits that depend on it."""
        return self._members[name].compress_size

    def read(self, name: str, max_bytes: int, *, text: bool = False) -> np.ndarray:
        """Return an array of at most `max_bytes`, as `read_npy`. Raises BadArray, and ArrayTooLarge before anything is inflated."""
        member = self._members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise BadArray(
                f"expected {name[:40]!r} in the .npz stored or deflated and not encrypted; write it with numpy.savez"
            )
        if member.file_size > max_bytes:
            raise ArrayTooLarge(
                f"expected {name[:40]!r} in the .npz of at most {max_bytes} bytes, got {member.file_size} from {member.compress_size}"
            )
        try:
            with self._archive.open(member) as file:
                content = file.read(member.file_size)
        except _ZIP_ERRORS as error:
            raise _unopened(error) from None
        return read_npy(content, text=text)


def _unopened(error: Exception) -> BadArray:
    return BadArray(f"expected a .npz archive, got bytes that cannot be opened as one: {str(error)[:80]}")
