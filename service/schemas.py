"""What goes over the wire: msgspec structs that decode it, and pydantic models that publish it in /openapi.json.

msgspec reads arrays of numbers several times faster than pydantic and takes neither `true` nor "1.5" for one. Hands are
described twice, and a test holds the two equal; the options of a scan are published as msgspec describes them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, ConfigDict, Field

from models.contract.bundle import BundleMeta, Measurement, TrainingSource
from models.contract.skeleton import Hand
from models.contract.task import Task

MIN_FPS, MAX_FPS, MAX_NAME = 5, 1000, 64
MAX_FILENAME, MAX_SUFFIX = 255, 8
Unit = Literal["m", "cm", "mm"]
Heatmaps = Literal["none", "points", "full"]
Point = tuple[float, float, float]
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


class FaceOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is asked of a scan: query parameters, or fields of a form."""

    units: Annotated[
        Literal["auto", "m", "cm", "mm"],
        Meta(description="of the scan and of the answer; auto: that in which it is the size of a face"),
    ] = "auto"
    model: Annotated[
        str, Meta(max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice")
    ] = ""
    heatmaps: Annotated[
        Heatmaps,
        Meta(description="at the points that the network saw, or at every point of the file: that as .npz only"),
    ] = "none"
    filename: Annotated[
        str, Meta(max_length=MAX_FILENAME, description="a name whose suffix says what kind of file the body is")
    ] = ""
    format: Annotated[
        str, Meta(max_length=MAX_SUFFIX, description="that suffix alone, with or without its dot; before filename")
    ] = ""


Future = list[list[Point]]


class ModelVersion(BaseModel):
    name: str
    version: str


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


class Landmark(BaseModel):
    index: int = Field(description="in iBUG-68 order; GET /landmarks")
    name: str = Field(description="left and right are the subject's")
    position: Point = Field(description="in the scan's frame and unit")
    confidence: float = Field(description="a probability; `confidence` of the answer says of what")


class Confidence(BaseModel):
    within: float = Field(description="in the answer's units")
    meaning: str


class FaceHeatmaps(BaseModel):
    points: list[Point] = Field(description="the points that the network saw, in the scan's frame and unit")
    indices: list[int] | None = Field(description="which points of the file they are; null if drawn on a mesh")
    values: list[list[float]] = Field(description="a row a landmark, a value a point: near 1 at the landmark")


class FaceAnswer(BaseModel):
    """Where the landmarks of a face are on a scan, in the scan's own coordinates and unit."""

    model: ModelVersion
    units: Unit = Field(description="of every length in the answer, as in the scan")
    units_inferred: bool = Field(description="true: by the size of the scan; false: as the request says")
    points: int = Field(description="points or vertices in the file")
    triangles: int = Field(description="in the file; 0 for a cloud")
    sampled: int = Field(description="points that the network saw")
    looks: int = Field(description="2 where the scan has much besides a face and a second look was at the face alone")
    landmarks: list[Landmark]
    regions: dict[str, list[int]] = Field(description="landmarks by part of the face")
    confidence: Confidence
    expected_error: list[Measurement] = Field(description="what the model's landmarks were off on its test scans")
    heatmaps: FaceHeatmaps | None = Field(default=None, description="with heatmaps=points")


class LandmarkOrder(BaseModel):
    """The landmarks by name, in order; left and right are the subject's."""

    landmarks: list[str]
    regions: dict[str, list[int]]
    edges: list[tuple[int, int]] = Field(description="between landmarks that follow each other in a region")


class VersionInfo(BaseModel):
    """A bundle that may be promoted."""

    version: str
    serving: bool = Field(description="by the process that answers")
    git_commit: str
    measurements: list[Measurement]
    lineage: dict[str, Any] | None = Field(description="job, run, seed, data and their sha256; null: it ships")


class ModelInfo(BaseModel):
    """A bundle and how it is being served; a refused one says why and has no more than its name."""

    name: str
    state: Literal["ready", "refused", "published"] = Field(description="published: it has versions, none is served")
    reason: str | None = None
    current: str | None = Field(default=None, description="the version that is to be served")
    versions: list[VersionInfo] = Field(default=[], description="the newest first, the one that ships last")
    version: str | None = None
    provider: str | None = Field(default=None, description="ONNX Runtime's execution provider in use")
    max_batch: int | None = None
    title: str | None = None
    task: Task | None = None
    symmetries: list[str] | None = None
    network: str | None = None
    parameters: int | None = None
    licence: str | None = None
    trained_on: list[TrainingSource] | None = None
    measurements: list[Measurement] | None = None


class ModelList(BaseModel):
    defaults: dict[str, str] = Field(description="by kind of task, the model of requests that name none")
    models: list[ModelInfo]


def expected_error(meta: BundleMeta) -> list[dict[str, Any]]:
    """What a model was off on its test recordings, as an answer has it."""
    return [measurement.model_dump(mode="json") for measurement in meta.measurements if measurement.split == "test"]


class JointOrder(BaseModel):
    of: Literal["hand", "body"]
    joints: list[str] = Field(description="in order; of bodies left and right are the person's own")
    bones: list[tuple[int, int]]
    mirror: list[int] = Field(description="which joint each is in a mirror; of one hand itself, of the other hand")
    carried: list[str] = Field(description="joints of a hand that are not forecast: they ride rigidly with the palm")


class Health(BaseModel):
    status: Literal["alive"]


class Readiness(BaseModel):
    status: Literal["ready", "degraded"] = Field(description="degraded: a bundle was refused, the others serve")
    models: dict[str, str] = Field(description="each model's state: ready, or why it was refused")
