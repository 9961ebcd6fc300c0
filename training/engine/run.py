"""A run: everything that decides what is trained, as one value. Its fingerprint names its results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from models.contract.bundle import BadBundle, Bundle, TrainingSource, read_bundle
from models.contract.tensor import TensorSpec
from training.engine.batches import Batches
from training.engine.fingerprint import INDIFFERENT, LATER, digest, legacy_digest

Precision = Literal["32-true", "bf16-mixed"]
Loss = Callable[..., Tensor]  # takes the network's answer, the target and each input; an average over the batch


@runtime_checkable
class Task(Protocol):
    """The task of a model: its kind, and its input and output tensors."""

    @property
    def kind(self) -> str:
        """Return the name of the kind of task, by which a study is chosen."""
        ...

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Return the input tensors by name."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Return the output tensors by name."""
        ...


@runtime_checkable
class Data(Protocol):
    """A data set as a value: which sources, windows and augmentations; nothing is read until `load`."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read, in training and in measuring."""
        ...

    def load(self, folder: Path, /) -> Batches:
        """Open the data under the data folder."""
        ...


TaskT = TypeVar("TaskT", bound=Task)
DataT = TypeVar("DataT", bound=Data)
TaskIn = TypeVar("TaskIn", contravariant=True)


@runtime_checkable
class Network(Protocol[TaskIn]):
    """The sizes and options of a network, which builds itself for a task."""

    def build(self, task: TaskIn, /) -> nn.Module:
        """Return the network with fresh weights."""
        ...


@dataclass(frozen=True)
class Decay:
    """A learning rate that is multiplied by `factor` after every so many epochs or, with `at`, at the beginning of these epochs."""

    factor: float
    every: int = 1
    at: tuple[int, ...] = ()

    def times(self, epoch: int) -> int:
        """Return how often the rate has been multiplied in an epoch; the first is epoch 0."""
        return sum(at <= epoch for at in self.at) if self.at else epoch // self.every


@dataclass(frozen=True)
class Optimisation:
    """AdamW with a linear warm-up and a cosine to zero; an average of the weights over time (EMA) is measured and exported.

    The fields after `restarts` are for published trainings. `decay` replaces the warm-up and the cosine. With `steps` 0, a training takes
    `epochs` passes over its data; with another number, `epochs` divide the steps. `norm_momentum` has the first and the last momentum of
    batch normalisation. An `ema` of 0 averages nothing. The best validation decides which weights count or, with `keep`, the last does.

    Raises ValueError for a schedule by epochs without a number of them.
    """

    steps: int = 3000
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.998
    validate_every: int = 200
    patience: int = 8  # validations without a better score before the run stops
    checkpoint_every: int = field(default=100, metadata=INDIFFERENT)
    precision: Precision = "32-true"
    marks: tuple[int, ...] = field(
        default=(), metadata=LATER
    )  # further steps to validate at, whose averaged weights are kept
    restarts: int = field(default=0, metadata=LATER)  # of the cosine: its periods are equal
    algorithm: Literal["adamw", "amsgrad", "sgd"] = field(default="adamw", metadata=LATER)
    beta2: float = field(default=0.999, metadata=LATER)
    epochs: int = field(default=0, metadata=LATER)
    decay: Decay | None = field(default=None, metadata=LATER)
    norm_momentum: tuple[float, float] | None = field(default=None, metadata=LATER)
    keep: Literal["best", "last"] = field(default="best", metadata=LATER)

    def __post_init__(self) -> None:
        by_epochs = self.decay or self.norm_momentum or not self.steps
        if by_epochs and self.epochs < 1:
            raise ValueError(f"expected a number of epochs for a schedule that counts them, got {self.epochs}")

    @property
    def length(self) -> str:
        """Return the length of a training in words: its steps, or its epochs if the data decide the steps."""
        return f"{self.steps} steps" if self.steps else f"{self.epochs} epochs"

    def last_validation_before(self, step: int) -> int:
        """Return the last step before `step` at which the training validates, or 0."""
        regular = (step - 1) // self.validate_every * self.validate_every
        return max(regular, *(mark for mark in (0, *self.marks) if mark < step))


