"""What a piece of training work is, as a value: the command line makes one, and so may a request."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(min_length=1, max_length=64, description="the name of a run in training/runs")
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class TrainSpec(_Spec):
    """Train a run with one seed. A folder in which the same spec was begun is continued from its last checkpoint."""

    kind: Literal["train"] = "train"
    devices: int = Field(default=1, ge=1, le=64, description="processes, one a device (DDP) where more than 1")
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    steps: int | None = Field(default=None, ge=1, description="fewer or more optimiser steps than the run says")


class EvaluateSpec(_Spec):
    """Measure a trained run on a split, next to the forecasts without weights."""

    kind: Literal["evaluate"] = "evaluate"
    split: Literal["validation", "test"] = "test"
