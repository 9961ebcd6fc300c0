"""The task of landmarks on a depth map."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from models.contract.base_task import BaseTask, Counted
from models.contract.symmetry import OnMap
from models.contract.tensor import TensorSpec
from models.skeletons.face import FACE68

FEWEST_POINTS = 1024  # of a scan


class FaceMap(BaseTask):
    """A depth map of a scan that faces a camera to its 68 landmarks and, for each landmark, a heatmap over the map.

    `depth` (batch, size, size) is the height of the surface above the middle of the map towards the camera, in metres; what was not seen
    has the depth of its surroundings. `seen` (batch, size, size) is 0 where no point was seen and near 1 where many were. Pixels are
    `pitch_m` apart; columns run along x and rows along y of the camera's right-handed frame, whose z is towards the camera and whose origin
    is in the middle of the map. The size is odd, so that a quarter turn maps pixels to pixels at every second pixel too.

    `heatmaps` (batch, 68, heat, heat) is over every second pixel: 1 at a landmark and exp(-d^2 / 2 sigma^2) at a distance d from it in the
    map. `landmarks` (batch, 68, 3) are in metres in the camera's frame. `confidence` is that of FaceLandmarks.
    """

    counted: ClassVar[Counted] = Counted("scans", "people")

    kind: Literal["face-map"] = "face-map"
    size: int = Field(default=49, ge=9, le=513)
    pitch_m: float = Field(default=0.0045, gt=0, le=1)
    sigma_m: float = Field(default=0.0095, gt=0, le=1)
    confident_m: float = Field(default=0.003, gt=0, le=1)
    order: Literal["ibug68"] = "ibug68"

    @field_validator("size")
    @classmethod
    def _odd_at_every_level(cls, size: int) -> int:
        if size % 8 != 1:
            raise ValueError(f"expected a size of 8 n + 1 pixels, which is odd after three halvings, got {size}")
        return size

    @property
    def fewest(self) -> int:
        """Return the number of points that a scan must have."""
        return FEWEST_POINTS

    @property
    def heat(self) -> int:
        """Return the size of the heatmaps."""
        return self.size // 2 + 1

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the depth and how much was seen of it."""
        shape, moves = ("batch", self.size, self.size), OnMap(form="fields")
        return {
            "depth": TensorSpec(shape=shape, unit="m", moves=moves),
            "seen": TensorSpec(shape=shape, unit="", moves=moves),
        }

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return heatmaps, landmarks and confidences."""
        landmarks, mirror = len(FACE68.joints), FACE68.mirror
        heatmaps = ("batch", landmarks, self.heat, self.heat)
        return {
            "heatmaps": TensorSpec(shape=heatmaps, unit="", moves=OnMap(form="fields", mirror=mirror)),
            "landmarks": TensorSpec(
                shape=("batch", landmarks, 3), unit="m", moves=OnMap(form="points", mirror=mirror), dtype="float64"
            ),
            "confidence": TensorSpec(shape=("batch", landmarks), unit="", moves=OnMap(form="numbers", mirror=mirror)),
        }
