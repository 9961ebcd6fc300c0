"""Bytes to clips of bodies and back, in the forms of `wire`: JSON, MessagePack and .npy.

Every form decodes to the same `BodiesAsked`: clips of keypoints as they came, NaN where there is none, with how many numbers each had.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
import orjson
from jaxtyping import Float, Int

from models.contract.task import MAX_FRAMES
from service.http.negotiation import JSON, MSGPACK, NPY, typed
from service.http.problems import Problem
from service.tasks.arrays import Shape, msgpack_bytes, npy_bytes, read_npy, refuse_parameters, shaped
from service.tasks.bodies.schemas import (
    ActionsJson,
    ActionsMsgpack,
    ActionsOptions,
    BodyOptions,
    LiftJson,
    LiftMsgpack,
    LiftOptions,
    PosesJson,
    PosesMsgpack,
    PosesOptions,
)

Options = TypeVar("Options", bound=BodyOptions)
MOST_NUMBERS = 4  # x, y, z and a confidence


@dataclass(frozen=True)
class Clip:
    """Keypoints as they came. `count` is how many numbers one has, 0 where it is null; of `raw` ones coordinates that are all NaN are."""

    pointer: str
    values: Float[np.ndarray, "frames joints 4"]
    count: Int[np.ndarray, "frames joints"]
    raw: bool


@dataclass(frozen=True)
class BodiesAsked(Generic[Options]):
    """`array` is the name of the field that the clips came in."""

    options: Options
    array: str
    clips: list[Clip]
    dtype: str  # of arrays in a binary answer: as they came, float64 from text
    mark: str = "/"  # what a pointer to an option begins with: ? where options are parameters

    def pointer(self, name: str) -> str:
        """Where the option `name` is in the request."""
        return f"{self.mark}{name}"


class Form(NamedTuple, Generic[Options]):
    """How a request of one kind is decoded. `arrays` are the fields that its clips may come in: the first has one, others several."""

    options: type[Options]
    json: Callable[[bytes], Options]
    msgpack: Callable[[bytes], Options]
    arrays: tuple[str, ...]
    most: int  # numbers of a keypoint

    def shape(self, axes: tuple[int, ...]) -> Shape:
        said = f"[frames, joints, 2 to {self.most}]"
        said = {(3,): said, (4,): f"[clips, {said[1:]}", (3, 4): f"{said} or [clips, {said[1:]}"}[axes]
        return Shape(axes, tuple(range(2, self.most + 1)), said)


def _form(options: Any, as_json: Any, as_msgpack: Any, arrays: tuple[str, ...], most: int) -> Any:
    decoders = msgspec.json.Decoder(as_json).decode, msgspec.msgpack.Decoder(as_msgpack).decode
    return Form(options, *decoders, arrays, most)


LIFT: Form[LiftOptions] = _form(LiftOptions, LiftJson, LiftMsgpack, ("keypoints", "clips"), 3)
POSES: Form[PosesOptions] = _form(PosesOptions, PosesJson, PosesMsgpack, ("past", "clips"), 3)
ACTIONS: Form[ActionsOptions] = _form(ActionsOptions, ActionsJson, ActionsMsgpack, ("clip", "persons", "clips"), 4)


def decode(form: Form[Options], body: bytes, media: str, query: dict[str, str]) -> BodiesAsked[Options]:
    """The request. Raises malformed-body, invalid-request, wrong-shape or too-many-frames."""
    if media == NPY:
        fields = {name: value.split(",") if name == "image" else value for name, value in query.items()}
        options = typed(msgspec.convert, fields, type=form.options, strict=False, mark="?")
        values, dtype = read_npy(body, form.shape((3, 4)))
        array = form.arrays[0] if values.ndim == 3 else "clips"
        return _limited(BodiesAsked(options, array, _of_array("", values), dtype, "?"))
    refuse_parameters(query, media)
    struct = typed(form.json if media == JSON else form.msgpack, body)
    came = [name for name in form.arrays if getattr(struct, name) is not None]
    if len(came) != 1:
        wanted = " or ".join(form.arrays)
        raise Problem.at("invalid-request", "", f"wanted {wanted}; came {', '.join(came) or 'none of them'}")
    array, given = came[0], getattr(struct, came[0])
    pointer, many = f"/{array}", array != form.arrays[0]
    if isinstance(given, bytes):
        if struct.shape is None:
            raise Problem.at("invalid-request", "/shape", "raw floats want a shape, such as [frames, joints, 2]")
        values = shaped(given, tuple(struct.shape), struct.dtype, pointer, form.shape((4,) if many else (3,)))
        return _limited(BodiesAsked(struct, array, _of_array(pointer, values), struct.dtype))
    if many and not given:
        raise Problem.at("wrong-shape", pointer, "wanted at least one clip; came none")
    clips = [(f"{pointer}/{i}", clip) for i, clip in enumerate(given)] if many else [(pointer, given)]
    return _limited(BodiesAsked(struct, array, [_of_lists(*clip) for clip in clips], "<f8"))


def encode(answer: dict[str, Any], media: str, dtype: str) -> tuple[bytes, dict[str, str]]:
    """The answer's body and headers. Arrays are float64, (frames, joints, numbers), NaN for null. Raises not-acceptable."""
    if media == JSON:
        return orjson.dumps(_with_nulls(answer), option=orjson.OPT_SERIALIZE_NUMPY), {}
    if media == MSGPACK:
        packed = _with_shape(answer)
        if "clips" in answer:
            packed["clips"] = [_with_shape(clip) for clip in answer["clips"]]
        return msgpack_bytes({**packed, "dtype": dtype}, dtype), {}
    found = [_array_of(clip) for clip in answer.get("clips", [answer])]
    if len({array.shape for array in found}) > 1:
        raise Problem("not-acceptable", "a .npy is one array, and these clips are of several lengths")
    return npy_bytes(np.stack(found) if "clips" in answer else found[0], dtype), {
        "x-chiron-model": answer["model"]["name"],
        "x-chiron-model-version": answer["model"]["version"],
        "x-chiron-fps": f"{answer['fps']:g}",
        "x-chiron-joints": answer["joints"],
    }


