"""The models being served: a folder of bundles, each verified, repeated and warmed up before it answers.

What is served under a name is one entry of a dict: a new version can be loaded beside the old one and then take its
place, while requests that hold the old one finish on it.
"""

import asyncio
import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.contract.body import get_body_order
from models.contract.body_task import ActionRecognition, PoseForecast
from models.contract.bundle import META, BadBundle, Bundle, read_bundle, repeat_example
from models.contract.task import Task
from service.batcher import Batcher
from service.predictor import Calibration, Predictor, calibrate, seconds_of
from service.problems import Problem
from service.schemas import ModelInfo, expected_error
from service.settings import Settings
from service.telemetry import Metrics

log = logging.getLogger("chiron.registry")
GPU_BATCHES = (1, 2, 4, 8, 16, 32)
GPU_SLOTS = 2  # one call copies while the other computes


@dataclass(frozen=True)
class Model:
    """A bundle that answers."""

    bundle: Bundle
    predictor: Predictor
    batcher: Batcher

    @property
    def name(self) -> str:
        return self.bundle.meta.name

    @property
    def version(self) -> str:
        return self.bundle.meta.version

    @property
    def kind(self) -> str:
        return self.bundle.meta.task.kind

    @cached_property
    def expected_error(self) -> list[dict[str, Any]]:
        """What it was off on its test recordings."""
        return expected_error(self.bundle.meta)

    def info(self) -> ModelInfo:
        meta = self.bundle.meta
        return ModelInfo(
            name=meta.name,
            state="ready",
            version=meta.version,
            provider=self.predictor.provider,
            max_batch=self.batcher.max_batch,
            title=meta.title,
            task=meta.task,
            symmetries=list(meta.symmetries),
            network=meta.network,
            parameters=meta.parameters,
            licence=meta.licence,
            trained_on=list(meta.trained_on),
            measurements=list(meta.measurements),
        )


@dataclass(frozen=True)
class Refused:
    """A bundle that is not served: why, and for what kind of task it was, if it says so."""

    reason: str
    kind: str | None


