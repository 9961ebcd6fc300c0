"""What goes over the wire of bodies, as in `schemas`: msgspec structs that decode it, and pydantic models that publish it; a test holds
the two equal.

A keypoint is its coordinates and, if wanted, a confidence, or null where it is missing; so may a whole frame be.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field

from models.contract.bundle import Measurement
from service.tasks.fields import (
    MAX_FPS,
    MAX_NAME,
    MIN_FPS,
    ModelVersion,
    Point,
    Unit,
)

MAX_CLIPS, MAX_SIDE, MAX_TOP = 256, 100_000, 1000
RawShape = Annotated[list[int], Meta(min_length=3, max_length=4)]
Dtype = Literal["<f4", "<f8"]
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Rate = Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)]
Pixels = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
Top = Annotated[int, Meta(ge=1, le=MAX_TOP)]
Frames2 = list[list[Annotated[list[float], Meta(min_length=2, max_length=3)] | None] | None]
Frames23 = list[list[Annotated[list[float], Meta(min_length=2, max_length=4)] | None] | None]
Clips2 = Annotated[list[Frames2], Meta(max_length=MAX_CLIPS)]
Clips23 = Annotated[list[Frames23], Meta(max_length=MAX_CLIPS)]


class BodyOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything of a request that is not an array: query parameters where the body is .npy."""

    joints: Name
    model: Name | None = None


class LiftOptions(BodyOptions):
    fps: Rate
    image: tuple[Pixels, Pixels]


class LiftJson(LiftOptions):
    keypoints: Frames2 | None = None
    clips: Clips2 | None = None


class LiftMsgpack(LiftOptions):
    """As JSON, or the array as raw little-endian floats of a `shape` and `dtype`; so are the others of MessagePack."""

    keypoints: Frames2 | bytes | None = None
    clips: Clips2 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


class PosesOptions(BodyOptions):
    fps: Rate


class PosesJson(PosesOptions):
    past: Frames2 | None = None
    clips: Clips2 | None = None


class PosesMsgpack(PosesOptions):
    past: Frames2 | bytes | None = None
    clips: Clips2 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


class ActionsOptions(BodyOptions):
    fps: Rate | None = None
    units: Unit = "m"
    top: Top = 5


class ActionsJson(ActionsOptions):
    clip: Frames23 | None = None
    persons: Clips23 | None = None
    clips: Clips23 | None = None


class ActionsMsgpack(ActionsOptions):
    clip: Frames23 | bytes | None = None
    persons: Clips23 | bytes | None = None
    clips: Clips23 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


Keypoints2 = list[list[Annotated[list[float], Field(min_length=2, max_length=3)] | None] | None]
Keypoints23 = list[list[Annotated[list[float], Field(min_length=2, max_length=4)] | None] | None]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
A_CLIP = "[frames][joints] of [x, y] or [x, y, confidence]; null: a keypoint, or a frame, that was not seen"
MORE_CLIPS = "several of them instead, of any lengths; the answer's `clips` are as many"


class BodyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    joints: str = Field(max_length=MAX_NAME, description="joint order of a body; GET /joints lists them")
    model: str | None = Field(
        default=None, max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice"
    )


class LiftRequest(BodyRequest):
    """2D keypoints of a person in a video: `keypoints`, or `clips` of them."""

    fps: float = Field(ge=MIN_FPS, le=MAX_FPS, description="frames a second")
    image: tuple[Side, Side] = Field(description="width and height of the image, in pixels")
    keypoints: Keypoints2 | None = Field(default=None, description=f"{A_CLIP}; in pixels, x right and y down")
    clips: list[Keypoints2] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class PosesRequest(BodyRequest):
    """2D keypoints of a person over the last moments, newest frame last: `past`, or `clips` of them."""

    fps: float = Field(ge=MIN_FPS, le=MAX_FPS, description="frames a second of what is sent and of the answer")
    past: Keypoints2 | None = Field(default=None, description=f"{A_CLIP}; in any unit, x right and y down")
    clips: list[Keypoints2] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class ActionsRequest(BodyRequest):
    """A clip of one person (`clip`), of several together (`persons`), or `clips` of one person each; the whole of the action."""

    fps: float | None = Field(
        default=None, ge=MIN_FPS, le=MAX_FPS, description="not needed: what models are shown does not depend on it"
    )
    units: Unit = Field(default="m", description="of coordinates in three dimensions; two are in any unit")
    top: int = Field(default=5, ge=1, le=MAX_TOP, description="how many classes to answer with")
    clip: Keypoints23 | None = Field(
        default=None,
        description="[frames][joints] of [x, y] with x right and y down or, for models in three dimensions, [x, y, z] with y up; either"
        " with a confidence after it; null: a keypoint, or a frame, that was not seen",
    )
    persons: list[Keypoints23] | None = Field(
        default=None, max_length=MAX_CLIPS, description="a clip of each person instead, all with as many frames"
    )
    clips: list[Keypoints23] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class BodyAnswer(BaseModel):
    model: ModelVersion
    joints: str
    missing_joints: list[str] = Field(description="joints that the model wants and the request's order cannot give")
    expected_error: list[Measurement] = Field(description="what the model was off on its test recordings")


class Lifted(BaseModel):
    times: list[float] | None = Field(default=None, description="seconds from the first frame")
    poses: list[list[Point]] | None = Field(
        default=None, description="[frames][joints][3] from the pelvis, in the camera's axes: x right, y down, z away"
    )
    filled_keypoints: int | None = Field(default=None, description="missing keypoints that were interpolated")
    unseen_frames: list[int] | None = Field(
        default=None, description="frames without any keypoint: their poses are guessed from those around"
    )


class LiftAnswer(BodyAnswer, Lifted):
    """A 3D pose for every frame, of `keypoints` here or of each of `clips` there; `joints` is the order of the poses."""

    fps: float
    units: Literal["m"]
    names: list[str] = Field(description="the joints of the poses, in order; left and right are the person's")
    clips: list[Lifted] | None = Field(default=None, description="an item a clip of the request")


FlatPoint = tuple[float, float]


class Forecast(BaseModel):
    times: list[float] | None = Field(default=None, description="seconds after the last past frame")
    future: list[list[FlatPoint | None]] | None = Field(
        default=None, description="[frames][joints][2]; null: a joint in `unforecast_joints`"
    )
    filled_keypoints: int | None = Field(default=None, description="missing keypoints that were interpolated")
    unforecast_joints: list[str] | None = Field(
        default=None, description="joints of the request's order that the model does not know, or that were never seen"
    )


class PosesAnswer(BodyAnswer, Forecast):
    """The next poses, in the unit, order and rate of the request, after `past` here or after each of `clips` there."""

    fps: float
    clips: list[Forecast] | None = Field(default=None, description="an item a clip of the request")


class ActionClass(BaseModel):
    name: str
    probability: float
    mirror: str | None = Field(
        default=None, description="the class of the mirrored clip, of models whose classes may name a side"
    )


class Recognised(BaseModel):
    classes: list[ActionClass] | None = Field(default=None, description="the `top` ones, the most probable first")
    persons: list[int] | None = Field(
        default=None, description="which persons of the request were looked at; more than a model takes are left out"
    )
    frames: int | None = Field(default=None, description="in the clip")


class ActionsAnswer(BodyAnswer, Recognised):
    """What is done in `clip`, or by `persons` together, here or in each of `clips` there."""

    clips: list[Recognised] | None = Field(default=None, description="an item a clip of the request")