def _limited(asked: BodiesAsked[Options]) -> BodiesAsked[Options]:
    frames = sum(len(clip.values) for clip in asked.clips)
    if frames > MAX_FRAMES:
        raise Problem("too-many-frames", f"at most {MAX_FRAMES} frames are taken in a request; {frames} came")
    return asked


def _of_array(pointer: str, values: Float[np.ndarray, "..."]) -> list[Clip]:
    """The clip of an array, or the clips of one with an axis of them."""
    if values.ndim == 4:
        return [clip for i, one in enumerate(values) for clip in _of_array(f"{pointer}/{i}", one)]
    padded = np.full((*values.shape[:2], MOST_NUMBERS), np.nan)
    padded[..., : values.shape[2]] = values
    return [Clip(pointer, padded, np.full(values.shape[:2], values.shape[2]), raw=True)]


def _of_lists(pointer: str, frames: list[list[list[float] | None] | None]) -> Clip:
    there = [frame for frame in frames if frame is not None]
    joints = len(there[0]) if there else 0
    for index, frame in enumerate(frames):
        if frame is not None and len(frame) != joints:
            detail = f"{len(frame)} joints, where frames before have {joints}"
            raise Problem.at("wrong-shape", f"{pointer}/{index}", detail)
    if there and not joints:
        raise Problem.at("wrong-shape", pointer, "wanted frames of joints; came frames of none")
    points = [point or () for point in chain.from_iterable(there)]
    lengths = np.fromiter(map(len, points), int, len(points))
    numbers = np.full((len(points), MOST_NUMBERS), np.nan)
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        flat = chain.from_iterable(points[row] for row in rows)
        numbers[rows, :length] = np.fromiter(flat, np.float64, len(rows) * length).reshape(-1, length)
    seen = np.fromiter((frame is not None for frame in frames), bool, len(frames))
    values, count = np.full((len(frames), joints, MOST_NUMBERS), np.nan), np.zeros((len(frames), joints), int)
    values[seen] = numbers.reshape(len(there), joints, MOST_NUMBERS)
    count[seen] = lengths.reshape(len(there), joints)
    return Clip(pointer, values, count, raw=False)


def _array_of(part: dict[str, Any]) -> Float[np.ndarray, "frames joints numbers"]:
    return next(value for value in part.values() if isinstance(value, np.ndarray) and value.ndim == 3)


def _with_shape(part: dict[str, Any]) -> dict[str, Any]:
    """The part of an answer with the shape of its array of points, if it has one, beside it."""
    shapes = [value.shape for value in part.values() if isinstance(value, np.ndarray) and value.ndim == 3]
    return {**part, "shape": shapes[0]} if shapes else dict(part)


def _with_nulls(value: Any) -> Any:
    """The answer with null for points that are NaN."""
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    if not isinstance(value, np.ndarray) or value.ndim != 3 or not np.isnan(value).any():
        return value
    frames = value.tolist()
    for frame, joint in np.argwhere(np.isnan(value).any(axis=-1)):
        frames[frame][joint] = None
    return frames
