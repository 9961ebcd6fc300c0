"""Bytes to clips of bodies and back: JSON, MessagePack, .npy and .npz decode to the same `DecodedClips`.

A decoded clip has its keypoints as they were sent, NaN where there is none, with how many numbers each one had.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from jaxtyping import Float, Int

from service.http.negotiation import JSON, MSGPACK, NPY, NPZ, typed
from service.http.problems import Problem
from service.tasks.arrays import (
    Decoders,
    Shape,
    check_frames,
    decode_fields,
    json_bytes,
    msgpack_bytes,
    npy_bytes,
    npz_bytes,
    options_of,
    read_npy,
    shaped,
)
from service.tasks.bodies.detections import Detections, Seen, is_document, lifted_fields, order_to_send, read, scale_of
from service.tasks.bodies.people import tracks
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
from service.tasks.endpoint import Body, Encoded

Options = TypeVar("Options", bound=BodyOptions)
LISTS = ("image", "timestamps")  # options that are 1920,1080 in a query
MOST_NUMBERS = 4  # x, y, z and a confidence


@dataclass(frozen=True)
class Clip:
    """Keypoints as they were sent. Raw keypoints are missing where all their coordinates are NaN."""

    pointer: str
    values: Float[np.ndarray, "frames joints 4"]
    count: Int[np.ndarray, "frames joints"]  # numbers of each keypoint, 0 for null
    raw: bool


@dataclass(frozen=True)
class DecodedClips(Generic[Options]):
    """A request about bodies, in the caller's form. `array` is the field that the clips were sent in."""

    options: Options
    array: str
    clips: list[Clip]
    dtype: str  # of arrays in a binary answer: that of the request, float64 for text
    prefix: str = "/"  # of pointers to options: ? where options are in the query
    warnings: tuple[str, ...] = ()  # how a document of a detector was read

    @property
    def model(self) -> str | None:
        return self.options.model

    @property
    def frames(self) -> int:
        """Return the number of frames of all clips together."""
        return sum(len(clip.values) for clip in self.clips)

    def pointer(self, name: str) -> str:
        """Return the pointer to the option `name`."""
        return f"{self.prefix}{name}"


class ClipForm(NamedTuple, Generic[Options]):
    """The form of one kind of request. The first array is one clip, the others are several clips."""

    options: type[Options]
    decoders: Decoders
    most_numbers: int  # of a keypoint

    @property
    def arrays(self) -> tuple[str, ...]:
        return self.decoders.arrays

    def shape(self, axes: tuple[int, ...]) -> Shape:
        """Return the shapes of a clip (3 axes), of several clips (4 axes), or of both."""
        one, several = (f"[{clips}frames, joints, 2 to {self.most_numbers}]" for clips in ("", "clips, "))
        description = {(3,): one, (4,): several, (3, 4): f"{one} or {several}"}[axes]
        return Shape(axes, tuple(range(2, self.most_numbers + 1)), description)


def _form(options: Any, as_json: Any, as_msgpack: Any, arrays: tuple[str, ...], most_numbers: int) -> Any:
    decoders = msgspec.json.Decoder(as_json), msgspec.msgpack.Decoder(as_msgpack)
    return ClipForm(options, Decoders(*decoders, arrays, options.__struct_fields__), most_numbers)


LIFT: ClipForm[LiftOptions] = _form(LiftOptions, LiftJson, LiftMsgpack, ("keypoints", "persons", "clips"), 3)
POSES: ClipForm[PosesOptions] = _form(PosesOptions, PosesJson, PosesMsgpack, ("past", "persons", "clips"), 3)
ACTIONS: ClipForm[ActionsOptions] = _form(
    ActionsOptions, ActionsJson, ActionsMsgpack, ("clip", "persons", "clips"), MOST_NUMBERS
)


def decode(form: ClipForm[Options], body: Body) -> DecodedClips[Options]:
    """Return the request in a body. Raises malformed-body, invalid-request, wrong-shape and too-many-frames."""
    request = _decode_npy(form, body) if body.media == NPY else _decode_fields(form, body)
    check_frames(request.frames)
    return request


def encode(document: Mapping[str, Any], media: str, dtype: str) -> Encoded:
    """Return an answer in the form of a media type. Raises not-acceptable.

    Arrays of the document are float64, (frames, joints, numbers), NaN where JSON has null.
    """
    if media == JSON:
        return Encoded(json_bytes(_with_nulls(document)), {})
    field = _several(document)
    clips = document[field] if field else [document]
    if media == MSGPACK:
        packed = _with_shape(document)
        if field:
            packed[field] = [clip and _with_shape(clip) for clip in clips]
        return Encoded(msgpack_bytes({**packed, "dtype": dtype}, dtype), {})
    known = [clip for clip in clips if clip is not None]
    if len({_array(clip).shape for clip in known}) > 1:
        raise Problem("not-acceptable", "expected clips of one length for one array, got several; ask for JSON")
    absent = np.full_like(_array(known[0]), np.nan)
    arrays = [absent if clip is None else _array(clip) for clip in clips]
    array, clips = np.stack(arrays) if field else arrays[0], known
    if media == NPZ:
        return Encoded(npz_bytes(_npz_arrays(document, clips, array.astype(dtype))), {})
    return Encoded(npy_bytes(array, dtype), {
        "x-chiron-model": document["model"]["name"],
        "x-chiron-model-version": document["model"]["version"],
        "x-chiron-fps": f"{document['fps']:g}",
        "x-chiron-joints": document["joints"],
    })  # fmt: skip


