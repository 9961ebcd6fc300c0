"""Bytes to hands and back: JSON, MessagePack and .npy.

Every form decodes to the same `HandsAsked`. Nothing is unpickled and no header is believed: a body gives at most as
many numbers as it has bytes.

What is not of hands here serves arrays of other points too.
"""

import ast
import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float

from service.http.problems import Problem

NPY_MAGIC, NPY_MAX_HEADER = b"\x93NUMPY", 1024

_encode_msgpack = msgspec.msgpack.Encoder().encode


class Shape(NamedTuple):
    """Which shapes an array may have: any of so many axes, the last of any of these sizes."""

    axes: tuple[int, ...]
    numbers: tuple[int, ...]
    said: str


def refuse_parameters(query: dict[str, str], media: str) -> None:
    """Raises invalid-request if there are any: rather than ignore them."""
    if query:
        raise Problem.at("invalid-request", f"?{min(query)}", f"parameters of a {media} request are fields of its body")


def read_npy(body: bytes, wanted: Shape) -> tuple[Float[np.ndarray, "..."], str]:
    """The array of a .npy file (version 1.0 to 3.0, float32 or float64, C order, of the shape wanted) and its dtype.

    The header is parsed as a literal of at most NPY_MAX_HEADER bytes and must account for every byte of the file.
    """
    if body[:6] != NPY_MAGIC or len(body) < 12 or body[6] not in (1, 2, 3):
        raise Problem("malformed-body", "a .npy file begins with \\x93NUMPY and a version of 1 to 3; this does not")
    size = 2 if body[6] == 1 else 4
    start = 8 + size
    end = start + int.from_bytes(body[8:start], "little")
    if end > min(len(body), start + NPY_MAX_HEADER):
        raise Problem(
            "malformed-body", f"the .npy header has {end - start} bytes, more than the file or {NPY_MAX_HEADER}"
        )
    try:
        header = ast.literal_eval(body[start:end].decode("latin-1").strip())
        dtype, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise Problem("malformed-body", "the .npy header has no descr, fortran_order and shape") from None
    if dtype not in ("<f4", "<f8") or fortran is not False:
        raise Problem.at("wrong-shape", "", "wanted a .npy array of little-endian float32 or float64 in C order")
    return shaped(body[end:], shape, dtype, "", wanted), dtype


def npy_bytes(array: Float[np.ndarray, "..."], dtype: str) -> bytes:
    """The array as a .npy file."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {array.shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = NPY_MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    return start + array.astype(dtype).tobytes()


def msgpack_bytes(answer: dict[str, Any], dtype: str) -> bytes:
    """The answer as MessagePack, arrays of points as raw floats."""
    return _encode_msgpack(_packed(answer, dtype))


def _packed(value: Any, dtype: str) -> Any:
    """The answer with arrays of points as raw floats and other arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.astype(dtype).tobytes() if value.ndim == 3 else value.tolist()
    if isinstance(value, dict):
        return {key: _packed(item, dtype) for key, item in value.items()}
    return [_packed(item, dtype) for item in value] if isinstance(value, list) else value


def shaped(data: bytes, shape: Any, dtype: str, pointer: str, wanted: Shape) -> Float[np.ndarray, "..."]:
    """Raw little-endian floats as an array of float64. Raises wrong-shape, at `pointer`."""
    whole = isinstance(shape, tuple) and all(type(n) is int and n > 0 for n in shape)
    if not whole or len(shape) not in wanted.axes or shape[-1] not in wanted.numbers:
        raise Problem.at("wrong-shape", pointer, f"wanted {wanted.said}, none of them 0; came {str(shape)[:80]}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data) != size:
        raise Problem.at("wrong-shape", pointer, f"{list(shape)} of {dtype} is {size} bytes; {len(data)} came")
    return np.frombuffer(data, dtype).reshape(shape).astype(np.float64)
