"""The options of POST /landmarks/face, which msgspec decodes and publishes, and its answer, which pydantic publishes."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from models.contract.bundle import Measurement
from service.tasks.fields import MAX_FILENAME, MAX_NAME, MAX_SUFFIX, ModelVersion, Point, Unit

Heatmaps = Literal["none", "points", "full"]


class FaceOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of a request: query parameters, or fields of a form."""

    units: Annotated[
        Literal["auto", "m", "cm", "mm", "in", "ft"],
        Meta(
            description="of the scan and of the answer; auto: m, cm or mm, the one in which scan and face have the size of a person's"
        ),
    ] = "auto"
    model: Annotated[
        str, Meta(max_length=MAX_NAME, description="GET /models lists the names; default: the service's choice")
    ] = ""
    heatmaps: Annotated[
        Heatmaps,
        Meta(
            description="at the points that the network saw (points), or at every point of the file (full), as .npz only"
        ),
    ] = "none"
    aligned: Annotated[
        bool,
        Meta(
            description="answer with the scan itself instead of its landmarks, in the head's frame and the scan's unit, as model/vnd.ply"
        ),
    ] = False
    filename: Annotated[
        str, Meta(max_length=MAX_FILENAME, description="a name whose suffix tells the format of the body")
    ] = ""
    format: Annotated[
        str,
        Meta(
            max_length=MAX_SUFFIX,
            description="the suffix alone, with or without its dot; takes precedence over filename",
        ),
    ] = ""


class Landmark(BaseModel):
    """One landmark of a face."""

    index: int = Field(description="in iBUG-68 order, which GET /landmarks lists")
    name: str = Field(description="left and right are the subject's")
    position: Point = Field(description="in the scan's frame and unit")
    confidence: float = Field(description="a probability, explained in the answer's `confidence`")
    seen: bool = Field(
        description="whether the scan has surface there; if not, the position is a guess from the rest of the face"
    )


class Confidence(BaseModel):
    """The meaning of the landmarks' confidences."""

    within: float = Field(description="in the answer's units")
    meaning: str


class FaceDistance(BaseModel):
    """A distance between landmarks, in the answer's units."""

    value: float
    uncertainty: float = Field(
        description="one standard deviation, computed from the confidences of the landmarks at its ends"
    )


class FaceHeatmaps(BaseModel):
    """The network's heatmaps over the points that it saw."""

    points: list[Point] = Field(description="the points that the network saw, in the scan's frame and unit")
    indices: list[int] | None = Field(description="the points' indices in the file; null if they were drawn on a mesh")
    values: list[list[float]] = Field(
        description="one row for each landmark, one value for each point: near 1 at the landmark"
    )


class FaceAnswer(BaseModel):
    """The landmarks of a face on a scan, in the scan's own coordinates and unit."""

    model: ModelVersion
    units: Unit = Field(description="of every length in the answer, as in the scan")
    units_inferred: bool = Field(description="true: inferred from the size of the scan; false: given in the request")
    points: int = Field(description="points or vertices in the file")
    dropped: int = Field(
        description="points of a cloud that were not used because they are not measurements: NaN, or zeros that occur twice or more"
    )
    triangles: int = Field(description="in the file; 0 for a cloud")
    sampled: int = Field(description="points that the network saw")
    looks: int = Field(
        description="how often the network was run: 2 if the scan shows much besides a face, more if it shows a whole person"
    )
    landmarks: list[Landmark]
    regions: dict[str, list[int]] = Field(description="landmarks by part of the face")
    confidence: Confidence
    pose: list[list[float]] = Field(
        description="[4][4]: maps the head's frame to the scan's, in the answer's units; its columns are x to the person's left, "
        "y up, z forward out of the face, and the origin between the eyes"
    )
    distances: dict[str, FaceDistance] = Field(
        description="interocular (between the centres of the eyes), outer_eye_corners, nose_width (alae), "
        "mouth_width (corners), face_height (nasion to chin)"
    )
    warnings: list[str] = Field(
        description="what to know before believing the answer, such as that the scan may be mirrored"
    )
    expected_error: list[Measurement] = Field(description="the model's errors on its test scans")
    heatmaps: FaceHeatmaps | None = Field(default=None, description="with heatmaps=points")
