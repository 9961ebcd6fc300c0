"""What a model is asked, as one value: the tensors in, the tensors out, and what their axes may be.

A data set has a task, a network is built for one, a bundle names one, the service checks shapes against it. Everything that runs a model
(training loop, exporter, predictor) goes by `inputs` and `outputs` and never by the kind of task.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from models.contract.skeleton import HAND_PAIR, HANDS


class WrongShape(ValueError):
    """Tensors that are not what the task takes; the message says what was wanted and what came."""


class TensorSpec(BaseModel):
    """One float32 tensor: an integer fixes an axis, a name leaves it free."""

    model_config = ConfigDict(frozen=True)

    shape: tuple[int | str, ...]
    unit: str

    def describe(self) -> str:
        return "(" + ", ".join(str(axis) for axis in self.shape) + ")"


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


Task = HandForecast  # one kind so far; the next joins as a union discriminated by `kind`


def check_inputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` are the task's inputs: names, shapes and float32."""
    _check(task, task.inputs, tensors, f"{who} takes")


def check_outputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` are the task's outputs: names, shapes and float32."""
    _check(task, task.outputs, tensors, f"{who} gives")


def _check(task: Task, specs: dict[str, TensorSpec], tensors: Mapping[str, np.ndarray], who: str) -> None:
    if set(tensors) != set(specs):
        raise WrongShape(f"{who} {sorted(specs)}, not {sorted(tensors)}")
    sizes: dict[str, int] = {}
    for name, spec in specs.items():
        tensor = tensors[name]
        wanted = f"{who} {name} of shape {spec.describe()}"
        if tensor.dtype != np.float32:
            raise WrongShape(f"{wanted} in float32, not {tensor.dtype}")
        if tensor.ndim != len(spec.shape):
            raise WrongShape(f"{wanted}, not {tensor.shape}")
        for axis, size in zip(spec.shape, tensor.shape, strict=True):
            if isinstance(axis, int):
                if size != axis:
                    raise WrongShape(f"{wanted}, not {tensor.shape}")
            elif size != sizes.setdefault(axis, size):
                raise WrongShape(f"{wanted}: {axis} is {sizes[axis]} elsewhere and {size} here")
            elif axis in task.axes and size not in task.axes[axis]:
                legal = " or ".join(str(n) for n in task.axes[axis])
                raise WrongShape(f"{wanted} with {legal} {axis}, not {size}")
