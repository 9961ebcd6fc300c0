"""service.tasks.faces.schemas."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from models.contract.bundle import Measurement
from service.tasks.fields import MAX_FILENAME, MAX_NAME, MAX_SUFFIX, ModelVersion, Point, Unit

Heatmaps = Literal["none", "points", "full"]


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
