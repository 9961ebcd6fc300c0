"""Bytes to hands and back: JSON, MessagePack and .npy.

Every form decodes to the same `HandsAsked`. Nothing is unpickled and no header is believed: a body gives at most as
many numbers as it has bytes.

What is not of hands here serves arrays of other points too.
"""

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float

from models.contract.npy import MAGIC, BadArray, read_header
from service.http.problems import Problem

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
    """Return the array of a .npy file, little-endian float32 or float64 in C order, as float64, and its dtype.

    Raises the problems malformed-body and wrong-shape.
    """
    try:
        header = read_header(body)
    except BadArray as error:
        raise Problem("malformed-body", str(error)) from None
    if header.descr not in ("<f4", "<f8") or header.fortran_order is not False:
        raise Problem.at("wrong-shape", "", "wanted a .npy array of little-endian float32 or float64 in C order")
    return shaped(body[header.end :], header.shape, header.descr, "", wanted), header.descr


def npy_bytes(array: Float[np.ndarray, "..."], dtype: str) -> bytes:
    """The array as a .npy file."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {array.shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
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
