"""MATLAB files of version 5 ("MAT-File Format", MathWorks, R2019b) from strangers: matrices of numbers and rows of text, by name.

SciPy's reader, in C, crashes the process on some damaged files. This one allocates no more than `limit` bytes, and refuses what it does not
read: sparse, complex, cell and struct arrays among the wanted names; it skips them under other names.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator

import numpy as np

from training.data.unpickle import UntrustedFile

HEADER = 128
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8, ...
TEXT = {
    1: "latin-1",
    2: "latin-1",
    4: "utf-16",
    16: "utf-8",
    17: "utf-16",
}  # miINT8, miUINT8, miUINT16, miUTF8, miUTF16
MATRIX, COMPRESSED = 14, 15
CHAR = 4  # mxCHAR_CLASS
# mxDOUBLE_CLASS, ..., whose arrays may be stored in a smaller type
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x800


def read_mat(data: bytes, names: Collection[str], limit: int) -> dict[str, np.ndarray | str]:
    """Return the matrices and texts of these names, as far as the file has them. Raises UntrustedFile for a damaged file.

    A matrix has the shape and the type it has in MATLAB, a text is a str. `limit` is the number of bytes that the file may have unpacked.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise UntrustedFile("expected a .mat file of version 5, which has IM or MI at byte 126")
    arrays: dict[str, np.ndarray | str] = {}
    try:
        for kind, content in _elements(data[HEADER:], order):
            if kind == COMPRESSED:
                unpacked = zlib.decompressobj().decompress(content, limit + 1)
                limit -= len(unpacked)
                if limit < 0:
                    raise UntrustedFile("expected fewer bytes in a .mat file once it is unpacked")
                kind, content = next(_elements(unpacked, order), (0, b""))
            if kind == MATRIX:
                arrays |= _matrix(content, order, names)
    except (struct.error, zlib.error, ValueError, StopIteration, OverflowError) as error:
        raise UntrustedFile(f"expected a whole .mat file, got a damaged one: {error}") from error
    return arrays


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the content of each data element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: size and type in four bytes, the content in the next four
            kind, size, start, at = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
        else:
            start, at = at + 8, at + 8 + size + (-size % 8 if kind != COMPRESSED else 0)
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes, of which {len(data) - start} are there")
        yield kind, data[start : start + size]


def _matrix(content: bytes, order: str, names: Collection[str]) -> dict[str, np.ndarray | str]:
    """Return the array of a matrix element by its name, or nothing if its name is not wanted."""
    parts = _elements(content, order)
    (_, flags), (_, dims), (_, name) = next(parts), next(parts), next(parts)
    text = name.decode("latin-1")
    if text not in names:
        return {}
    (word,) = struct.unpack_from(f"{order}I", flags)
    shape = tuple(int(n) for n in np.frombuffer(dims, f"{order}i4"))
    kind, values = next(parts, (1, b""))
    if len(shape) != 2 or min(shape) < 0 or word & COMPLEX or word & 0xFF not in (*CLASSES, CHAR):
        raise ValueError(f"{text} is no real matrix and no text")
    if word & 0xFF == CHAR:
        if shape[0] > 1 or kind not in TEXT:
            raise ValueError(f"{text} is no row of text")
        encoding = TEXT[kind] + ({"<": "-le", ">": "-be"}[order] if TEXT[kind] == "utf-16" else "")
        return {text: values.decode(encoding)}
    if kind not in NUMBERS or math.prod(shape) * np.dtype(NUMBERS[kind]).itemsize != len(values):
        raise ValueError(f"{text} has {len(values)} bytes for a shape of {shape}")
    array = np.frombuffer(values, order + NUMBERS[kind]).reshape(shape, order="F")
    return {text: array.astype(CLASSES[word & 0xFF])}
