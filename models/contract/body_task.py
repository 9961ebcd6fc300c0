"""What a model of body motion is asked: lift 2D to 3D, forecast in 2D, recognise an action; Chirality Nets' three tasks (arXiv:1911.00029).

Keypoints are x right, y down, in the unit that the task names, from the mirror plane x = 0. One that is missing is 0 in every number, so
that the mirror leaves it where it is; where the task has a `confidence` it is the last number.
"""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.contract.symmetry import Mirror
from models.contract.tensor import TensorSpec
from models.skeletons.body import get_body_order

MOST_FRAMES = 10_000  # of one clip; two minutes and more at any camera's rate


class _BodyTask(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    order: str = Field(description="the joint order of what comes out, and of what goes in where nothing else says")

    @field_validator("order", "seen_order", check_fields=False)
    @classmethod
    def _known(cls, order: str) -> str:
        get_body_order(order)
        return order


def of_joints(order: str) -> Mirror:
    """How the chirality transform moves bodies in this joint order."""
    return Mirror(mirror=get_body_order(order).mirror)


class PoseLift(_BodyTask):
    """2D keypoints of a clip to the 3D poses behind them.

    `keypoints` is (batch, frames, seen joints, 2, or 3 with confidence), x and y from -1 to 1 across the image's width
    (`body_motion.normalise`), 1/fps seconds apart. `poses` is (batch, frames - receptive + 1, joints, 3) in metres from the pelvis, in the
    camera's axes (x right, y down, z forward): one for each frame that has receptive // 2 frames on both sides.
    """

    kind: Literal["pose-lift"] = "pose-lift"
    order: str = "h36m-17"
    seen_order: str = "h36m-17"
    receptive: int = Field(default=27, ge=1, le=729)
    fps: float = Field(default=30, gt=0, le=1000)
    confidence: bool = False

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.receptive % 2 == 0:
            raise ValueError(
                f"a receptive field has a frame in its middle: an odd number of frames, not {self.receptive}"
            )
        return self

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        shape = ("batch", "frames", len(get_body_order(self.seen_order).joints), 3 if self.confidence else 2)
        return {"keypoints": TensorSpec(shape=shape, unit="half widths", moves=of_joints(self.seen_order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        shape = ("batch", "poses", len(get_body_order(self.order).joints), 3)
        return {"poses": TensorSpec(shape=shape, unit="m", moves=of_joints(self.order))}

    @property
    def axes(self) -> dict[str, Sequence[int]]:
        """The frames that a clip may have."""
        return {"frames": range(self.receptive, MOST_FRAMES + self.receptive)}


class PoseForecast(_BodyTask):
    """Past 2D poses to future ones, in units of a box: from -1 to 1 along its longer side (`body_motion.boxed`).

    `past` is (batch, past, joints, 2, or 3 with confidence), `future` (batch, future, joints, 2). The box is that of the `past` poses, or,
    as published for Penn Action, that of the whole clip, which nobody knows who forecasts it. Frames are 1/fps seconds apart; without `fps`
    they are spread over a clip of any length (`body_motion.penn_sample`), and such a model is for the record alone.
    """

    kind: Literal["pose-forecast"] = "pose-forecast"
    order: str = "h36m-17"
    past: int = Field(ge=1, le=1000)
    future: int = Field(ge=1, le=1000)
    fps: float | None = Field(default=None, gt=0, le=1000)
    box: Literal["clip", "past"] = "past"
    confidence: bool = False

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        shape = ("batch", self.past, len(get_body_order(self.order).joints), 3 if self.confidence else 2)
        return {"past": TensorSpec(shape=shape, unit="half boxes", moves=of_joints(self.order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        shape = ("batch", self.future, len(get_body_order(self.order).joints), 2)
        return {"future": TensorSpec(shape=shape, unit="half boxes", moves=of_joints(self.order))}

    @property
    def axes(self) -> dict[str, Sequence[int]]:
        """No named axis but the batch."""
        return {}


class ActionRecognition(_BodyTask):
    """A clip of one or several people to the class of what they do.

    `clips` is (batch, persons, frames, joints, dims + 1), the confidence last. Two dimensions are in units of the box round all that is
    seen; three are metres from where the first frame's pelvis is, y up, x to the left of a person who is seen from the front, about y
    `turned` to be so. `tempo` spread: the clip's frames, evenly chosen, are `frames`; crop: so many from its middle, 0 where it has none.

    `logits` is (batch, classes). Classes that are each other's mirror image, if `mirrored` says so, exchange theirs in it; else no logit
    changes.
    """

    kind: Literal["action-recognition"] = "action-recognition"
    order: str
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    dims: Literal[2, 3] = 2
    persons: int = Field(default=1, ge=1, le=8)
    frames: int = Field(default=64, ge=1, le=1000)
    tempo: Literal["spread", "crop"] = "spread"
    turned: bool = False
    mirrored: tuple[int, ...] | None = Field(default=None, description="what class a mirrored clip of each class is of")

    @model_validator(mode="after")
    def _legal(self) -> Self:
        mirror, classes = self.class_mirror, len(self.classes)
        if sorted(mirror) != list(range(classes)) or any(mirror[there] != i for i, there in enumerate(mirror)):
            raise ValueError(f"mirrored is a permutation of {classes} classes that undoes itself, not {mirror}")
        if self.turned and self.dims == 2:
            raise ValueError("only clips in three dimensions can be turned")
        return self

    @property
    def class_mirror(self) -> tuple[int, ...]:
        """What class a mirrored clip of each class is of, as the model has it."""
        return self.mirrored or tuple(range(len(self.classes)))

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        joints = len(get_body_order(self.order).joints)
        shape = ("batch", self.persons, self.frames, joints, self.dims + 1)
        unit = "half boxes" if self.dims == 2 else "m"
        return {"clips": TensorSpec(shape=shape, unit=unit, moves=of_joints(self.order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        moves = Mirror(mirror=self.class_mirror, negated=False)
        return {"logits": TensorSpec(shape=("batch", len(self.classes)), unit="", moves=moves)}

    @property
    def axes(self) -> dict[str, Sequence[int]]:
        """No named axis but the batch."""
        return {}
