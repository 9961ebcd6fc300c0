"""The fields of the endpoints on bodies: msgspec structs that decode them, pydantic models that publish them.

A test checks that both descriptions are equal. A keypoint is its coordinates, with or without a confidence, or null where it
is missing. A frame without any keypoint may be null.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field

from models.contract.bundle import Measurement
from models.contract.task import MAX_FRAMES
from models.motion.plausible_bodies import STATURE_M
from service.tasks.fields import (
    MAX_FPS,
    MAX_NAME,
    MIN_FPS,
    STAMPS,
    ModelVersion,
    Point,
    Stamps,
    Unit,
)

MAX_CLIPS, MAX_SIDE, MAX_TOP = 256, 100_000, 1000
Axes = Literal["y-up", "camera", "z-up"]
RawShape = Annotated[list[int], Meta(min_length=3, max_length=4)]
Dtype = Literal["<f4", "<f8"]
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Rate = Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)]
Pixels = Annotated[float, Meta(ge=1, le=MAX_SIDE)]  # JSON writers of some languages have no other numbers
Stature = Annotated[float, Meta(ge=STATURE_M[0], le=STATURE_M[1])]
Top = Annotated[int, Meta(ge=1, le=MAX_TOP)]
Frames2 = list[list[Annotated[list[float], Meta(min_length=2, max_length=3)] | None] | None]
Frames23 = list[list[Annotated[list[float], Meta(min_length=2, max_length=4)] | None] | None]
Clips2 = Annotated[list[Frames2], Meta(max_length=MAX_CLIPS)]
Clips23 = Annotated[list[Frames23], Meta(max_length=MAX_CLIPS)]
Persons2 = Annotated[list[Frames2 | None], Meta(max_length=MAX_CLIPS)]
Persons23 = Annotated[list[Frames23 | None], Meta(max_length=MAX_CLIPS)]


class BodyOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a request that are not arrays: query parameters where the body is .npy."""

    joints: Name
    model: Name | None = None


class LiftOptions(BodyOptions):
    """The options of a lift."""

    image: tuple[Pixels, Pixels]
    fps: Rate | None = None
    timestamps: Stamps | None = None
    height: Stature | None = None
    keep_bones: bool = False


class LiftJson(LiftOptions):
    """A lift as JSON."""

    keypoints: Frames2 | None = None
    persons: Persons2 | None = None
    clips: Clips2 | None = None


class LiftMsgpack(LiftOptions):
    """A lift as MessagePack: the fields of JSON, or the array as raw little-endian floats of a `shape` and `dtype`."""

    keypoints: Frames2 | bytes | None = None
    persons: Persons2 | bytes | None = None
    clips: Clips2 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


class PosesOptions(BodyOptions):
    """The options of a forecast."""

    fps: Rate | None = None
    timestamps: Stamps | None = None


class PosesJson(PosesOptions):
    """A forecast as JSON."""

    past: Frames2 | None = None
    persons: Persons2 | None = None
    clips: Clips2 | None = None


class PosesMsgpack(PosesOptions):
    """A forecast as MessagePack, like LiftMsgpack."""

    past: Frames2 | bytes | None = None
    persons: Persons2 | bytes | None = None
    clips: Clips2 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


class ActionsOptions(BodyOptions):
    """The options of a recognition."""

    fps: Rate | None = None
    timestamps: Stamps | None = None
    units: Unit = "m"
    axes: Axes = "y-up"
    top: Top = 5


class ActionsJson(ActionsOptions):
    """A recognition as JSON."""

    clip: Frames23 | None = None
    persons: Persons23 | None = None
    clips: Clips23 | None = None


class ActionsMsgpack(ActionsOptions):
    """A recognition as MessagePack, like LiftMsgpack."""

    clip: Frames23 | bytes | None = None
    persons: Persons23 | bytes | None = None
    clips: Clips23 | bytes | None = None
    shape: RawShape | None = None
    dtype: Dtype = "<f4"


