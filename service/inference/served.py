"""The models being served: a folder of bundles, each verified, repeated and warmed up before it answers.

What is served under a name is one entry of a dict: a new version can be loaded beside the old one and then take its
place, while requests that hold the old one finish on it.
"""

import asyncio
import json
import logging
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.contract.bundle import META, BadBundle, Bundle, read_bundle, repeat_example
from service.http.problems import Problem
from service.inference.batcher import Batcher
from service.inference.describe import ModelInfo, VersionInfo
from service.inference.model import GPU_BATCHES, GPU_SLOTS, Model, check_servable
from service.inference.predictor import (
    Calibration,
    Predictor,
    calibrate,
    seconds_of,
)
from service.registry.catalogue import Shelf
from service.registry.local import StoreAway
from service.registry.versions import Current, UnknownVersion, Version
from service.settings import Settings
from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.registry")


@dataclass(frozen=True)
class Refused:
    """A bundle that is not served: why, and for what kind of task it was, if it says so."""

    reason: str
    kind: str | None


class ServedModels:
    """Models by name, and why the other folders are not among them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._models: dict[str, Model] = {}
        self._refused: dict[str, Refused] = {}
        self.stuck: dict[str, Refused] = {}  # models that serve, but not the version that they should
        self.shelf = Shelf(settings)
        self._seen: dict[str, Hashable] = {}  # of each model, the choice of a version that was acted on
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Load the current version of every model; one that cannot be served is remembered and logged with the reason.

        While the versions cannot be reached those are served that were chosen when they last could.
        """
        if not self._settings.bundles.is_dir():
            log.error("no folder %s: no model is served from it", self._settings.bundles)
        choices = await asyncio.to_thread(self.shelf.choices)
        for name in await asyncio.to_thread(self.shelf.names):
            if await self._follow(name, chosen=name in choices):
                self._seen[name] = choices.get(name)

    async def follow(self) -> None:
        """Serve what has become current since, for ever: each model is swapped when its new version is warm."""
        while True:
            await asyncio.sleep(self._settings.reconcile_s)
            for name, choice in (await asyncio.to_thread(self.shelf.choices)).items():
                if choice != self._seen.get(name) and await self._follow(name):
                    self._seen[name] = choice

    async def promote(self, name: str, version: str) -> Current:
        """Make a version the current one, here at once and in the other processes when they see it.

        Raises UnknownVersion, StoreAway, BadBundle, and the problem bundle-refused; then nothing has changed.
        """
        async with self._changing:
            await self._try(name, version)
            serving = self._models.get(name)
            before = serving.version if serving else None
            current = await asyncio.to_thread(self.shelf.versions.promote, name, version, before)
        await self._follow(name)
        return current

    async def roll_back(self, name: str, version: str) -> Current:
        """Take back the current version for the one before it. Raises NotCurrent, and as `promote`."""
        async with self._changing:
            await self._try(name, await asyncio.to_thread(self.shelf.versions.before, name, version))
            current = await asyncio.to_thread(self.shelf.versions.roll_back, name, version)
        await self._follow(name)
        return current

    async def _try(self, name: str, version: str) -> None:
        """Load a version and let it go again. Raises UnknownVersion, StoreAway, and the problem bundle-refused."""
        folder = None
        try:
            folder = await asyncio.to_thread(self.shelf.folder, name, version)
            await asyncio.to_thread(self._open, folder, name)
        except (UnknownVersion, StoreAway):
            raise
        except Exception as error:  # whatever is wrong with it, what serves goes on
            raise Problem("bundle-refused", f"{name} {version}: {_reason(error, folder)}") from error

    async def _follow(self, name: str, chosen: bool = True) -> bool:
        """Serve the current version of a model, once it is warm; if it cannot be served what was served still is.

        `chosen` is false where nobody has chosen a version, or nobody can tell. False: to be tried again.
        """
        async with self._changing:
            folder = None
            try:
                folder = await asyncio.to_thread(self.shelf.wanted, name, chosen)
                if folder is None:
                    return True  # it has versions, and none was promoted yet
                if name in self._models and self._models[name].bundle.folder == folder:
                    self.stuck.pop(name, None)
                    return True
                model = await asyncio.to_thread(self._load, folder, name)
            except Exception as error:  # whatever is wrong with one bundle, the others serve
                kept = name in self._models
                refused, now = self.stuck if kept else self._refused, Refused(_reason(error, folder), _kind_of(folder))
                if refused.get(name) != now:  # once, not at every look
                    log.error("refused %s%s", name, ", and go on with what was served" if kept else "", exc_info=error)
                refused[name] = now
                return not isinstance(error, StoreAway)
            before = self._models.get(name)
            models = self._models | {name: model}
            self._models = {key: models[key] for key in sorted(models)}
            for refused in (self._refused, self.stuck):
                refused.pop(name, None)
            if before is not None and before.version != model.version:
                # requests that hold it finish on it; with the last of them it goes
                self._metrics.forget(before.name, before.version, before.predictor.provider)
            log.info("serving %s version %s on %s", model.name, model.version, model.predictor.provider)
            return True

    def _open(self, folder: Path, name: str) -> tuple[Bundle, Predictor]:
        bundle = read_bundle(folder)
        if bundle.meta.name != name:
            raise BadBundle(f"it is called {bundle.meta.name}: a bundle's folder carries its name")
        check_servable(bundle.meta.task)
        predictor = Predictor(bundle, self._settings.device)
        repeat_example(bundle, predictor.run)
        return bundle, predictor

    def _load(self, folder: Path, name: str) -> Model:
        bundle, predictor = self._open(folder, name)
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
        """What /models says: those that serve, then those refused, then those of which no version was promoted yet."""
        infos = [model.info() for model in self._models.values()]
        infos += [ModelInfo(name=name, state="refused", reason=no.reason) for name, no in self._refused.items()]
        known = {info.name for info in infos}
        published = self.shelf.published()
        infos += [ModelInfo(name=name, state="published") for name in published if name not in known]
        return [info.model_copy(update=self._versions_of(info, published.get(info.name, []))) for info in infos]

    def _versions_of(self, info: ModelInfo, published: list[Version]) -> dict[str, Any]:
        versions = [
            VersionInfo(
                version=one.version,
                serving=info.version == one.version,
                git_commit=one.meta.git_commit,
                measurements=list(one.meta.measurements),
                lineage=one.lineage.model_dump() if one.lineage else None,
            )
            for one in self.shelf.with_own(info.name, published)
            if one.meta is not None
        ]
        reason, stuck = info.reason, self.stuck.get(info.name)
        if stuck is not None:
            reason = f"the current version was refused: {stuck.reason}"
        elif self.shelf.away is not None and reason is None:
            reason = f"the trained versions cannot be reached: {self.shelf.away}"
        return {"versions": versions, "current": self.shelf.chosen.get(info.name, info.version), "reason": reason}

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


def _reason(error: Exception, folder: Path | None) -> str:
    """The error's first line, without the path of the server's folder."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = (said.splitlines() or [""])[0]
    text = text if folder is None else text.replace(str(folder), folder.name)
    return text if isinstance(error, BadBundle | StoreAway) else f"{type(error).__name__}: {text}"


def _kind_of(folder: Path | None) -> str | None:
    """The kind of task in a folder's bundle.json, whatever else is wrong with it."""
    if folder is None:
        return None
    try:
        return str(json.loads((folder / META).read_bytes())["task"]["kind"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
