"""Specifications of training work as values: what to train, evaluate, measure or check, from the command line or from a request."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    field_validator,
    model_validator,
)

from models.contract.grid import MAX_CELLS, OF_TRAINING, cells
from models.contract.preset import parse_preset
from models.skeletons.faults import fault_text, shown

MAX_DEVICES = 16  # in one machine
DATASET_NAME = r"^[a-z0-9]+([-_][a-z0-9]+)*$"
MODEL_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
OWN_RUNS = {  # run on a registered data set: the kind of its task
    "hands-own": "hand-forecast",
    "lift-own": "pose-lift",
    "poses-own": "pose-forecast",
    "faces-own": "face-landmarks",
}
BASE_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*(@[0-9a-f]{12})?$"


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dataset: str | None = Field(
        default=None, max_length=64, pattern=DATASET_NAME, description="a registered data set; default: the data folder"
    )


Name = Annotated[str, Field(min_length=1, max_length=64)]
FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


def _plain_value(value: object, check: Callable[[object], Any]) -> bool | int | float | str:
    """Return a value that `check` admits; raise one error instead of one for each type."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError(
            f"expected a number, true, false, or a word of 1 to 64 characters, got {shown(value)}"
        ) from None


GridValue = Annotated[StrictBool | StrictInt | StrictFloat | Name, WrapValidator(_plain_value)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _OfRun(_Spec):
    run: str = Field(min_length=1, max_length=64, description="the name of a run")
    seeds: tuple[Seed, ...] = Field(
        default=(0,), min_length=1, max_length=16, description="each once, one after the other"
    )

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"expected each seed once, got {seeds}")
        return seeds


class _Training(_OfRun):
    kind: str
    devices: int = Field(
        default=1, ge=1, le=MAX_DEVICES, description="processes, one for each device (DDP) if more than 1"
    )
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    steps: int | None = Field(
        default=None, ge=1, le=10**8, description="optimiser steps of every stage, instead of the run's own number"
    )
    validate_every: int | None = Field(default=None, ge=1, le=10**8, description="steps, instead of every stage's own")
    checkpoint_every: int | None = Field(
        default=None, ge=1, le=10**8, description="steps, instead of every stage's own"
    )
    epochs: int | None = Field(
        default=None, ge=1, le=10**4, description="of hands: passes over the training windows, instead of steps"
    )
    network: dict[FieldName, GridValue] = Field(
        default={},
        max_length=32,
        description="fields of the network's configuration that differ from the run's: layers, channels",
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="of every stage, instead of its own"
    )
    preset: Name | None = Field(default=None, description="of hands: the window, such as 60+60@60")
    sources: tuple[SourceName, ...] = Field(
        default=(), max_length=32, description="of hands: the data sets, instead of the run's own"
    )
    actions: tuple[Name, ...] = Field(
        default=(), max_length=32, description="of hands: only recordings whose label has one of these words or phrases"
    )
    architecture: Name | None = Field(
        default=None,
        description="of hands: another network, by its name in the comparison of forecasters, such as EqMotion",
    )
    name: str | None = Field(
        default=None, max_length=64, pattern=MODEL_NAME, description="the name of the model, instead of the run's own"
    )
    base: str | None = Field(
        default=None,
        max_length=160,
        pattern=BASE_NAME,
        description="the model whose weights the training begins with, `name` as it is served or `name@version`",
    )

    @field_validator("preset")
    @classmethod
    def _window(cls, preset: str | None) -> str | None:
        if preset is not None:
            parse_preset(preset)
        return preset

    @model_validator(mode="after")
    def _own_recordings(self) -> Self:
        if self.run in OWN_RUNS and self.dataset is None and not self.sources:
            raise ValueError(f"expected a dataset for {self.run}, whose recordings it trains on, got none")
        return self

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("expected steps or epochs, got both")
        return self


class TrainSpec(_Training):
    """The specification of a training: a run with each seed; an interrupted training continues from its last checkpoint."""

    kind: Literal["train"] = "train"  # pyright: ignore[reportIncompatibleVariableOverride] - one of the words
    publish: bool = Field(
        default=True,
        description="export the bundle of the seed with the best validation score, and register it as a version of the run's model",
    )


