"""service.tasks.hands.schemas."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field

from models.contract.bundle import Measurement
from models.skeletons.skeleton import Hand
from service.tasks.fields import MAX_FPS, MAX_NAME, MIN_FPS, ModelVersion, Point, Unit

Frames = list[list[Point] | None]  # null: not seen in this frame


class HandsOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything of a hand forecast that is not an array: query parameters where the body is .npy."""

    fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)]
    units: Unit = "m"
    joints: Annotated[str, Meta(max_length=MAX_NAME)] = "assembly101"
    model: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    hand: Hand | None = None


class HandsJson(HandsOptions):
    past: Frames | None = None
    left: Frames | None = None
    right: Frames | None = None


class HandsMsgpack(HandsOptions):
    """As JSON, or every array as raw little-endian floats of one `shape` and `dtype`."""

    past: Frames | bytes | None = None
    left: Frames | bytes | None = None
    right: Frames | bytes | None = None
    shape: tuple[int, int, int] | None = None
    dtype: Literal["<f4", "<f8"] = "<f4"


class HandsRequest(BaseModel):
    """Hands over the last moments, newest frame last: `past`, or `left` and `right`, or one of the two."""

    model_config = ConfigDict(extra="forbid")

    fps: float = Field(ge=MIN_FPS, le=MAX_FPS, description="frames a second of what is sent and of the answer")
    units: Unit = Field(default="m", description="of what is sent and of the answer")
    joints: str = Field(default="assembly101", max_length=MAX_NAME, description="joint order; GET /joints lists them")
    model: str | None = Field(
        default=None, max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice"
    )
    hand: Hand | None = Field(
        default=None, description="which hand `past` is; needed for one hand in an order without a palm centre"
    )
    past: Frames | None = Field(
        default=None, description="[frames][joints][3] of one hand, or left then right: [frames][2 joints][3]"
    )
    left: Frames | None = Field(
        default=None, description="[frames][joints][3], null for a frame in which it was not seen"
    )
    right: Frames | None = Field(default=None, description="as left, with as many frames")


Future = list[list[Point]]


class HandsFuture(BaseModel):
    """The future in the form of the question: `future` for `past`, `left` and `right` for those."""

    future: Future | None = None
    left: Future | None = Field(default=None, description="null if the hand was not in view")
    right: Future | None = None


class HandsAnswer(HandsFuture):
    model: ModelVersion
    fps: float
    units: Unit
    joints: str
    times: list[float] = Field(description="seconds after the last past frame, one a future frame")
    alternatives: list[HandsFuture] = Field(description="the model's further modes, where it has them")
    expected_error: list[Measurement] = Field(description="what the model's forecasts were off on its test recordings")
    filled_frames: int = Field(description="missing poses of the past that were interpolated")
    carried_joints: list[str] = Field(description="joints the model does not know: they ride rigidly with the palm")
