"""A run: everything that decides what is trained, as one value. Its fingerprint names its results."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import BaseModel
from torch import Tensor, nn

import training.runs
from models.contract.task import Task
from models.forecast.eqmotion import EqMotionConfig
from training.data.hands import HandData
from training.losses import mean_distance_mm


class UnknownRun(KeyError):
    """No run of that name; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


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


@dataclass(frozen=True)
class Run:
    """`title`, `licence` and `symmetries` go into the bundle; the rest decides the weights."""

    name: str
    title: str
    task: Task
    network: EqMotionConfig
    data: HandData
    licence: str
    optimisation: Optimisation = Optimisation()
    loss: Callable[[Tensor, Tensor], Tensor] = mean_distance_mm

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with whatever decides the weights.

        A field at its default does not count, so that an option added later leaves the runs that do not use it what they were.
        """
        decisive = [chosen(part) for part in (self.task, self.network, self.data, self.optimisation)]
        return hashlib.sha256(repr([*decisive, self.loss.__qualname__]).encode()).hexdigest()[:12]

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        return self.network.build(self.task)

    def with_steps(self, steps: int | None) -> "Run":
        return self if steps is None else replace(self, optimisation=replace(self.optimisation, steps=steps))


def chosen(value: Any) -> Any:
    """A value as its type's name and the fields that differ from their defaults, all the way down."""
    if isinstance(value, BaseModel):
        return type(value).__name__, value.model_dump(exclude_defaults=True)
    if is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        defaults = {field.name: field.default for field in fields(value)}
        return type(value).__name__, {name: chosen(x) for name, x in own.items() if x != defaults[name]}
    return value


def all_runs() -> dict[str, Run]:
    """Every run of training/runs, by name: each module there has one, called RUN, or several, called RUNS."""
    found: dict[str, Run] = {}
    for module in iter_modules(training.runs.__path__):
        values = import_module(f"training.runs.{module.name}")
        for run in getattr(values, "RUNS", None) or (values.RUN,):
            found[run.name] = run
    return found


def get_run(name: str) -> Run:
    """The run of that name. Raises UnknownRun."""
    runs = all_runs()
    if name not in runs:
        raise UnknownRun(f"no run {name!r}; there are {', '.join(sorted(runs))}")
    return runs[name]


def folder_of(root: Path, run: Run, seed: int) -> Path:
    """Where a run of this seed keeps what it makes, under `root`: another configuration has another folder."""
    return root / run.name / f"{run.fingerprint}-seed{seed}"
