"""Bytes to hands and back: JSON, MessagePack, .npy and .npz decode to the same `DecodedHands`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Bool, Float

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
from service.tasks.endpoint import Body, Encoded
from service.tasks.flat_json import parse
from service.tasks.hands.schemas import Frames, HandsJson, HandsMsgpack, HandsOptions

ARRAYS = ("past", "left", "right")
SIDES = ("future", "left", "right")  # the arrays of an answer
OPTIONS = HandsOptions.__struct_fields__
UNSEEN = (math.nan,) * 3
LISTS = ("timestamps", "at")  # options that are lists: numbers between commas in a query
HANDS_SHAPE = Shape((3,), (3,), "[frames, joints, 3]")
DECODERS = Decoders(msgspec.json.Decoder(HandsJson), msgspec.msgpack.Decoder(HandsMsgpack), ARRAYS, OPTIONS)


@dataclass(frozen=True)
class Points:
    """An array in the caller's unit. `seen` marks the frames in which the hand is present; None: those not all NaN.

    `nulls` marks points that are null, which are NaN in `values`; None: there are none.
    """

    values: Float[np.ndarray, "frames nodes 3"]
    seen: Bool[np.ndarray, " frames"] | None
    nulls: Bool[np.ndarray, "frames nodes"] | None = None


@dataclass(frozen=True)
class DecodedHands:
    """The request of a hand forecast, in the caller's form."""

    options: HandsOptions
    arrays: dict[str, Points]  # past, left or right
    dtype: str  # of arrays in a binary answer: that of the request, float64 for text
    prefix: str = "/"  # of pointers to options: ? where options are in the query

    @property
    def model(self) -> str | None:
        return self.options.model

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return max((len(points.values) for points in self.arrays.values()), default=0)

    def without_arrays(self) -> "DecodedHands":
        """Return the request with its options alone."""
        return DecodedHands(self.options, {}, self.dtype, self.prefix)

    def pointer(self, name: str) -> str:
        """Return the pointer to the field `name`."""
        return f"{'/' if name in ARRAYS else self.prefix}{name}"


def decode(body: Body) -> DecodedHands:
    """Return the request in a body. Raises malformed-body, invalid-request, wrong-shape and too-many-frames."""
    if body.media == NPY:
        lists = {name: text for name in LISTS if isinstance(text := body.options.get(name), str)}
        numbers = {name: [number.strip() for number in text.split(",")] for name, text in lists.items()}
        fields = {**body.options, **numbers}
        options = typed(msgspec.convert, fields, type=HandsOptions, strict=False, mark="?")
        values, dtype = read_npy(body.data, HANDS_SHAPE)
        check_frames(len(values))
        return DecodedHands(options, {"past": Points(values, None)}, dtype, "?")
    if body.media == JSON and (decoded := _decode_whole(body)) is not None:
        return decoded
    struct = _decode_struct(body)
    options = options_of(struct, HandsOptions)
    arrays = {name: array for name in ARRAYS if (array := getattr(struct, name)) is not None}
    if isinstance(struct, HandsMsgpack) and any(isinstance(array, bytes) for array in arrays.values()):
        raw = {name: _from_bytes(name, array, struct) for name, array in arrays.items()}
        check_frames(max(len(points.values) for points in raw.values()))
        return DecodedHands(options, raw, struct.dtype)
    check_frames(max(map(len, arrays.values()), default=0))
    return DecodedHands(options, {name: _from_lists(name, array) for name, array in arrays.items()}, "<f8")


def _decode_whole(body: Body) -> DecodedHands | None:
    """Return the request in JSON if all its hands and points are there, as nearly always; None for any other, valid or not."""
    parsed = parse(body.data, ARRAYS)
    if parsed is None or any(name in ARRAYS for name in body.options):
        return None
    fields, arrays = parsed
    try:
        options = msgspec.convert({**fields, **body.options}, type=HandsOptions)
    except msgspec.ValidationError:  # said with its place by the other way
        return None
    points = {name: Points(arrays[name], None) for name in ARRAYS if name in arrays}
    check_frames(max(map(len, arrays.values()), default=0))
    return DecodedHands(options, points, "<f8")


def _decode_struct(body: Body) -> Any:
    """Return the struct in a body; points may be objects with x, y and z, as trackers of browsers and of Unity write them."""
    try:
        return decode_fields(body, DECODERS)
    except Problem as problem:
        if problem.kind != "invalid-request" or body.media == NPZ:
            raise
        try:
            fields = (msgspec.json.decode if body.media == JSON else msgspec.msgpack.decode)(body.data)
            plain = {name: _plain_points(fields[name]) for name in ARRAYS if isinstance(fields.get(name), list)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, KeyError):
            raise problem from None
        if not any(plain[name] != fields[name] for name in plain):
            raise
        return typed(msgspec.convert, {**fields, **plain, **body.options}, type=HandsJson)


def _plain_points(frames: list[Any]) -> list[Any]:
    """Return frames with [x, y, z] for points that are objects. Raises KeyError for one without x, y or z."""
    return [
        [[point["x"], point["y"], point["z"]] if isinstance(point, dict) else point for point in frame]
        if isinstance(frame, list)
        else frame
        for frame in frames
    ]


