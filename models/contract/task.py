"""What a model is asked, as one value: the tensors in, the tensors out, and what their axes may be.

A data set has a task, a network is built for one, a bundle names one, the service checks shapes against it. Everything that runs a model
(training loop, exporter, predictor) goes by `inputs` and `outputs` and never by the kind of task.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.contract.body_task import ActionRecognition, PoseForecast, PoseLift
from models.contract.symmetry import Mirror, Moves
from models.contract.tensor import TensorSpec, WrongShape
from models.skeletons.face import FACE68
from models.skeletons.hand import HAND_PAIR, HANDS


class HandForecast(BaseModel):
    """Past hand poses to future ones: one hand (21 nodes) or two (42: left then right), Assembly101 joint order.

    `past` is (batch, past, nodes, 3) and `future` is (batch, modes, future, nodes, 3), both in metres, in any one right-handed frame;
    frames are 1/fps seconds apart and the first future frame is 1/fps after the last past one. Mode 0 is the forecast; further modes,
    where a network has them, are alternatives to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["hand-forecast"] = "hand-forecast"
    past: int = Field(ge=2, le=1000)
    future: int = Field(ge=1, le=1000)
    fps: float = Field(gt=0, le=1000)
    modes: int = Field(default=1, ge=1, le=64)
    order: Literal["assembly101"] = "assembly101"

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        return {"past": TensorSpec(shape=("batch", self.past, "nodes", 3), unit="m")}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        return {"future": TensorSpec(shape=("batch", self.modes, self.future, "nodes", 3), unit="m")}

    @property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """The sizes a named axis may have; an axis that is not listed is free."""
        return {"nodes": (len(HANDS[self.order].joints), len(HAND_PAIR.joints))}

    @property
    def horizon_s(self) -> float:
        """Seconds from the last past frame to the last future one."""
        return self.future / self.fps


class FaceLandmarks(BaseModel):
    """A scan of a face to its 68 landmarks and, for each, a heatmap over the points of the scan.

    `points` (batch, levels[0], 3), in metres, in any right-handed frame, and in float64, since neighbours differ by little, are a farthest
    point sample of the scan in the order of the sampling, so that the first levels[1] of them are one as well: those are the points of the
    next level, and so on. What depends on positions alone comes with them, as indices of points in the same cloud, level after level:
    `neighbours` (batch, sum of levels, neighbours), for each point of a level the nearest others of that level, and `parents` (batch, sum
    of levels but the last, parents), the nearest of the next level, which for a point that is in it begin with itself.

    `heatmaps` (batch, 68, levels[0]) is 1 at a landmark and exp(-d^2 / 2 sigma^2) at a distance d from it; `landmarks` (batch, 68, 3) are
    points, in the frame of the scan; `confidence` (batch, 68) is the probability that a landmark is within `confident_m` of the true one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["face-landmarks"] = "face-landmarks"
    levels: tuple[int, ...] = Field(default=(1024, 256, 64), min_length=2, max_length=8)
    neighbours: int = Field(default=16, ge=1, le=256)
    parents: int = Field(default=3, ge=1, le=16)
    sigma_m: float = Field(default=0.0095, gt=0, le=1)
    confident_m: float = Field(default=0.003, gt=0, le=1)
    order: Literal["ibug68"] = "ibug68"

    @model_validator(mode="after")
    def _levels_shrink(self) -> Self:
        if any(coarse >= fine for fine, coarse in pairwise(self.levels)):
            raise ValueError(f"levels are fewer points each, not {self.levels}")
        if self.levels[-1] <= max(self.neighbours, self.parents):
            wanted = max(self.neighbours, self.parents) + 1
            raise ValueError(
                f"the last of levels {self.levels} has at least {wanted} points: itself and its neighbours"
            )
        return self

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        neighbours = ("batch", sum(self.levels), self.neighbours)
        parents = ("batch", sum(self.levels[:-1]), self.parents)
        return {
            "points": TensorSpec(shape=("batch", self.levels[0], 3), unit="m", dtype="float64"),
            "neighbours": TensorSpec(shape=neighbours, unit="", moves="indices", dtype="int64"),
            "parents": TensorSpec(shape=parents, unit="", moves="indices", dtype="int64"),
        }

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        landmarks = len(FACE68.joints)
        return {
            "heatmaps": TensorSpec(shape=("batch", landmarks, self.levels[0]), unit="", moves="invariant"),
            "landmarks": TensorSpec(shape=("batch", landmarks, 3), unit="m", dtype="float64"),
            "confidence": TensorSpec(shape=("batch", landmarks), unit="", moves="invariant"),
        }

    @property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """No named axis but the batch."""
        return {}


Task = Annotated[
    HandForecast | FaceLandmarks | PoseLift | PoseForecast | ActionRecognition, Field(discriminator="kind")
]


def moves(task: Task) -> dict[str, Moves | Mirror]:
    """How each tensor of the task, in or out, is moved: what `violation` asks."""
    return {name: spec.moves for name, spec in (task.inputs | task.outputs).items()}


def tried_sizes(task: Task) -> dict[str, Sequence[int]]:
    """For each named axis that is not free some sizes to try a model at: all legal ones, of a range the least and one a little larger."""
    return {
        axis: (legal.start, legal.start + 3) if isinstance(legal, range) else legal for axis, legal in task.axes.items()
    }


def check_inputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` are the task's inputs: names, shapes and types."""
    _check(task, task.inputs, tensors, f"{who} takes")


def check_outputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` are the task's outputs: names, shapes and types."""
    _check(task, task.outputs, tensors, f"{who} gives")


def _check(task: Task, specs: dict[str, TensorSpec], tensors: Mapping[str, np.ndarray], who: str) -> None:
    if set(tensors) != set(specs):
        raise WrongShape(f"{who} {sorted(specs)}, not {sorted(tensors)}")
    sizes: dict[str, int] = {}
    for name, spec in specs.items():
        tensor = tensors[name]
        wanted = f"{who} {name} of shape {spec.describe()}"
        if tensor.dtype != spec.dtype:
            raise WrongShape(f"{wanted} in {spec.dtype}, not {tensor.dtype}")
        if tensor.ndim != len(spec.shape):
            raise WrongShape(f"{wanted}, not {tensor.shape}")
        for axis, size in zip(spec.shape, tensor.shape, strict=True):
            if isinstance(axis, int):
                if size != axis:
                    raise WrongShape(f"{wanted}, not {tensor.shape}")
            elif size != sizes.setdefault(axis, size):
                raise WrongShape(f"{wanted}: {axis} is {sizes[axis]} elsewhere and {size} here")
            elif axis in task.axes and size not in task.axes[axis]:
                legal = task.axes[axis]
                said = f"{legal[0]} to {legal[-1]}" if isinstance(legal, range) else " or ".join(map(str, legal))
                raise WrongShape(f"{wanted} with {said} {axis}, not {size}")