Keypoints2 = list[list[Annotated[list[float], Field(min_length=2, max_length=3)] | None] | None]
Keypoints23 = list[list[Annotated[list[float], Field(min_length=2, max_length=4)] | None] | None]
Side = Annotated[float, Field(ge=1, le=MAX_SIDE)]
A_CLIP = "[frames][joints] of [x, y] or [x, y, confidence]; null for a keypoint or a frame that was not seen"
MORE_CLIPS = "several clips instead, of any lengths; the answer has as many `clips`"
PERSONS = (
    "a clip of each person instead, all with the same number of frames, null for one who was not seen; the answer has as "
    "many `persons`"
)
WRITTEN = "or, as JSON, what OpenPose, AlphaPose, MMPose, Ultralytics or MediaPipe wrote: one document, or a list with one of each frame"


class BodyRequest(BaseModel):
    """The fields that all requests about bodies share."""

    model_config = ConfigDict(extra="forbid")

    joints: str = Field(max_length=MAX_NAME, description="joint order of a body; GET /joints lists them")
    model: str | None = Field(
        default=None, max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice"
    )


class LiftRequest(BodyRequest):
    """2D keypoints of a person in a video: `keypoints`, or `clips` of them."""

    fps: float | None = Field(default=None, ge=MIN_FPS, le=MAX_FPS, description="frames a second")
    timestamps: list[float] | None = Field(default=None, max_length=MAX_FRAMES, description=STAMPS)
    image: tuple[Side, Side] = Field(description="width and height of the image, in pixels")
    height: float | None = Field(
        default=None,
        ge=STATURE_M[0],
        le=STATURE_M[1],
        description="of the person, in metres: the poses are scaled to it; without it a model assumes a usual one",
    )
    keep_bones: bool = Field(
        default=False, description="whether each bone has one length over the clip, the same on both sides"
    )
    keypoints: Keypoints2 | None = Field(
        default=None, description=f"{A_CLIP}; in pixels, x right and y down; {WRITTEN}"
    )
    persons: list[Keypoints2 | None] | None = Field(default=None, max_length=MAX_CLIPS, description=PERSONS)
    clips: list[Keypoints2] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class PosesRequest(BodyRequest):
    """2D keypoints of a person over the last moments, newest frame last: `past`, or `clips` of them."""

    fps: float | None = Field(
        default=None, ge=MIN_FPS, le=MAX_FPS, description="frames a second of the request and of the answer"
    )
    timestamps: list[float] | None = Field(default=None, max_length=MAX_FRAMES, description=STAMPS)
    past: Keypoints2 | None = Field(default=None, description=f"{A_CLIP}; in any unit, x right and y down; {WRITTEN}")
    persons: list[Keypoints2 | None] | None = Field(default=None, max_length=MAX_CLIPS, description=PERSONS)
    clips: list[Keypoints2] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class ActionsRequest(BodyRequest):
    """A clip of a whole action: of one person (`clip`), of several together (`persons`), or `clips` of one person each."""

    fps: float | None = Field(
        default=None, ge=MIN_FPS, le=MAX_FPS, description="not needed: the answer does not depend on it"
    )
    timestamps: list[float] | None = Field(
        default=None, max_length=MAX_FRAMES, description=f"not needed for even frames: {STAMPS}"
    )
    units: Unit = Field(
        default="m", description="of coordinates in three dimensions; in two dimensions any unit will do"
    )
    axes: Axes = Field(
        default="y-up",
        description="of coordinates in three dimensions: y-up, z-up, or camera (x right, y down, z away) as POST /poses/lift gives them",
    )
    top: int = Field(default=5, ge=1, le=MAX_TOP, description="number of classes in the answer")
    clip: Keypoints23 | None = Field(
        default=None,
        description="[frames][joints] of [x, y] with x right and y down or, for models in three dimensions, [x, y, z] with y up; either"
        f" with a confidence after it; null for a keypoint or a frame that was not seen; {WRITTEN}",
    )
    persons: list[Keypoints23 | None] | None = Field(
        default=None,
        max_length=MAX_CLIPS,
        description="a clip of each person instead, all with the same number of frames, null for one who was not seen;"
        " they are recognised together",
    )
    clips: list[Keypoints23] | None = Field(default=None, max_length=MAX_CLIPS, description=MORE_CLIPS)


class BodyAnswer(BaseModel):
    """The fields that all answers about bodies share."""

    model: ModelVersion
    joints: str
    missing_joints: list[str] = Field(description="joints that the model expects and the request's order lacks")
    expected_error: list[Measurement] = Field(description="the model's errors on its test recordings")


