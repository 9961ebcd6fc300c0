"""What a piece of training work is, as a value: the command line makes one, and so may a request."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

MAX_DEVICES = 16  # of one machine
DATASET_NAME = r"^[a-z0-9]+([-_][a-z0-9]+)*$"


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dataset: str | None = Field(
        default=None, max_length=64, pattern=DATASET_NAME, description="a registered one; default: the data folder"
    )


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _OfRun(_Spec):
    run: str = Field(min_length=1, max_length=64, description="the name of a run in training/runs")
    seeds: tuple[Seed, ...] = Field(
        default=(0,), min_length=1, max_length=16, description="each once, one after another"
    )

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("wanted every seed once")
        return seeds


class TrainSpec(_OfRun):
    """Train a run with each seed; what was begun is continued from its last checkpoint."""

    kind: Literal["train"] = "train"
    devices: int = Field(default=1, ge=1, le=MAX_DEVICES, description="processes, one a device (DDP) where more than 1")
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    steps: int | None = Field(
        default=None, ge=1, le=10**8, description="fewer or more optimiser steps than the run says"
    )
    validate_every: int | None = Field(default=None, ge=1, le=10**8, description="steps, instead of the run's own")
    checkpoint_every: int | None = Field(default=None, ge=1, le=10**8, description="steps, instead of the run's own")
    publish: bool = Field(
        default=True,
        description="export the bundle of the seed with the best validation score, and register it as a version of the run's model",
    )


class EvaluateSpec(_OfRun):
    """Measure a trained run on a split, with each seed, next to what is reached without weights."""

    kind: Literal["evaluate"] = "evaluate"
    split: Literal["validation", "test"] = "test"
    job: str | None = Field(
        default=None, max_length=64, description="the training job whose weights; default: the run's last with the seed"
    )


class BenchmarkSpec(_Spec):
    """Print a table of `python -m training benchmark`, training what it lacks."""

    kind: Literal["benchmark"] = "benchmark"
    table: str = Field(min_length=1, max_length=64)


class CheckSpec(_Spec):
    """Have the loader read a registered data set, every recording of it, before anything is trained on it."""

    kind: Literal["check"] = "check"
    dataset: str = Field(max_length=64, pattern=DATASET_NAME)  # pyright: ignore[reportIncompatibleVariableOverride] - here it must be given


AnySpec = TrainSpec | EvaluateSpec | BenchmarkSpec | CheckSpec
JobSpec = Annotated[AnySpec, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[AnySpec] = TypeAdapter(JobSpec)
