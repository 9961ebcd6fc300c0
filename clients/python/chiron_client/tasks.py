"""The calls about motion: forecasts of hands, and lifting, forecasting and recognition of bodies. Arrays travel as MessagePack."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from chiron_client.answers import Batch, HandForecast, Lift, PoseForecast, Recognition
from chiron_client.arrays import floats, packed, read, unpacked
from chiron_client.calls import MSGPACK, Action, Reply, Request, call
from chiron_client.problems import Problem

T = TypeVar("T")
Unit = Literal["m", "cm", "mm", "in", "ft"]
Hand = Literal["left", "right"]
Array = NDArray[Any] | Sequence[Any]  # numbers, or lists of numbers with None for what was not seen
Clip = Array | Mapping[str, Any]  # an array, or fields of a request by name, arrays among them
ARRAYS = ("past", "left", "right", "keypoints", "clip", "persons")


class _HandOptions(TypedDict, total=False):
    fps: float
    units: Unit
    joints: str
    axes: Literal["right-handed", "left-handed"]
    model: str
    at: Sequence[float]
    horizon: float
    spread: bool
    hypotheses: bool
    keep_bones: bool


class HandOptions(_HandOptions, total=False):
    """The options of a forecast of hands.

    `fps` is the rate of the frames in 1/s, 5 to 1000, or `timestamps` (frames,) are their times. `units` are those of the coordinates,
    metres by default. `joints` is the order of the joints, such as "openxr"; default: the model's. `axes` are right-handed by default.
    `hand` is the side of a single hand in `past`. `at` are seconds after the last frame, or `horizon` ends frames at the request's rate.
    `spread` asks for standard deviations, `hypotheses` for alternatives with probabilities, `keep_bones` for bones of fixed lengths.
    """

    timestamps: Sequence[float]
    hand: Hand


class StreamOptions(_HandOptions, total=False):
    """The settings of a stream: those of HandOptions, the `hands` of each frame (default: both) and the unit of timestamps, `clock`."""

    hands: Sequence[Hand]
    clock: Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]


class LiftOptions(TypedDict, total=False):
    """The options of a lift.

    `joints` is the order of the keypoints, such as "coco-17", and `image` the (width, height) in pixels, both required. `fps` in 1/s, or
    `timestamps` (frames,). `height` of the person in metres scales the poses. `keep_bones` gives each bone one length.
    """

    joints: str
    image: tuple[float, float]
    fps: float
    timestamps: Sequence[float]
    height: float
    keep_bones: bool
    model: str


class PoseOptions(TypedDict, total=False):
    """The options of a forecast of poses: the order of the `joints`, required, and `fps` in 1/s or `timestamps` (frames,)."""

    joints: str
    fps: float
    timestamps: Sequence[float]
    model: str


class ActionOptions(TypedDict, total=False):
    """The options of a recognition.

    `joints` is the order of the keypoints, required. `units` and `axes` are those of three dimensions. `top` is the number of classes.
    """

    joints: str
    fps: float
    timestamps: Sequence[float]
    units: Unit
    axes: Literal["y-up", "z-up", "camera"]
    top: int
    model: str


def forecast_hands(
    past: Array | None = None,
    *,
    left: Array | None = None,
    right: Array | None = None,
    **options: Unpack[HandOptions],
) -> Action[HandForecast]:
    """Forecast the next moments of one hand or two.

    `past` [frames, joints, 3] is one hand, or [frames, 2 joints, 3] left then right, the newest frame last; or `left` and `right`
    [frames, joints, 3] each, of which one may be None. NaN is a hand, or a joint, that was not seen. Raises Problem and Unreachable.
    """
    return _post("/forecast/hands", {"past": past, "left": left, "right": right}, options, HandForecast)


def forecast_hands_batch(clips: Sequence[Clip], **options: Unpack[HandOptions]) -> Action[Batch[HandForecast]]:
    """Forecast many clips of hands in one request: arrays as `past`, or mappings with `left`, `right` and options of their own."""
    return _post_batch("/forecast/hands:batch", "past", clips, options, HandForecast)


def lift(
    keypoints: Array | None = None, *, persons: Array | None = None, **options: Unpack[LiftOptions]
) -> Action[Lift]:
    """Lift the 2D keypoints of a person to 3D poses.

    `keypoints` [frames, joints, 2 or 3] are pixels, x right and y down, with a confidence or without; or `persons`
    [persons, frames, joints, 2 or 3]. NaN is a keypoint that is missing. Raises Problem and Unreachable.
    """
    return _post("/poses/lift", {"keypoints": keypoints, "persons": persons}, options, Lift)


def lift_batch(clips: Sequence[Clip], **options: Unpack[LiftOptions]) -> Action[Batch[Lift]]:
    """Lift many clips in one request: arrays as `keypoints`, or mappings with options of their own."""
    return _post_batch("/poses/lift:batch", "keypoints", clips, options, Lift)


def forecast_poses(
    past: Array | None = None, *, persons: Array | None = None, **options: Unpack[PoseOptions]
) -> Action[PoseForecast]:
    """Forecast the next 2D poses of a person.

    `past` [frames, joints, 2 or 3] is in any unit, the newest frame last; or `persons` [persons, frames, joints, 2 or 3]. NaN is a keypoint
    that is missing. Raises Problem and Unreachable.
    """
    return _post("/forecast/poses", {"past": past, "persons": persons}, options, PoseForecast)


def forecast_poses_batch(clips: Sequence[Clip], **options: Unpack[PoseOptions]) -> Action[Batch[PoseForecast]]:
    """Forecast many clips in one request: arrays as `past`, or mappings with options of their own."""
    return _post_batch("/forecast/poses:batch", "past", clips, options, PoseForecast)


def recognise(
    clip: Array | None = None, *, persons: Array | None = None, **options: Unpack[ActionOptions]
) -> Action[Recognition]:
    """Name the action in a clip of one person, or of several `persons` together.

    `clip` [frames, joints, 2 to 4] has two dimensions in any unit, or three in `units`, each with a confidence or without; `persons` has an
    axis more. Raises Problem and Unreachable.
    """
    return _post("/actions/recognize", {"clip": clip, "persons": persons}, options, Recognition)


def recognise_batch(clips: Sequence[Clip], **options: Unpack[ActionOptions]) -> Action[Batch[Recognition]]:
    """Name the actions in many clips in one request: arrays as `clip`, or mappings with options of their own."""
    return _post_batch("/actions/recognize:batch", "clip", clips, options, Recognition)


def fields_of(arrays: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request: arrays as bytes with their shape, options as plain values, without those that are None."""
    plain = {name: _plain(value) for name, value in options.items() if value is not None}
    return {**plain, **packed(arrays)}


