"""service.tasks.hands.wire."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import orjson
from jaxtyping import Bool, Float

from service.http.negotiation import JSON, MSGPACK, NPY, typed
from service.http.problems import Problem
from service.tasks.arrays import Shape, msgpack_bytes, npy_bytes, read_npy, refuse_parameters, shaped
from service.tasks.hands.schemas import Frames, HandsJson, HandsMsgpack, HandsOptions

ARRAYS = ("past", "left", "right")


_decode_json = msgspec.json.Decoder(HandsJson).decode


_decode_msgpack = msgspec.msgpack.Decoder(HandsMsgpack).decode


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
