"""The numbers of a glTF: accessors, dense and sparse, as views of its buffers (glTF 2.0, 3.6)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scans.cloud import TooBig, Unreadable

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3}


@dataclass(frozen=True)
class Document:
    """The parsed JSON, the bytes of each buffer, and the largest number of points."""

    json: dict[str, Any]
    buffers: list[bytes]
    max_points: int


def accessor(document: Document, index: Any, kind: str) -> np.ndarray:
    """Return the (count, 1 or 3) array of an accessor, as it is stored or, if it is normalized, as fractions.

    Raises Unreadable for an accessor of another kind or without data, and TooBig for more zeros than the document may have points.
    """
    stored = document.json["accessors"][natural(index)]
    sparse = stored.get("sparse")
    if stored["type"] != kind or ("bufferView" not in stored and sparse is None):
        raise Unreadable(f"expected a glTF {kind} with a buffer view, got {str(stored)[:120]}; export it so")
    dtype, width, count = np.dtype(COMPONENTS[stored["componentType"]]), WIDTHS[kind], natural(stored["count"])
    if "bufferView" in stored:
        array = _view(document, stored, dtype, width, count)
    elif count * width <= 6 * document.max_points:  # as many as corners of twice as many triangles
        array = np.zeros((count, width), dtype)
    else:
        raise TooBig(f"expected at most {document.max_points} points in a glTF, got a sparse accessor of {count}")
    if sparse is not None:
        array = _with_exceptions(document, array, sparse)
    if stored.get("normalized") is True and dtype.kind in "iu":
        return np.maximum(array / np.iinfo(dtype).max, -1)
    return array


def natural(value: Any) -> int:
    """Return a count or an index of the document. Raises Unreadable for anything else."""
    if type(value) is not int or not 0 <= value < 2**40:
        raise Unreadable(f"expected a count or an index in a glTF, got {str(value)[:40]!r}")
    return value


def bytes_of_view(document: Document, index: Any) -> bytes:
    """Return the bytes of a buffer view. Raises Unreadable if the buffer has fewer."""
    view = document.json["bufferViews"][natural(index)]
    buffer, begin, size = document.buffers[natural(view["buffer"])], _offset(view), natural(view["byteLength"])
    if begin + size > len(buffer):
        raise Unreadable(f"expected {size} bytes from {begin} in a glTF buffer, got {len(buffer)} in all")
    return buffer[begin : begin + size]


def _view(document: Document, place: dict[str, Any], dtype: np.dtype, width: int, count: int) -> np.ndarray:
    """Return `count` rows from where `place` says: a buffer view, and an offset in it. Raises Unreadable if there are fewer."""
    view = document.json["bufferViews"][natural(place["bufferView"])]
    buffer = document.buffers[natural(view["buffer"])]
    stride = natural(view.get("byteStride", 0)) or dtype.itemsize * width
    begin, start = _offset(view), _offset(place)
    size = min(natural(view["byteLength"]), len(buffer) - begin) - start
    if count == 0 or stride < dtype.itemsize * width or (count - 1) * stride + dtype.itemsize * width > size:
        raise Unreadable(
            f"expected {count} items every {stride} bytes, as a glTF accessor announces, got {max(size, 0)} bytes"
        )
    return np.ndarray((count, width), dtype, buffer, begin + start, (stride, dtype.itemsize))


def _with_exceptions(document: Document, array: np.ndarray, sparse: dict[str, Any]) -> np.ndarray:
    """Return a copy of the array in which a sparse accessor's rows take the place of others. Raises Unreadable."""
    count, dtype = natural(sparse["count"]), np.dtype(COMPONENTS[sparse["indices"]["componentType"]])
    rows = _view(document, sparse["indices"], dtype, 1, count)[:, 0]
    if dtype.kind != "u" or rows[-1] >= len(array) or (rows[1:] <= rows[:-1]).any():
        raise Unreadable(f"expected increasing indices below {len(array)} in a sparse glTF accessor, got others")
    array = array.copy()
    array[rows] = _view(document, sparse["values"], array.dtype, array.shape[1], count)
    return array


def _offset(place: dict[str, Any]) -> int:
    return natural(place.get("byteOffset", 0))
