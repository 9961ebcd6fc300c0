"""Messages of a stream of hand forecasts: JSON as text, MessagePack, or raw floats behind a header of 16 bytes.

The first message has the settings, as JSON or MessagePack. In the raw form, frames and forecasts are raw, and every other message of
the service is JSON.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Bool, Float
from msgspec import Meta, Struct

from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton
from service.http.limits import MAX_MESSAGE_BYTES
from service.http.negotiation import JSON, MSGPACK, typed
from service.http.problems import Problem
from service.tasks.arrays import msgpack_bytes
from service.tasks.fields import MIN_FPS, Point
from service.tasks.hands import wire
from service.tasks.hands.orders import advice, body_of
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.wire import UNSEEN

Message = str | bytes
Form = Literal["json", "msgpack", "raw"]
Clock = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
HEADER = struct.Struct("<IId")  # number; frames skipped, 0 in a frame; timestamp, NaN for none
MAX_STREAM_FPS = 240
MAX_NUMBER = 2**53  # what JavaScript counts exactly
DTYPE = "<f4"
Number = Annotated[int, Meta(ge=0, lt=MAX_NUMBER)]


class StreamSettings(HandsOptions):
    """The first message: the options of a hand forecast, and how the frames come."""

    fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_STREAM_FPS)] | None = None
    hands: tuple[Hand, ...] = LEFT_RIGHT
    clock: Clock = "seconds"  # of the frames' timestamps
    form: Form | None = None  # None: that of the first message
    shape: tuple[int, int] | None = None  # of a raw frame, to be checked: (joints of all hands, 3)


class Named(Struct):
    """A point as an object, as trackers of browsers and of Unity write it."""

    x: float
    y: float
    z: float


Points = list[Point | Named | None]  # null: a joint that was not seen


class JsonFrame(Struct, forbid_unknown_fields=True):
    """A frame as JSON; a hand that is null or left out was not seen."""

    number: Number | None = None
    timestamp: float | None = None
    left: Points | None = None
    right: Points | None = None


class MsgpackFrame(Struct, forbid_unknown_fields=True):
    """A frame as MessagePack: the fields of JSON, or hands as raw floats."""

    number: Number | None = None
    timestamp: float | None = None
    left: Points | bytes | None = None
    right: Points | bytes | None = None


@dataclass(frozen=True)
class Frame:
    """One moment in the caller's unit, NaN where nothing was seen; `nulls` are points that were null in a hand that was not."""

    number: int | None
    timestamp: float | None
    points: Float[np.ndarray, "hands joints 3"]
    nulls: Bool[np.ndarray, "hands joints"]


_settings_json, _settings_msgpack = msgspec.json.Decoder(StreamSettings), msgspec.msgpack.Decoder(StreamSettings)
_frame_json, _frame_msgpack = msgspec.json.Decoder(JsonFrame), msgspec.msgpack.Decoder(MsgpackFrame)


def read_settings(message: Message) -> StreamSettings:
    """Return the settings in the first message, with their form. Raises malformed-body, invalid-request and body-too-large."""
    check_size(message)
    is_text = isinstance(message, str)
    settings = typed((_settings_json if is_text else _settings_msgpack).decode, message)
    faults: dict[str, str | bool] = {
        "fps": settings.fps is None and "missing required field `fps`, the usual number of frames a second",
        "timestamps": settings.timestamps is not None and "each frame has its own `timestamp`; leave it out",
        "hand": settings.hand is not None and "`hands` lists the hands of every frame; leave it out",
        "hands": settings.hands not in (LEFT_RIGHT, *((side,) for side in LEFT_RIGHT))
        and f"expected left, right, or left and right, got {list(settings.hands)}",
    }
    for name, fault in faults.items():
        if fault:
            raise Problem.at("invalid-request", f"/{name}", str(fault))
    return msgspec.structs.replace(settings, form=settings.form or ("json" if is_text else "msgpack"))


