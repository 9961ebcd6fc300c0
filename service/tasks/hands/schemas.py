"""The fields of POST /forecast/hands: msgspec structs that decode them, pydantic models that publish them.

msgspec reads arrays of numbers several times faster than pydantic, and takes neither `true` nor "1.5" for a number. The
request is described twice; a test checks that both descriptions are equal.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field

from models.contract.bundle import Measurement
from models.contract.task import MAX_FRAMES
from models.skeletons.skeleton import Hand
from service.tasks.fields import MAX_FPS, MAX_NAME, MIN_FPS, STAMPS, Axes, ModelVersion, Point, Stamps, Unit

MAX_TIMES = 1000  # of one forecast
Frames = list[list[Point | None] | None]  # null: the hand, or the joint, was not seen in this frame
Future = list[list[Point | None]]  # null: a joint that was never seen


class HandsOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a hand forecast that are not arrays: query parameters where the body is .npy."""

    fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)] | None = None
    timestamps: Stamps | None = None
    units: Unit = "m"
    joints: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    model: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    hand: Hand | None = None
    axes: Axes = "right-handed"
    horizon: Annotated[float, Meta(gt=0)] | None = None
    at: Annotated[list[Annotated[float, Meta(gt=0)]], Meta(min_length=1, max_length=MAX_TIMES)] | None = None
    spread: bool = False
    hypotheses: bool = False
    keep_bones: bool = False


class HandsJson(HandsOptions):
    """A request as JSON."""

    past: Frames | None = None
    left: Frames | None = None
    right: Frames | None = None


class HandsMsgpack(HandsOptions):
    """A request as MessagePack: the fields of JSON, or every array as raw little-endian floats of one `shape` and `dtype`."""

    past: Frames | bytes | None = None
    left: Frames | bytes | None = None
    right: Frames | bytes | None = None
    shape: tuple[int, int, int] | None = None
    dtype: Literal["<f4", "<f8"] = "<f4"


class HandsRequest(BaseModel):
    """The last moments of one hand or two, newest frame last: `past`, or `left` and `right`, or one of the two."""

    model_config = ConfigDict(extra="forbid")

    fps: float | None = Field(
        default=None, ge=MIN_FPS, le=MAX_FPS, description="frames a second of the request and of the answer"
    )
    timestamps: list[float] | None = Field(default=None, max_length=MAX_FRAMES, description=STAMPS)
    units: Unit = Field(default="m", description="of the request and of the answer")
    joints: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="joint order; GET /joints lists them; default: assembly101, or the skeleton of a model that has its own",
    )
    model: str | None = Field(
        default=None, max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice"
    )
    hand: Hand | None = Field(
        default=None, description="which hand `past` is; needed for one hand in an order without a palm centre"
    )
    axes: Axes = Field(
        default="right-handed",
        description="handedness of the coordinates: Unity's are left-handed, nearly all others right-handed",
    )
    horizon: float | None = Field(
        default=None,
        gt=0,
        description="seconds after the last frame at which the answer ends, at most the model's horizon; "
        "the answer has the frames before it at its rate, and a last one at this very time",
    )
    at: list[Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TIMES,
        description="seconds after the last frame, at most the model's horizon: the answer has these times, in this order",
    )
    spread: bool = Field(
        default=False, description="also answer with standard deviations, of a model that estimates them"
    )
    hypotheses: bool = Field(
        default=False, description="also answer with the alternatives and their probabilities, of a model that has them"
    )
    keep_bones: bool = Field(
        default=False, description="give every bone the length that it has in the last pose, from the wrist outwards"
    )
    past: Frames | None = Field(
        default=None, description="[frames][joints][3] of one hand, or left then right: [frames][2 joints][3]"
    )
    left: Frames | None = Field(
        default=None,
        description="[frames][joints][3]; null for a frame in which the hand was not seen and, for a model that takes such hands, for a "
        "point that was not seen; a point may be an object with x, y and z",
    )
    right: Frames | None = Field(default=None, description="like left, with as many frames")


class HandsFuture(BaseModel):
    """The future in the form of the request: `future` for `past`, `left` and `right` for `left` and `right`.

    If `past` has two hands and one of them is not in view, the answer has `left` and `right` instead of `future`.
    """

    future: Future | None = None
    left: Future | None = Field(default=None, description="null if the hand was not in view")
    right: Future | None = None


Deviations = list[list[float | None]]


class HandsSpread(BaseModel):
    """Standard deviations in the form of the answer, [times][joints], in the unit of the answer; null for a joint that was never seen.

    Each is that of one coordinate of the joint. An interval is the forecast plus and minus a multiple of it, which `intervals` of the
    answer has for 68 % and 95 %. It grows from 0 at the last frame. A carried joint has the root mean square of those of the wrist and the
    four knuckles that carry it.
    """

    future: Deviations | None = None
    left: Deviations | None = Field(default=None, description="null if the hand was not in view")
    right: Deviations | None = None


class HandsAnswer(HandsFuture):
    """The forecast, in the caller's unit, joint order and rate."""

    model: ModelVersion
    fps: float
    units: Unit
    axes: Axes
    joints: str = Field(description="joint order, by the first of its names")
    times: list[float] = Field(description="seconds after the last past frame, one for each future frame")
    alternatives: list[HandsFuture] = Field(
        description="the model's further modes, where it has any; those with probabilities only if `hypotheses` asks for them"
    )
    probabilities: list[float] | None = Field(
        default=None,
        description="if `hypotheses` asks for them: that the forecast, and then each alternative, is the nearest one to what will be",
    )
    std: HandsSpread | None = Field(default=None, description="if `spread` asks for it, from a model that estimates it")
    intervals: dict[str, float] | None = Field(
        default=None,
        description="beside `std`, by probability: a coordinate is within this multiple of `std` that often; 0.68 and 0.95, fitted on "
        "validation recordings; null for a model without fitted intervals",
    )
    expected_error: list[Measurement] = Field(description="the model's errors on its test recordings")
    filled_frames: int = Field(description="missing poses of the past that were interpolated")
    warnings: list[str] = Field(description="what is doubtful in the request, and how it was read")
    carried_joints: list[str] = Field(
        description="joints that the model does not forecast: they move rigidly with the palm"
    )
