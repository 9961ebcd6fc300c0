"""The description that /models gives: each model with its versions, the version that is served, and why another is not."""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.contract.bundle import Measurement, TrainingSource
from models.contract.preference import standing
from models.contract.task import Task
from service.http.problems import Problem
from service.inference.model import Model
from service.inference.served import Refusal, ServedModels, Snapshot
from service.registry.catalogue import Catalogue
from service.registry.versions import Version


class VersionInfo(BaseModel):
    """A version of a model that may be promoted."""

    version: str
    serving: bool = Field(description="by the process that answers")
    git_commit: str
    measurements: list[Measurement]
    lineage: dict[str, Any] | None = Field(description="job, run, seed, data and their sha256; null: it ships")


class BesideBaselines(BaseModel):
    """A model's test errors beside those of the best forecast without weights on the same data."""

    rows: int = Field(description="measurements that can be compared")
    better: int = Field(description="those in which the model has the smaller error")
    ratio: float = Field(description="mean of the model's error divided by the other one; below 1, the model is better")


class ModelInfo(BaseModel):
    """A model and how it is served; a refused one has only its name and the reason."""

    name: str
    state: Literal["ready", "refused", "published"] = Field(description="published: it has versions, none is served")
    reason: str | None = None
    current: str | None = Field(default=None, description="the version that is to be served")
    versions: list[VersionInfo] = Field(default=[], description="the newest first, the one that ships last")
    version: str | None = None
    provider: str | None = Field(default=None, description="ONNX Runtime's execution provider in use")
    fallback: str | None = Field(default=None, description="why a model that was to use the GPU runs on the CPU")
    max_batch: int | None = None
    title: str | None = None
    task: Task | None = None
    symmetries: list[str] | None = None
    network: str | None = None
    parameters: int | None = None
    licence: str | None = None
    trained_on: list[TrainingSource] | None = None
    measurements: list[Measurement] | None = None
    intervals: dict[str, float] | None = Field(
        default=None,
        description="by probability: the multiple of `std` within which a coordinate is; empty without fitted ones",
    )
    beside_baselines: BesideBaselines | None = Field(
        default=None, description="null if the model has no test errors in millimetres beside others"
    )


class ModelList(BaseModel):
    """All models."""

    defaults: dict[str, str] = Field(
        description="by kind of task, the model of requests that name none; kinds with one endpoint have one model"
    )
    models: list[ModelInfo]


def describe_all(served: ServedModels) -> list[ModelInfo]:
    """Describe the served models, then the refused ones, then those of which no version was promoted yet.

    This may wait for the store of versions, and belongs in a thread.
    """
    snapshot, catalogue = served.snapshot, served.catalogue
    infos = [_of_model(model) for model in snapshot.models.values()]
    infos += [_of_refusal(name, refusal) for name, refusal in snapshot.refused.items()]
    known = {info.name for info in infos}
    published = catalogue.published()
    infos += [ModelInfo(name=name, state="published") for name in published if name not in known]
    return [_with_versions(info, snapshot, catalogue, published.get(info.name, [])) for info in infos]


def describe(served: ServedModels, name: str) -> ModelInfo:
    """Describe one model; raise the problem unknown-model. This may wait for the store of versions."""
    snapshot, catalogue = served.snapshot, served.catalogue
    published = catalogue.published()
    if name in snapshot.models:
        info = _of_model(snapshot.models[name])
    elif name in snapshot.refused:
        info = _of_refusal(name, snapshot.refused[name])
    elif name in published:
        info = ModelInfo(name=name, state="published")
    else:
        names = dict.fromkeys([*snapshot.models, *snapshot.refused, *published])
        raise Problem("unknown-model", f"no model {name!r}; there are {', '.join(names) or 'none'}")
    return _with_versions(info, snapshot, catalogue, published.get(name, []))


def states(snapshot: Snapshot) -> dict[str, str]:
    """Map each model to "ready", or to why it was refused."""
    refused = {name: f"refused: {refusal.reason}" for name, refusal in snapshot.refused.items()}
    return dict.fromkeys(snapshot.models, "ready") | refused


def limitations(snapshot: Snapshot) -> dict[str, str]:
    """Map each model that serves, but not as it should, to the reason: another version, or the CPU in place of a GPU."""
    fallbacks = {
        name: f"it runs on the CPU: {model.predictor.fallback}"
        for name, model in snapshot.models.items()
        if model.predictor.fallback is not None
    }
    return fallbacks | {name: _stuck(refusal) for name, refusal in snapshot.stuck.items()}


def _of_model(model: Model) -> ModelInfo:
    meta = model.bundle.meta
    return ModelInfo(
        name=meta.name,
        state="ready",
        version=meta.version,
        provider=model.predictor.provider,
        fallback=model.predictor.fallback,
        max_batch=model.batcher.max_batch,
        title=meta.title,
        task=meta.task,
        symmetries=list(meta.symmetries),
        network=meta.network,
        parameters=meta.parameters,
        licence=meta.licence,
        trained_on=list(meta.trained_on),
        measurements=list(meta.measurements),
        intervals=meta.intervals,
        beside_baselines=BesideBaselines(**place._asdict()) if (place := standing(meta)) else None,
    )


def _of_refusal(name: str, refusal: Refusal) -> ModelInfo:
    return ModelInfo(name=name, state="refused", reason=refusal.reason)


def _stuck(refusal: Refusal) -> str:
    return f"the current version was refused: {refusal.reason}"


def _with_versions(info: ModelInfo, snapshot: Snapshot, catalogue: Catalogue, published: list[Version]) -> ModelInfo:
    versions = [
        VersionInfo(
            version=one.version,
            serving=info.version == one.version,
            git_commit=one.meta.git_commit,
            measurements=list(one.meta.measurements),
            lineage=one.lineage.model_dump() if one.lineage else None,
        )
        for one in catalogue.with_shipped(info.name, published)
        if one.meta is not None
    ]
    reason = info.reason
    if info.name in snapshot.stuck:
        reason = _stuck(snapshot.stuck[info.name])
    elif catalogue.away is not None and reason is None:
        reason = f"the trained versions cannot be reached: {catalogue.away}"
    if reason is not None and info.name in snapshot.retries:
        reason += f"; next attempt in {max(0.0, snapshot.retries[info.name].at - time.monotonic()):.0f} s"
    current = catalogue.chosen.get(info.name, info.version)
    return info.model_copy(update={"versions": versions, "current": current, "reason": reason})
