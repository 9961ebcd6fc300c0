"""service.inference.describe."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from models.contract.bundle import BundleMeta, Measurement, TrainingSource
from models.contract.task import Task


class VersionInfo(BaseModel):
    """A bundle that may be promoted."""

    version: str
    serving: bool = Field(description="by the process that answers")
    git_commit: str
    measurements: list[Measurement]
    lineage: dict[str, Any] | None = Field(description="job, run, seed, data and their sha256; null: it ships")


class ModelInfo(BaseModel):
    """A bundle and how it is being served; a refused one says why and has no more than its name."""

    name: str
    state: Literal["ready", "refused", "published"] = Field(description="published: it has versions, none is served")
    reason: str | None = None
    current: str | None = Field(default=None, description="the version that is to be served")
    versions: list[VersionInfo] = Field(default=[], description="the newest first, the one that ships last")
    version: str | None = None
    provider: str | None = Field(default=None, description="ONNX Runtime's execution provider in use")
    max_batch: int | None = None
    title: str | None = None
    task: Task | None = None
    symmetries: list[str] | None = None
    network: str | None = None
    parameters: int | None = None
    licence: str | None = None
    trained_on: list[TrainingSource] | None = None
    measurements: list[Measurement] | None = None


class ModelList(BaseModel):
    defaults: dict[str, str] = Field(description="by kind of task, the model of requests that name none")
    models: list[ModelInfo]


def expected_error(meta: BundleMeta) -> list[dict[str, Any]]:
    """What a model was off on its test recordings, as an answer has it."""
    return [measurement.model_dump(mode="json") for measurement in meta.measurements if measurement.split == "test"]