def check_size(message: Message) -> None:
    """Raise body-too-large for a message that no server has refused before it came here."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise Problem("body-too-large", f"expected a message of at most {MAX_MESSAGE_BYTES} bytes, got {len(message)}")


def encode(answer: Mapping[str, Any], *, binary: bool) -> Message:
    """Return an answer as MessagePack if it is to be binary, else as JSON."""
    if not binary:
        return wire.encode(answer, JSON, DTYPE).content.decode()
    return wire.encode(answer, MSGPACK, DTYPE).content if answer["kind"] == "forecast" else msgpack_bytes(answer, DTYPE)


class Codec:
    """The frames and answers of a session in its form."""

    def __init__(self, settings: StreamSettings, order: Skeleton) -> None:
        """Raise wrong-shape for a `shape` that is not that of the hands."""
        self._form, self._hands, self._order, self._joints = settings.form, settings.hands, order, len(order.joints)
        self.number: int | None = None  # of the newest frame, also of one that is refused for its points
        self.shape = (len(self._hands) * self._joints, 3)
        if settings.shape is not None and settings.shape != self.shape:
            what = f"{' and '.join(self._hands)} in {order.name} order"
            raise Problem.at(
                "wrong-shape", "/shape", f"expected {list(self.shape)} for {what}, got {list(settings.shape)}"
            )

    def decode(self, message: Message) -> Frame:
        """Return the frame in a message. Raises malformed-body, invalid-request and wrong-shape."""
        self.number = None
        if isinstance(message, str) is not (self._form == "json"):
            kinds = ("text", "binary") if self._form == "json" else ("binary", "text")
            raise Problem("malformed-body", f"expected frames as {kinds[0]} messages, got a {kinds[1]} one")
        if self._form == "raw":
            return self._raw(bytes(message, "utf-8") if isinstance(message, str) else message)
        struct = typed((_frame_json if isinstance(message, str) else _frame_msgpack).decode, message)
        self.number = struct.number
        for side in LEFT_RIGHT:
            if side not in self._hands and getattr(struct, side) is not None:
                detail = f"expected {' and '.join(self._hands)}, the `hands` of this session, got {side}"
                raise Problem.at("invalid-request", f"/{side}", detail)
        values = [getattr(struct, side) for side in self._hands]
        points = np.stack([self._points(side, value) for side, value in zip(self._hands, values, strict=True)])
        nulls = np.zeros(points.shape[:2], bool)
        for hand, value in enumerate(values):
            if isinstance(value, list) and None in value:
                nulls[hand] = [point is None for point in value]
        return Frame(struct.number, struct.timestamp, points, nulls)

    def encode(self, answer: Mapping[str, Any], times: int = 0) -> Message:
        """Return the message of an answer, a forecast of so many `times` or another: that is JSON in the raw form."""
        if self._form == "raw" and answer["kind"] == "forecast":
            return self._raw_forecast(answer, times)
        return encode(answer, binary=self._form == "msgpack")

    def _points(self, side: Hand, value: Points | bytes | None) -> Float[np.ndarray, "joints 3"]:
        if value is None:
            return np.full((self._joints, 3), np.nan)
        if isinstance(value, bytes):
            self._check_bytes(len(value), 12 * self._joints, f"/{side}")
            return np.frombuffer(value, DTYPE).reshape(-1, 3).astype(np.float64)
        if len(value) != self._joints:
            what = f"a {body_of(self._order)} in {self._order.name} order"
            detail = f"expected [{self._joints}][3] for {what}, got [{len(value)}][3]{advice(self._order, len(value))}"
            raise Problem.at("wrong-shape", f"/{side}", detail)
        return np.array([UNSEEN if p is None else (p.x, p.y, p.z) if isinstance(p, Named) else p for p in value])

    def _raw(self, message: bytes) -> Frame:
        self._check_bytes(len(message), HEADER.size + 4 * math.prod(self.shape), "")
        self.number, _, timestamp = HEADER.unpack_from(message)
        points = np.frombuffer(message, DTYPE, offset=HEADER.size).reshape(len(self._hands), -1, 3).astype(np.float64)
        none = np.zeros(points.shape[:2], bool)
        return Frame(self.number, None if math.isnan(timestamp) else timestamp, points, none)

    def _check_bytes(self, got: int, expected: int, pointer: str) -> None:
        if got != expected:
            detail = f"expected {expected} bytes for {' and '.join(self._hands)} in {self._order.name} order, got {got}"
            raise Problem.at("wrong-shape", pointer, detail)

    def _raw_forecast(self, answer: Mapping[str, Any], times: int) -> bytes:
        """Return the header and float32 (times, joints of all hands, 3); NaN is a hand that is not in view."""
        hands = [answer[side] for side in self._hands]
        away = np.full((times, self._joints, 3), np.nan)
        points = np.concatenate([away if hand is None else hand for hand in hands], axis=1).astype(DTYPE)
        stamp = math.nan if answer["timestamp"] is None else answer["timestamp"]
        return HEADER.pack(answer["number"] % 2**32, min(answer["skipped"], 2**32 - 1), stamp) + points.tobytes()