def batch_of(document: Mapping[str, Any], type_: type[T]) -> Batch[T]:
    """Return the answer to a batch."""
    answers = tuple(None if one is None else read(unpacked(one), type_) for one in document["answers"])
    return Batch(answers, tuple(map(Problem.of, document["failed"])))


def _post(path: str, arrays: Mapping[str, Any], options: Mapping[str, Any], type_: type[T]) -> Action[T]:
    body = msgspec.msgpack.encode(fields_of(arrays, options))
    return call(_request(path, body), lambda reply: read(unpacked(_document(reply)), type_))


def _post_batch(
    path: str, name: str, clips: Sequence[Clip], options: Mapping[str, Any], type_: type[T]
) -> Action[Batch[T]]:
    items = [_item(clip if isinstance(clip, Mapping) else {name: clip}) for clip in clips]
    body = msgspec.msgpack.encode({"items": items, "options": fields_of({}, options)})
    return call(_request(path, body), lambda reply: batch_of(_document(reply), type_))


def _item(fields: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {name: fields[name] for name in ARRAYS if name in fields}
    return fields_of(arrays, {name: value for name, value in fields.items() if name not in arrays})


def _request(path: str, body: bytes) -> Request:
    return Request("POST", path, headers={"content-type": MSGPACK, "accept": MSGPACK}, content=body)


def _document(reply: Reply) -> dict[str, Any]:
    return msgspec.msgpack.decode(reply.content)


def _plain(value: Any) -> Any:
    """Return an option as MessagePack writes it: arrays and numbers of numpy become plain ones."""
    if isinstance(value, np.generic):
        return value.item()
    return floats(value).tolist() if isinstance(value, np.ndarray) else value