class LostPerson(BaseModel):
    """A person of the request who is null in the answer, or was not shown to the model, and why."""

    person: int = Field(description="index in the request's `persons`")
    kind: str = Field(description="a name of GET /problems/...")
    detail: str


class Lifted(BaseModel):
    """The poses of one clip."""

    warnings: list[str] | None = Field(default=None, description="what is doubtful in the request, and how it was read")
    times: list[float] | None = Field(default=None, description="seconds from the first frame")
    poses: list[list[Point]] | None = Field(
        default=None, description="[frames][joints][3] from the pelvis, in the camera's axes: x right, y down, z away"
    )
    filled_keypoints: int | None = Field(default=None, description="missing keypoints that were interpolated")
    clipped_confidences: int | None = Field(default=None, description="confidences above 1, which were taken for 1")
    unseen_frames: list[int] | None = Field(
        default=None, description="frames without any keypoint: their poses are inferred from the frames around"
    )


class LiftAnswer(BodyAnswer, Lifted):
    """A 3D pose for every frame of `keypoints`, or of each of `clips`; `joints` is the order of the poses."""

    fps: float
    units: Literal["m"]
    axes: Literal["camera"] = Field(
        description="x right, y down, z away; POST /actions/recognize takes them as axes=camera"
    )
    names: list[str] = Field(description="the joints of the poses, in order; left and right are the person's own")
    persons: list[Lifted | None] | None = Field(default=None, description="one item for each person, null for the lost")
    lost: list[LostPerson] | None = Field(default=None, description="the persons that have no poses")
    clips: list[Lifted] | None = Field(default=None, description="one item for each clip of the request")


FlatPoint = tuple[float, float]


class Forecast(BaseModel):
    """The future of one clip."""

    warnings: list[str] | None = Field(default=None, description="what is doubtful in the request, and how it was read")
    times: list[float] | None = Field(default=None, description="seconds after the last past frame")
    future: list[list[FlatPoint | None]] | None = Field(
        default=None, description="[frames][joints][2]; null for a joint in `unforecast_joints`"
    )
    filled_keypoints: int | None = Field(default=None, description="missing keypoints that were interpolated")
    clipped_confidences: int | None = Field(default=None, description="confidences above 1, which were taken for 1")
    unforecast_joints: list[str] | None = Field(
        default=None, description="joints of the request's order that the model does not know or that were never seen"
    )


class PosesAnswer(BodyAnswer, Forecast):
    """The next poses after `past`, or after each of `clips`, in the unit, order and rate of the request."""

    fps: float
    persons: list[Forecast | None] | None = Field(
        default=None, description="one item for each person, null for the lost"
    )
    lost: list[LostPerson] | None = Field(default=None, description="the persons that have no forecast")
    clips: list[Forecast] | None = Field(default=None, description="one item for each clip of the request")


class ActionClass(BaseModel):
    """A class of action and its probability; those of all classes and `none_of_these` sum to 1."""

    name: str
    probability: float
    mirror: str | None = Field(
        default=None, description="the class of the mirrored clip, for models whose classes may name a side"
    )


class Recognised(BaseModel):
    """The classes of one clip."""

    warnings: list[str] | None = Field(default=None, description="what is doubtful in the request, and how it was read")
    recognised: str | None = Field(
        default=None,
        description="the most probable class; null if the model is unsure, and the clip shows none of its classes",
    )
    none_of_these: float | None = Field(
        default=None,
        description="the probability that the clip shows none of the classes, for models that estimate it; `recognised` is null if it"
        " is at least 0.5",
    )
    classes: list[ActionClass] | None = Field(default=None, description="the `top` classes, the most probable first")
    persons: list[int] | None = Field(
        default=None,
        description="indices of the persons that the model was shown; the others exceed its number of persons or are lost",
    )
    lost: list[LostPerson] | None = Field(default=None, description="the persons of whom nothing was seen")
    frames: int | None = Field(default=None, description="number of frames in the clip")
    clipped_confidences: int | None = Field(default=None, description="confidences above 1, which were taken for 1")


class ActionsAnswer(BodyAnswer, Recognised):
    """The actions in `clip`, of `persons` together, or in each of `clips`."""

    clips: list[Recognised] | None = Field(default=None, description="one item for each clip of the request")