def _decode_npy(form: ClipForm[Options], body: Body) -> DecodedClips[Options]:
    options = typed(msgspec.convert, _typed(form, body.options), type=form.options, mark="?")
    values, dtype = read_npy(body.data, form.shape((3, 4)))
    array = form.arrays[0] if values.ndim == 3 else "clips"
    return DecodedClips(options, array, _from_array("", values), dtype, "?")


def _decode_fields(form: ClipForm[Options], body: Body) -> DecodedClips[Options]:
    body = replace(body, options=_typed(form, body.options))
    try:
        return _decode_struct(form, decode_fields(body, form.decoders))
    except Problem as problem:
        if problem.kind != "invalid-request" or body.media == NPZ:
            raise
        return _decode_document(form, body, problem)


def _decode_struct(form: ClipForm[Options], struct: Any) -> DecodedClips[Options]:
    options = options_of(struct, form.options)
    names = [name for name in form.arrays if getattr(struct, name) is not None]
    if len(names) != 1:
        detail = f"expected one of {', '.join(form.arrays)}, got {', '.join(names) or 'none of them'}"
        raise Problem.at("invalid-request", "", detail)
    array, value = names[0], getattr(struct, names[0])
    pointer, several = f"/{array}", array != form.arrays[0]
    if isinstance(value, bytes):
        if struct.shape is None:
            detail = "expected a shape, such as [frames, joints, 2], beside raw floats, got none"
            raise Problem.at("invalid-request", "/shape", detail)
        values = shaped(value, tuple(struct.shape), struct.dtype, pointer, form.shape((4,) if several else (3,)))
        return DecodedClips(options, array, _from_array(pointer, values), struct.dtype)
    if several and not value:
        raise Problem.at("wrong-shape", pointer, "expected at least one clip, got none")
    check_frames(sum(len(clip or ()) for clip in value) if several else len(value))
    if array == "persons":
        clips = _persons(
            [None if clip is None else _from_lists(f"{pointer}/{i}", clip) for i, clip in enumerate(value)]
        )
    else:
        lists = [(f"{pointer}/{i}", clip) for i, clip in enumerate(value)] if several else [(pointer, value)]
        clips = [_from_lists(*clip) for clip in lists]
    return DecodedClips(options, array, clips, "<f8")


