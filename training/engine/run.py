"""A run: everything that decides what is trained, as one value. Its fingerprint names its results."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel
from torch import Tensor, nn

from models.contract.task import ActionRecognition, FaceLandmarks, HandForecast, PoseForecast, PoseLift
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.lift_data import LiftData
from training.tasks.faces.data import FaceData
from training.tasks.faces.facescape_data import FaceScapeData
from training.tasks.hands.data import HandData

TaskT = TypeVar("TaskT", HandForecast, FaceLandmarks, PoseLift, PoseForecast, ActionRecognition)
DataT = TypeVar("DataT", HandData, FaceData, FaceScapeData, LiftData, PoseForecastData, ActionData)
TaskIn = TypeVar("TaskIn", contravariant=True)


@dataclass(frozen=True)
class Optimisation:
    """Adam with a linear warm-up and a cosine to zero; weights are averaged over time (EMA) for measuring and for export."""

    steps: int = 3000
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.998
    validate_every: int = 200
    patience: int = 8  # validations without a better score before the run stops
    checkpoint_every: int = 100


@runtime_checkable
class Network(Protocol[TaskIn]):
    """The sizes and options of a network, which builds itself for a task."""

    def build(self, task: TaskIn, /) -> nn.Module:
        """With fresh weights."""
        ...


Loss = Callable[..., Tensor]  # of what the network answers, what is true, and each of its inputs


@dataclass(frozen=True)
class Run(Generic[TaskT, DataT]):
    """`title` and `licence` go into the bundle; the rest decides the weights.

    `score` is the loss's stand-in on validation data, the less the better: of points in mm. A run with a `start` begins with the best
    weights of that run and its seed.
    """

    name: str
    title: str
    task: TaskT
    network: Network[TaskT]
    data: DataT
    licence: str
    loss: Loss
    score: Loss
    optimisation: Optimisation = Optimisation()
    start: "Run[TaskT, DataT] | None" = None

    @property
    def stages(self) -> "list[Run[TaskT, DataT]]":
        """The runs to be trained, in order, this one last."""
        return [*(self.start.stages if self.start else []), self]

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with whatever decides the weights.

        A field at its default does not count, so that an option added later leaves the runs that do not use it what they were.
        """
        decisive = [chosen(part) for part in (self.task, self.network, self.data, self.optimisation)]
        before = [self.start.fingerprint] if self.start else []
        return hashlib.sha256(repr([*decisive, chosen(self.loss), *before]).encode()).hexdigest()[:12]

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        return self.network.build(self.task)

    def with_steps(self, steps: int | None) -> "Run[TaskT, DataT]":
        return self if steps is None else replace(self, optimisation=replace(self.optimisation, steps=steps))


def chosen(value: Any) -> Any:
    """A value as its type's name and the fields that differ from their defaults, all the way down."""
    if isinstance(value, BaseModel):
        return type(value).__name__, value.model_dump(exclude_defaults=True)
    if is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        defaults = {field.name: field.default for field in fields(value)}
        return type(value).__name__, {name: chosen(x) for name, x in own.items() if x != defaults[name]}
    return getattr(value, "__qualname__", value)
