"""Arrays and fields in the bodies of requests and answers: JSON, MessagePack, .npy and .npz.

Nothing is unpickled and no header is trusted: an array never has more numbers than the body has bytes for.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import orjson
from jaxtyping import Float

from models.contract.npy import MAGIC, BadArray, Npz, read_header
from models.contract.task import MAX_FRAMES
from service.http.negotiation import JSON, NPY, NPZ, typed
from service.http.problems import Problem
from service.tasks.endpoint import Body
from service.tasks.memory import Memory

CONSTANT_BYTES = 32 << 20  # for a request of any size: frames that are null take as much as others once they are arrays
FRAMES_ON_LOOP = 300  # of a request that is prepared and answered on the event loop
INFLATED_BYTES = 8 << 20  # of an array in a .npz, beyond the size of the file
MAX_LIST = 10_000  # numbers of an option in a .npz that is a list, such as the size of an image, or times

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


class Shape(NamedTuple):
    """The shapes that an array may have: one of the numbers of axes, the last axis of one of the sizes."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    description: str


class Decoders(NamedTuple):
    """The structs that a body is decoded to, as JSON and as MessagePack, and the names of their arrays and options."""

    json: msgspec.json.Decoder
    msgpack: msgspec.msgpack.Decoder
    arrays: tuple[str, ...]
    options: tuple[str, ...]


def memory_of_arrays(media: str) -> Memory:
    """Return the memory of a request with arrays.

    Measured for each byte: 5 to 43 in JSON, 7 to 97 for lists in MessagePack, whose small integers and nil are one byte, 3 to 16 in
    .npy. Coordinates with a few digits take at most 24.
    """
    return Memory(16 if media in (NPY, NPZ) else 32, CONSTANT_BYTES)


def check_frames(frames: int) -> None:
    """Raise too-many-frames beyond MAX_FRAMES: an array has room for all joints in each of them, also where it is null."""
    if frames > MAX_FRAMES:
        raise Problem("too-many-frames", f"expected at most {MAX_FRAMES} frames in a request, got {frames}")


def decode_fields(body: Body, decoders: Decoders) -> Any:
    """Return the struct in a JSON, MessagePack or .npz body, with the options beside the body over its own fields.

    Raises malformed-body, invalid-request and wrong-shape.
    """
    if body.media == NPZ:
        fields = npz_fields(body.data, decoders.arrays, decoders.options)
        return typed(msgspec.convert, {**fields, **body.options}, type=decoders.msgpack.type)
    decoder = decoders.json if body.media == JSON else decoders.msgpack
    if not body.options:
        return typed(decoder.decode, body.data)
    fields = typed(msgspec.json.decode if body.media == JSON else msgspec.msgpack.decode, body.data)
    return typed(msgspec.convert, {**fields, **body.options} if isinstance(fields, dict) else fields, type=decoder.type)


def options_of(struct: msgspec.Struct, options: type[OptionsT]) -> OptionsT:
    """Return the options of a request without its arrays, whose lists take many times the memory of the body."""
    return options(**{name: getattr(struct, name) for name in options.__struct_fields__})


