"""Bytes to hands and back: JSON, MessagePack and .npy.

Every form decodes to the same `HandsAsked`. Nothing is unpickled and no header is believed: a body gives at most as
many numbers as it has bytes.

What is not of hands here serves arrays of other points too.
"""

import ast
import math
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
from jaxtyping import Bool, Float

from service.bodies import typed
from service.problems import Problem
from service.schemas import Frames, HandsJson, HandsMsgpack, HandsOptions

JSON, MSGPACK, NPY = "application/json", "application/msgpack", "application/x-npy"
TYPES = (JSON, MSGPACK, NPY)
ARRAYS = ("past", "left", "right")
NPY_MAGIC, NPY_MAX_HEADER = b"\x93NUMPY", 1024

_decode_json = msgspec.json.Decoder(HandsJson).decode
_decode_msgpack = msgspec.msgpack.Decoder(HandsMsgpack).decode
_encode_msgpack = msgspec.msgpack.Encoder().encode


class Shape(NamedTuple):
    """Which shapes an array may have: any of so many axes, the last of any of these sizes."""

    axes: tuple[int, ...]
    numbers: tuple[int, ...]
    said: str


HANDS_SHAPE = Shape((3,), (3,), "[frames, joints, 3]")


@dataclass(frozen=True)
class Points:
    """An array as it came, in the caller's unit. `seen` says which frames are there; None: those not NaN throughout."""

    values: Float[np.ndarray, "frames nodes 3"]
    seen: Bool[np.ndarray, " frames"] | None


@dataclass(frozen=True)
class HandsAsked:
    options: HandsOptions
    arrays: dict[str, Points]  # past, left or right
    dtype: str  # of arrays in a binary answer: as they came, float64 from text
    mark: str = "/"  # what a pointer to an option begins with: ? where options are parameters

    def pointer(self, name: str) -> str:
        """Where the field `name` is in the request."""
        return f"{'/' if name in ARRAYS else self.mark}{name}"


def decode_hands(body: bytes, media: str, query: dict[str, str]) -> HandsAsked:
    """The request of a hand forecast. Raises malformed-body, invalid-request or wrong-shape."""
    if media == NPY:
        options = typed(msgspec.convert, query, type=HandsOptions, strict=False, mark="?")
        values, dtype = read_npy(body, HANDS_SHAPE)
        return HandsAsked(options, {"past": Points(values, None)}, dtype, "?")
    refuse_parameters(query, media)
    struct = typed(_decode_json if media == JSON else _decode_msgpack, body)
    arrays = {name: array for name in ARRAYS if (array := getattr(struct, name)) is not None}
    if isinstance(struct, HandsMsgpack) and any(isinstance(array, bytes) for array in arrays.values()):
        return HandsAsked(
            struct, {name: _of_bytes(name, array, struct) for name, array in arrays.items()}, struct.dtype
        )
    return HandsAsked(struct, {name: _of_lists(name, array) for name, array in arrays.items()}, "<f8")


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


def encode(answer: dict[str, Any], media: str, dtype: str) -> tuple[bytes, dict[str, str]]:
    """The answer's body and headers. Arrays are float64, (frames, nodes, 3), under `future`, `left` and `right`."""
    if media == JSON:
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), {}
    if media == MSGPACK:
        shape = next(value.shape for value in answer.values() if isinstance(value, np.ndarray) and value.ndim == 3)
        return msgpack_bytes({**answer, "shape": shape, "dtype": dtype}, dtype), {}
    sides = [name for name in ("future", "left", "right") if answer.get(name) is not None]
    return npy_bytes(np.concatenate([answer[name] for name in sides], axis=1), dtype), {
        "x-chiron-model": answer["model"]["name"],
        "x-chiron-model-version": answer["model"]["version"],
        "x-chiron-arrays": ",".join(sides),
        "x-chiron-fps": f"{answer['fps']:g}",
        "x-chiron-units": answer["units"],
        "x-chiron-joints": answer["joints"],
        "x-chiron-filled-frames": str(answer["filled_frames"]),
    }


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


def _of_lists(name: str, frames: Frames) -> Points:
    seen = np.fromiter((frame is not None for frame in frames), bool, len(frames))
    there = [frame for frame in frames if frame is not None]
    nodes = len(there[0]) if there else 0
    for index, frame in enumerate(frames):
        if frame is not None and len(frame) != nodes:
            raise Problem.at(
                "wrong-shape", f"/{name}/{index}", f"{len(frame)} joints, where frames before have {nodes}"
            )
    values = np.full((len(frames), nodes, 3), np.nan)
    numbers = chain.from_iterable(chain.from_iterable(there))
    values[seen] = np.fromiter(numbers, np.float64, len(there) * nodes * 3).reshape(len(there), nodes, 3)
    return Points(values, seen)


def _of_bytes(name: str, array: Frames | bytes, struct: HandsMsgpack) -> Points:
    if not isinstance(array, bytes):
        raise Problem.at("invalid-request", f"/{name}", "wanted raw floats, as the other array; came lists")
    if struct.shape is None:
        raise Problem.at("invalid-request", "/shape", "raw floats want a shape [frames, joints, 3]")
    return Points(shaped(array, struct.shape, struct.dtype, f"/{name}", HANDS_SHAPE), None)


def shaped(data: bytes, shape: Any, dtype: str, pointer: str, wanted: Shape) -> Float[np.ndarray, "..."]:
    """Raw little-endian floats as an array of float64. Raises wrong-shape, at `pointer`."""
    whole = isinstance(shape, tuple) and all(type(n) is int and n > 0 for n in shape)
    if not whole or len(shape) not in wanted.axes or shape[-1] not in wanted.numbers:
        raise Problem.at("wrong-shape", pointer, f"wanted {wanted.said}, none of them 0; came {str(shape)[:80]}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data) != size:
        raise Problem.at("wrong-shape", pointer, f"{list(shape)} of {dtype} is {size} bytes; {len(data)} came")
    return np.frombuffer(data, dtype).reshape(shape).astype(np.float64)