class SweepSpec(_Training):
    """The specification of a sweep: a training with every combination of some settings, compared on validation data."""

    kind: Literal["sweep"] = "sweep"  # pyright: ignore[reportIncompatibleVariableOverride] - one of the words
    grid: dict[FieldName, tuple[GridValue, ...]] = Field(
        description=f"values by field: of the network, or {', '.join(OF_TRAINING)}; at most {MAX_CELLS} combinations",
        examples=[{"layers": [2, 3], "learning_rate": [0.001, 0.002]}],
    )
    publish: bool = Field(
        default=True,
        description="export the bundle of the cell with the best validation score, and register it as a version of the run's model",
    )

    @field_validator("grid")
    @classmethod
    def _cells(cls, grid: dict[str, tuple[bool | int | float | str, ...]]) -> Any:
        cells(grid)
        return grid

    @model_validator(mode="after")
    def _trainings(self) -> Self:
        if len(self.seeds) > 1:
            raise ValueError(f"expected one seed, or several in the grid as `seed`; got {self.seeds}")
        given = {name for name in ("steps", "epochs", "learning_rate") if getattr(self, name) is not None}
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if one in given and other in self.grid:
                raise ValueError(f"expected steps or epochs, which exclude each other, got {one} and a grid of {other}")
        if "seed" in self.grid and "seeds" in self.model_fields_set:
            given.add("seed")
        if twice := sorted(set(self.grid) & (given | set(self.network))):
            raise ValueError(f"expected {twice[0]} in the grid or outside it, got both")
        try:
            self.cells()
        except ValidationError as error:
            first = error.errors()[0]
            field = {"seeds": "seed"}.get(str(first["loc"][0]), str(first["loc"][0]))
            raise ValueError(f"grid, {field}: {fault_text(first)}") from error
        return self

    def cells(self) -> list[TrainSpec]:
        """Return the training of each cell, in the order of the grid. Their bundles are not published."""
        shared = self.model_dump(exclude={"kind", "grid", "publish"})
        trainings: list[TrainSpec] = []
        for cell in cells(self.grid):
            own = {name: value for name, value in cell.items() if name in OF_TRAINING}
            seeds = (own.pop("seed"),) if "seed" in own else self.seeds
            network = self.network | {name: value for name, value in cell.items() if name not in OF_TRAINING}
            values = {**shared, **own, "network": network, "seeds": seeds, "publish": False}
            trainings.append(TrainSpec.model_validate(values, strict=True))
        return trainings


class EvaluateSpec(_OfRun):
    """The specification of an evaluation: a trained run on a split, with each seed, beside the baselines without weights."""

    kind: Literal["evaluate"] = "evaluate"
    split: Literal["validation", "test"] = "test"
    job: str | None = Field(
        default=None,
        max_length=64,
        description="the training job that made the weights; default: the run's last training with the seed",
    )


class BenchmarkSpec(_Spec):
    """The specification of a table of `python -m training benchmark`; models that it lacks are trained."""

    kind: Literal["benchmark"] = "benchmark"
    table: str = Field(min_length=1, max_length=64)
    tables: tuple[Name, ...] = Field(default=(), max_length=8, description="of hands: which tables; default: the first")
    models: tuple[Name, ...] = Field(default=(), max_length=64, description="of hands: train only these; default: all")
    preset: Name | None = Field(default=None, description="of hands: the window, such as 30+30@30")
    seeds: int | None = Field(default=None, ge=1, le=16, description="of hands: trainings of each model")
    epochs: int | None = Field(default=None, ge=1, le=1000, description="of hands")


class CheckSpec(_Spec):
    """The specification of a check: the loader reads every recording of a registered data set."""

    kind: Literal["check"] = "check"
    dataset: str = Field(max_length=64, pattern=DATASET_NAME)  # pyright: ignore[reportIncompatibleVariableOverride] - required here


AnySpec = TrainSpec | SweepSpec | EvaluateSpec | BenchmarkSpec | CheckSpec
JobSpec = Annotated[AnySpec, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[AnySpec] = TypeAdapter(JobSpec)