@dataclass(frozen=True)
class Base:
    """A bundle whose weights a training begins with. Its version decides the weights; where its folder is does not."""

    name: str
    version: str
    folder: Path = field(metadata=INDIFFERENT)

    @classmethod
    def of(cls, folder: Path) -> "Base":
        """Return the bundle in a folder. Raises BadBundle."""
        bundle = read_bundle(folder)
        return cls(bundle.meta.name, bundle.meta.version, folder)

    def with_own(self, sources: tuple[TrainingSource, ...]) -> tuple[TrainingSource, ...]:
        """Return the data sets of a training and, after them, the others that the bundle was trained on."""
        names = {source.name for source in sources}
        return (*sources, *(one for one in self.bundle.meta.trained_on if one.name not in names))

    @property
    def bundle(self) -> Bundle:
        """Return the bundle. Raises BadBundle, also if the folder has another version by now."""
        bundle = read_bundle(self.folder)
        if bundle.meta.version != self.version:
            raise BadBundle(f"expected {self.name} {self.version} in {self.folder}, got {bundle.meta.version}")
        return bundle


@dataclass(frozen=True)
class Run(Generic[TaskT, DataT]):
    """One configuration to train.

    `title` and `licence` go into the bundle, as does `model`, its name, which is the run's own by default; the other fields decide the
    weights. `score` measures validation data and decides which checkpoint is kept: the lower, the better. A run with a `start` begins with
    the best weights of that run and the same seed, one with a `base` with those of a bundle.
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
    model: str | None = None
    base: Base | None = None

    @property
    def bundle_name(self) -> str:
        """Return the name of the model that is exported."""
        return self.model or self.name

    @property
    def stages(self) -> "list[Run[TaskT, DataT]]":
        """Return the runs to train, in order, this one last."""
        return [*(self.start.stages if self.start else []), self]

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that any stage reads, in alphabetical order."""
        return tuple(sorted({part for stage in self.stages for part in stage.data.parts}))

    @property
    def fingerprint(self) -> str:
        """Return twelve hex digits that change with whatever decides the weights or which checkpoint is kept.

        Raises TypeError for a field that cannot be described, such as a lambda as the loss.
        """
        before: list[Any] = [self.start.fingerprint] if self.start else []
        before += [self.base] if self.base else []
        return digest(self.task, self.network, self.data, self.loss, self.score, self.optimisation, *before)

    @property
    def legacy_fingerprint(self) -> str:
        """Return the fingerprint of scheme 1, which covers neither defaults nor score nor modules."""
        before = [self.start.legacy_fingerprint] if self.start else []
        return legacy_digest(self.task, self.network, self.data, self.optimisation, self.loss, *before)

    def build(self) -> nn.Module:
        """Return the network with fresh weights."""
        return self.network.build(self.task)

    def with_options(self, steps: int | Sequence[int] | None = None, **changes: Any) -> "Run[TaskT, DataT]":
        """Return the run with other fields of `Optimisation` in every stage; a change of None is no change.

        `steps` is one count for every stage, or one for each. Raises ValueError for another number of counts than stages.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        stages = self.stages
        counts = list(steps) if isinstance(steps, Sequence) else [steps]
        if len(counts) not in (1, len(stages)):
            names = ", ".join(stage.name for stage in stages)
            raise ValueError(f"expected one step count, or one for each of the stages {names}; got {len(counts)}")
        changed: Run[TaskT, DataT] | None = None
        for stage, count in zip(stages, counts if len(counts) > 1 else counts * len(stages), strict=True):
            own = changes if count is None else changes | {"steps": count}
            changed = replace(stage, optimisation=replace(stage.optimisation, **own), start=changed)
        assert changed is not None
        return changed