def npz_fields(data: bytes, arrays: Sequence[str], options: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a .npz as MessagePack has them: arrays as raw floats of one shape and dtype, options as values.

    Raises malformed-body, invalid-request and wrong-shape.
    """
    try:
        archive = Npz(data)
        most = INFLATED_BYTES + len(data)
        loaded = {name: archive.read(name, most, text=True) for name in (*arrays, *options) if name in archive.names}
    except BadArray as error:
        raise Problem("malformed-body", str(error)) from None
    names = ", ".join(archive.names)[:200] or "none"
    fields = {name: _option(name, loaded[name]) for name in options if name in loaded}
    points = {name: loaded[name] for name in arrays if name in loaded}
    if not points:
        raise Problem("invalid-request", f"expected a .npz with an array {' or '.join(arrays)}, got {names}")
    for name, array in points.items():
        if array.dtype.kind not in "fiu":
            raise Problem.at("invalid-request", f"/{name}", f"expected an array of numbers, got {array.dtype}")
    shapes = sorted({array.shape for array in points.values()})
    if len(shapes) > 1:
        detail = f"expected {' and '.join(points)} of one shape, got {' and '.join(map(str, shapes))}"
        raise Problem("wrong-shape", detail)
    dtype = "<f4" if all(array.dtype == np.float32 for array in points.values()) else "<f8"
    raw = {name: array.astype(dtype, copy=False).tobytes() for name, array in points.items()}
    return {**fields, **raw, "shape": shapes[0], "dtype": dtype}


def _option(name: str, array: np.ndarray) -> Any:
    """Return the value of an option in a .npz. Raises invalid-request."""
    if array.ndim == 1 and len(array) <= MAX_LIST:
        return array.tolist()
    if array.ndim:
        raise Problem.at("invalid-request", f"/{name}", f"expected one value, got an array of shape {array.shape}")
    return array.item()


def read_npy(data: bytes, shape: Shape) -> tuple[Float[np.ndarray, "..."], str]:
    """Return the array of a .npy file, little-endian float32 or float64 in C order, as float64, and its dtype.

    Raises malformed-body and wrong-shape.
    """
    try:
        header = read_header(data)
    except BadArray as error:
        raise Problem("malformed-body", str(error)) from None
    if header.descr not in ("<f4", "<f8") or header.fortran_order is not False:
        order = " in Fortran order" if header.fortran_order else ""
        detail = (
            f"expected a .npy array of little-endian float32 or float64 in C order, got {str(header.descr)[:20]}{order}"
        )
        raise Problem.at("wrong-shape", "", detail)
    return shaped(data[header.end :], header.shape, header.descr, "", shape), header.descr


def shaped(data: bytes, dimensions: Any, dtype: str, pointer: str, shape: Shape) -> Float[np.ndarray, "..."]:
    """Return raw little-endian floats as an array of float64. Raises wrong-shape, at `pointer`."""
    whole = isinstance(dimensions, tuple) and all(type(n) is int and n > 0 for n in dimensions)
    if not whole or len(dimensions) not in shape.axes or dimensions[-1] not in shape.sizes:
        detail = f"expected {shape.description} with no axis of size 0, got {str(dimensions)[:80]}"
        raise Problem.at("wrong-shape", pointer, detail)
    size = math.prod(dimensions) * np.dtype(dtype).itemsize
    if len(data) != size:
        detail = f"expected {size} bytes for {list(dimensions)} of {dtype}, got {len(data)}"
        raise Problem.at("wrong-shape", pointer, detail)
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return np.frombuffer(data, dtype).reshape(dimensions).astype(np.float64)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the document as JSON; arrays are lists in it."""
    return orjson.dumps(document, default=_as_list, option=orjson.OPT_SERIALIZE_NUMPY)


def _as_list(value: Any) -> Any:
    """Return as lists an array that orjson does not take, which is one that is not contiguous."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError  # orjson says which type it is


def msgpack_bytes(document: Mapping[str, Any], dtype: str) -> bytes:
    """Return the document as MessagePack: arrays of points as raw floats, other arrays as lists."""
    return msgspec.msgpack.Encoder(enc_hook=partial(_packed, dtype)).encode(document)


def _packed(dtype: str, value: Any) -> bytes | list[Any]:
    """Return what stands for an array. Raises NotImplementedError for other values, of which msgspec knows none."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"expected an array, got {type(value)}")
    return value.astype(dtype).tobytes() if value.ndim == 3 else value.tolist()


def npy_bytes(array: Float[np.ndarray, "..."], dtype: str) -> bytes:
    """Return the array as a .npy file."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {array.shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    return start + array.astype(dtype).tobytes()


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Return the arrays as a .npz file."""
    np.savez(buffer := io.BytesIO(), allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return buffer.getvalue()