def encode(document: Mapping[str, Any], media: str, dtype: str) -> Encoded:
    """Return an answer in the form of a media type.

    Arrays of the document are float64, (frames, nodes, 3), under `future`, `left` and `right`. Raises not-acceptable where a .npz or .npy
    cannot express the answer.
    """
    if media == JSON:
        answer = _with_nulls(document)
        if "alternatives" in document:  # not in what a stream says between forecasts
            answer["alternatives"] = [_with_nulls(mode) for mode in document["alternatives"]]
        return Encoded(json_bytes(answer), {})
    sides = [name for name in SIDES if document.get(name) is not None]
    if media == MSGPACK:
        shape = document[sides[0]].shape if sides else None
        return Encoded(msgpack_bytes({**document, "shape": shape, "dtype": dtype}, dtype), {})
    if not sides:
        raise Problem("not-acceptable", "expected a hand in view for an answer as an array, got none; ask for JSON")
    if media == NPZ:
        return Encoded(npz_bytes(_arrays(document, sides, dtype)), {})
    if further := [name for name in ("std", "probabilities") if name in document]:
        detail = f"expected a request for the forecast alone, which is what .npy has, got one for {' and '.join(further)} too"
        raise Problem("not-acceptable", f"{detail}; ask for JSON or MessagePack")
    return Encoded(npy_bytes(np.concatenate([document[name] for name in sides], axis=1), dtype), {
        "x-chiron-model": document["model"]["name"],
        "x-chiron-model-version": document["model"]["version"],
        "x-chiron-arrays": ",".join(sides),
        "x-chiron-fps": f"{document['fps']:g}",
        "x-chiron-units": document["units"],
        "x-chiron-joints": document["joints"],
        "x-chiron-filled-frames": str(document["filled_frames"]),
    })  # fmt: skip


def _with_nulls(forecast: Mapping[str, Any]) -> dict[str, Any]:
    """Return a forecast with lists in the place of arrays of points some of which are NaN, and null for these."""
    unseen = {name: np.isnan(forecast[name]) for name in SIDES if forecast.get(name) is not None}
    return {**forecast, **{name: _lists(forecast[name], nan) for name, nan in unseen.items() if nan.any()}}


def _lists(points: Float[np.ndarray, "frames nodes 3"], nan: Bool[np.ndarray, "frames nodes 3"]) -> list[list[Any]]:
    rows = zip(points.tolist(), np.asarray(nan.any(axis=2)).tolist(), strict=True)
    return [[None if none else point for point, none in zip(*row, strict=True)] for row in rows]


def _arrays(document: Mapping[str, Any], sides: list[str], dtype: str) -> dict[str, Any]:
    """Return the arrays of a .npz: forecasts, further modes as alternatives_..., std_..., and the fields that describe them.

    `intervals` (n, 2) has a row of a probability and the multiple of std for each.
    """
    arrays: dict[str, Any] = {name: document[name].astype(dtype) for name in sides}
    if document["alternatives"]:
        for name in sides:
            arrays[f"alternatives_{name}"] = np.stack([mode[name] for mode in document["alternatives"]]).astype(dtype)
    if "probabilities" in document:
        arrays["probabilities"] = document["probabilities"]
    if "std" in document:
        arrays |= {f"std_{name}": document["std"][name].astype(dtype) for name in sides}
    if "intervals" in document:
        arrays["intervals"] = np.array([(float(share), by) for share, by in document["intervals"].items()])
    arrays |= {name: document[name] for name in ("times", "fps", "units", "joints", "filled_frames", "axes")}
    arrays["carried_joints"] = np.array(document["carried_joints"], dtype=str)
    return arrays | {"model": document["model"]["name"], "version": document["model"]["version"]}


def _from_lists(name: str, frames: Frames) -> Points:
    seen = np.fromiter((frame is not None for frame in frames), bool, len(frames))
    present: list[Any] = [frame for frame in frames if frame is not None]
    nodes = len(present[0]) if present else 0
    for index, frame in enumerate(frames):
        if frame is not None and len(frame) != nodes:
            detail = f"expected {nodes} joints, as in the frames before, got {len(frame)}"
            raise Problem.at("wrong-shape", f"/{name}/{index}", detail)
    values, nulls = np.full((len(frames), nodes, 3), np.nan), None
    if any(None in frame for frame in present):
        nulls = np.zeros((len(frames), nodes), bool)
        nulls[seen] = [[point is None for point in frame] for frame in present]
        present = [[UNSEEN if point is None else point for point in frame] for frame in present]
    numbers = chain.from_iterable(chain.from_iterable(present))
    values[seen] = np.fromiter(numbers, np.float64, len(present) * nodes * 3).reshape(len(present), nodes, 3)
    return Points(values, seen, nulls)


def _from_bytes(name: str, array: Frames | bytes, struct: HandsMsgpack) -> Points:
    if not isinstance(array, bytes):
        raise Problem.at("invalid-request", f"/{name}", "expected raw floats, like the other array, got lists")
    if struct.shape is None:
        raise Problem.at(
            "invalid-request", "/shape", "expected a shape [frames, joints, 3] beside raw floats, got none"
        )
    return Points(shaped(array, struct.shape, struct.dtype, f"/{name}", HANDS_SHAPE), None)