def _typed(form: ClipForm[Options], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options beside a body with the types of the form: those of a query are text. Raises invalid-request."""
    types = {field.name: field.type for field in msgspec.structs.fields(form.options)}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, str) and name in types:
            plain = value.split(",") if name in LISTS else value
            try:
                value = msgspec.convert(plain, types[name], strict=False)
            except msgspec.ValidationError as error:
                raise Problem.at("invalid-request", f"?{name}", str(error)) from None
        values[name] = value
    return values


def _decode_document(form: ClipForm[Options], body: Body, problem: Problem) -> DecodedClips[Options]:
    """Return the request in a body that is a detector's document or has one in its first array; else raise `problem`."""
    try:
        value = (msgspec.json.decode if body.media == JSON else msgspec.msgpack.decode)(body.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise problem from None
    if form.most_numbers == MOST_NUMBERS and (fields := lifted_fields(value)):
        return _decode_struct(form, typed(msgspec.convert, {**fields, **body.options}, type=form.decoders.json.type))
    name = form.arrays[0]
    fields = dict(value) if isinstance(value, dict) and name in value and not is_document(value) else {name: value}
    document = fields.pop(name)
    if not is_document(document) or any(other in fields for other in form.arrays):
        raise problem
    found, fields = read(document, form.most_numbers == MOST_NUMBERS, f"/{name}"), {**fields, **body.options}
    if not found.joints:
        raise Problem.at("gap-too-long", f"/{name}", "expected a person, got no keypoint in any frame")
    stated, order = "joints" in fields, fields.setdefault("joints", found.order)
    if order is None:
        raise Problem.at("invalid-request", "/joints", order_to_send(found))
    if found.coordinates == "metres":
        fields.setdefault("axes", "camera")
    options = typed(msgspec.convert, fields, type=form.options)
    people = tracks(found, f"/{name}")
    scale = scale_of(found, getattr(options, "image", None), f"/{name}")
    clips = [_from_people(f"/{name}", seen, found, scale) for seen in people]
    array = name if len(clips) == 1 else "persons"
    warnings = () if stated or not found.guessed else (f"the joints were read in the order {order}, by their number",)
    return DecodedClips(options, array, clips, "<f8", warnings=warnings)


def _from_people(pointer: str, seen: Mapping[int, Seen], found: Detections, scale: Float[np.ndarray, " dims"]) -> Clip:
    """Return the clip of one person, NaN in frames without them."""
    shape = len(found.frames), found.joints
    values, count = np.full((*shape, MOST_NUMBERS), np.nan), np.zeros(shape, int)
    for frame, one in seen.items():
        numbers = one.numbers
        values[frame, :, : numbers.shape[1]] = numbers
        count[frame] = numbers.shape[1]
    values[..., : len(scale)] *= scale
    return Clip(pointer, values, count, raw=False)


def _persons(clips: list[Clip | None]) -> list[Clip]:
    """Return the clips of people, those who were never seen with as many empty frames as the others. Raises wrong-shape."""
    known = [clip for clip in clips if clip is not None]
    if not known:
        raise Problem.at("gap-too-long", "/persons", "expected a person, got no keypoint of anybody")
    frames, joints = len(known[0].values), max(clip.values.shape[1] for clip in known)
    absent = np.full((frames, joints, MOST_NUMBERS), np.nan), np.zeros((frames, joints), int)
    filled = [Clip(f"/persons/{i}", *absent, raw=False) if clip is None else clip for i, clip in enumerate(clips)]
    if len(lengths := {len(clip.values) for clip in filled}) > 1:
        detail = f"expected every person with as many frames, got {', '.join(map(str, sorted(lengths)))}"
        raise Problem.at("wrong-shape", "/persons", detail)
    return filled


def _from_array(pointer: str, values: Float[np.ndarray, "..."]) -> list[Clip]:
    """Return the clip of an array with three axes, or the clips of an array with four."""
    if values.ndim == 4:
        return [clip for i, one in enumerate(values) for clip in _from_array(f"{pointer}/{i}", one)]
    padded = np.full((*values.shape[:2], MOST_NUMBERS), np.nan)
    padded[..., : values.shape[2]] = values
    return [Clip(pointer, padded, np.full(values.shape[:2], values.shape[2]), raw=True)]


def _from_lists(pointer: str, frames: list[list[list[float] | None] | None]) -> Clip:
    present = [frame for frame in frames if frame is not None]
    joints = len(present[0]) if present else 0
    for index, frame in enumerate(frames):
        if frame is not None and len(frame) != joints:
            detail = f"expected {joints} joints, as in the frames before, got {len(frame)}"
            raise Problem.at("wrong-shape", f"{pointer}/{index}", detail)
    if present and not joints:
        raise Problem.at("wrong-shape", pointer, "expected joints in every frame, got none")
    points = [point or () for point in chain.from_iterable(present)]
    lengths = np.fromiter(map(len, points), int, len(points))
    numbers = np.full((len(points), MOST_NUMBERS), np.nan)
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        flat = chain.from_iterable(points[row] for row in rows)
        numbers[rows, :length] = np.fromiter(flat, np.float64, len(rows) * length).reshape(-1, length)
    seen = np.fromiter((frame is not None for frame in frames), bool, len(frames))
    values, count = np.full((len(frames), joints, MOST_NUMBERS), np.nan), np.zeros((len(frames), joints), int)
    values[seen] = numbers.reshape(len(present), joints, MOST_NUMBERS)
    count[seen] = lengths.reshape(len(present), joints)
    return Clip(pointer, values, count, raw=False)


def _several(document: Mapping[str, Any]) -> str | None:
    """Return the field of an answer that has several clips, if it has several."""
    return next((name for name in ("clips", "persons") if isinstance(_first(document.get(name)), dict)), None)


def _first(items: Any) -> Any:
    return next((item for item in items if item is not None), None) if isinstance(items, list) else None


def _array(clip: Mapping[str, Any]) -> Float[np.ndarray, "frames joints numbers"]:
    return next(value for value in clip.values() if isinstance(value, np.ndarray) and value.ndim == 3)


def _npz_arrays(document: Mapping[str, Any], clips: list[Mapping[str, Any]], array: np.ndarray) -> dict[str, Any]:
    """Return the arrays of a .npz: the poses by their name in JSON, and the fields that describe them."""
    name = next(key for key, value in clips[0].items() if isinstance(value, np.ndarray) and value.ndim == 3)
    arrays = {name: array, "times": clips[0]["times"], "fps": document["fps"], "joints": document["joints"]}
    arrays |= {"names": document["names"]} if "names" in document else {}
    arrays["missing_joints"] = np.array(document["missing_joints"], dtype=str)
    return arrays | {"model": document["model"]["name"], "version": document["model"]["version"]}


def _with_shape(clip: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an answer with the shape of its poses, if it has any, beside them."""
    shapes = [value.shape for value in clip.values() if isinstance(value, np.ndarray) and value.ndim == 3]
    return {**clip, "shape": shapes[0]} if shapes else dict(clip)


def _with_nulls(value: Any) -> Any:
    """Return the answer with None for points that are NaN."""
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