class Registry:
    """Models by name, and why the other folders are not among them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._models: dict[str, Model] = {}
        self._refused: dict[str, Refused] = {}
        self.draining = False  # told to stop: finishes what it has, wants nothing new

    async def load(self) -> None:
        """Load every bundle of the folder; one that cannot be served is remembered and logged with the reason."""
        if not self._settings.bundles.is_dir():
            log.error("no folder %s: no model is served", self._settings.bundles)
            return
        for folder in sorted(self._settings.bundles.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            try:
                model = await asyncio.to_thread(self._load, folder)
            except Exception as error:  # whatever is wrong with one bundle, the others serve
                self._refused[folder.name] = Refused(_reason(error, folder), _kind_of(folder))
                log.error("refused %s", folder.name, exc_info=error)
            else:
                self._models[model.name] = model
                log.info("serving %s version %s on %s", model.name, model.version, model.predictor.provider)

    def _load(self, folder: Path) -> Model:
        bundle = read_bundle(folder)
        if bundle.meta.name != folder.name:
            raise BadBundle(f"it is called {bundle.meta.name}: a bundle's folder carries its name")
        check_servable(bundle.meta.task)
        predictor = Predictor(bundle, self._settings.device)
        repeat_example(bundle, predictor.run)
        calibration = self._calibrate(predictor)
        metrics = self._metrics.model(
            bundle.meta.name, bundle.meta.version, predictor.provider, calibration.fixed_s, calibration.item_s
        )
        on_cpu = predictor.provider == "CPUExecutionProvider"
        batcher = Batcher(
            predictor.run,
            slots=self._settings.slots or (os.cpu_count() or 1 if on_cpu else GPU_SLOTS),
            max_batch=calibration.max_batch,
            max_queue=self._settings.max_queue,
            deadline_s=self._settings.deadline_s,
            item_s=calibration.fixed_s / calibration.max_batch + calibration.item_s,
            observer=metrics,
        )
        metrics.watch_queue(lambda: batcher.queued)
        return Model(bundle, predictor, batcher)

    def _calibrate(self, predictor: Predictor) -> Calibration:
        """Warm up and time every shape. A CPU gains nothing from batches of these networks: 1, if nobody chose."""
        chosen = self._settings.max_batch or (1 if predictor.provider == "CPUExecutionProvider" else None)
        sizes = (chosen,) if chosen else GPU_BATCHES
        return calibrate(lambda batch: seconds_of(predictor, batch), sizes, self._settings.deadline_s)

    async def close(self) -> None:
        """Finish what is queued and stop."""
        for model in self._models.values():
            await model.batcher.close()

    def default(self, kind: str) -> str | None:
        """The model for requests that name none: the settings' choice, if it is of that kind, else the first by name."""
        chosen = self._settings.default_model
        if chosen is not None and self._kind(chosen) in (kind, None):
            return chosen
        return next(iter(self._names(kind)), None)

    def defaults(self) -> dict[str, str]:
        """The default of every kind that is served."""
        kinds = dict.fromkeys(model.kind for model in self._models.values())
        return {kind: name for kind in kinds if (name := self.default(kind)) is not None}

    def get(self, name: str | None, kind: str, pointer: str) -> Model:
        """The model of that name and kind of task, or the default. Raises the problems unknown-model and not-ready."""
        name = name if name is not None else self.default(kind)
        if name is None:
            raise Problem("not-ready", f"no {kind} model is being served", headers={"retry-after": "5"})
        if name in self._refused or name in self._names(kind):
            return self.serving(name)
        detail = f"no {kind} model {name!r}; there are {', '.join(self._names(kind)) or 'none'}"
        raise Problem("unknown-model", detail, errors=[(pointer, detail)] if pointer else ())

    def serving(self, name: str) -> Model:
        """The model of that name, of any kind. Raises the problems unknown-model and not-ready."""
        if name in self._refused:
            raise Problem(
                "not-ready", f"{name} was refused: {self._refused[name].reason}", headers={"retry-after": "60"}
            )
        if name not in self._models:
            raise Problem("unknown-model", f"no model {name!r}; there are {', '.join(self._models) or 'none'}")
        return self._models[name]

    def _names(self, kind: str) -> list[str]:
        return [name for name, model in self._models.items() if model.kind == kind]

    def _kind(self, name: str) -> str | None:
        """Of a model or of a bundle that was refused; None where nobody knows."""
        known = self._models.get(name) or self._refused.get(name)
        return known.kind if known else None

    def infos(self) -> list[ModelInfo]:
        """What /models says: those that serve, then those refused."""
        refused = [ModelInfo(name=name, state="refused", reason=no.reason) for name, no in self._refused.items()]
        return [model.info() for model in self._models.values()] + refused

    def named(self, name: str) -> ModelInfo:
        """What /models says of one model. Raises the problem unknown-model."""
        infos = {info.name: info for info in self.infos()}
        if name not in infos:
            raise Problem("unknown-model", f"no model {name!r}; there are {', '.join(infos) or 'none'}")
        return infos[name]

    def states(self) -> dict[str, str]:
        """ready, or why not, by name."""
        return dict.fromkeys(self._models, "ready") | {
            name: f"refused: {no.reason}" for name, no in self._refused.items()
        }


def check_servable(task: Task) -> None:
    """Raises BadBundle for models that are for the record: whoever asks cannot know what they want to be shown."""
    if isinstance(task, PoseForecast) and (task.fps is None or task.box == "clip"):
        raise BadBundle(
            "it forecasts from samples spread over a clip, or in the box round the whole of it: for the record"
        )
    if isinstance(task, ActionRecognition) and task.dims == 3 and "pelvis" not in get_body_order(task.order).joints:
        raise BadBundle(f"it sees people from where their pelvis is, and {task.order} bodies have none")


def _reason(error: Exception, folder: Path) -> str:
    """The error's first line, without the path of the server's folder."""
    text = (str(error).splitlines() or [""])[0].replace(str(folder), folder.name)
    return text if isinstance(error, BadBundle) else f"{type(error).__name__}: {text}"


def _kind_of(folder: Path) -> str | None:
    """The kind of task in a folder's bundle.json, whatever else is wrong with it."""
    try:
        return str(json.loads((folder / META).read_bytes())["task"]["kind"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
