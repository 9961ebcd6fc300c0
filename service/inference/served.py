"""The models being served: each bundle verified, repeated and warmed up before it answers, and swapped without a gap.

A new version is loaded beside the old one and then takes its place in a mapping that is replaced as a whole. Requests
that hold the old version finish on it.
"""

import asyncio
import ctypes
import json
import logging
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from models.contract.bundle import META, BadBundle, BundleMeta
from models.contract.cpus import usable_cpus
from service.http.problems import Problem
from service.inference.model import Model, load_model
from service.inference.slots import Slots
from service.registry.catalogue import Catalogue
from service.registry.local import StoreAway
from service.registry.versions import Current, UnknownVersion
from service.settings import Settings
from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.models")

MAX_PAUSE_S = 60.0  # longest time between attempts at a bundle that could not be read


@dataclass(frozen=True)
class Refusal:
    """A bundle that is not served: the reason, and its kind of task if that is known."""

    reason: str
    kind: str | None


@dataclass(frozen=True)
class Retry:
    """The next attempt at a model whose bundle could not be read, on the clock of time.monotonic()."""

    at: float
    pause_s: float


class Choice(NamedTuple):
    """The models of some kinds of task, their metadata, and the model of requests that name none."""

    models: Mapping[str, Model]
    metas: Mapping[str, BundleMeta]
    default: str | None


@dataclass(frozen=True)
class Snapshot:
    """The models at one moment. It never changes, so that any thread may read it."""

    models: Mapping[str, Model] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    stuck: Mapping[str, Refusal] = field(default_factory=dict)  # models that serve another version than the current one
    retries: Mapping[str, Retry] = field(default_factory=dict)
    choices: dict[tuple[str, ...], Choice] = field(init=False, default_factory=dict, compare=False)  # those made so far


class ServedModels:
    """Models by name, and the reason why other bundles are not served."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raise ValueError or ImportError for a registry that cannot be opened; read nothing yet."""
        self._settings, self._metrics = settings, metrics
        self.catalogue = Catalogue(settings)
        self._cpu = Slots(settings.slots or usable_cpus())
        self.snapshot = Snapshot()
        self._seen: dict[str, Hashable] = {}  # by model, the choice of a version that was acted on
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Load the current version of every model; remember and log the reason for each that cannot be served.

        While the versions cannot be reached, the choices that were last seen hold.
        """
        if not self._settings.bundles.is_dir():
            log.error("no folder %s: no model is served from it", self._settings.bundles)
        choices = await asyncio.to_thread(self.catalogue.choices)
        for name in await asyncio.to_thread(self.catalogue.names):
            await self._update(name, choices)

    async def follow(self) -> None:
        """Swap each model when its current version changes, and try again those that could not be read; never return."""
        while True:
            await asyncio.sleep(self._settings.reconcile_s)
            try:
                await self._follow_once()
            except Exception:  # the next round may succeed, and no other task follows promotions
                log.exception("the current versions could not be followed; trying again")

    async def _follow_once(self) -> None:
        choices = await asyncio.to_thread(self.catalogue.choices)
        changed = [name for name, choice in choices.items() if choice != self._seen.get(name)]
        due = [name for name, retry in self.snapshot.retries.items() if retry.at <= time.monotonic()]
        for name in dict.fromkeys([*changed, *due]):
            await self._update(name, choices)

    async def promote(self, name: str, version: str) -> Current:
        """Make a version the current one, here at once and in other processes when they notice.

        Raise UnknownVersion, StoreAway, BadBundle or the problem bundle-refused; nothing has changed then.
        """
        async with self._changing:
            model = await self._load_for_promotion(name, version)
            serving = self.snapshot.models.get(name)
            before = serving.version if serving else None
            current = await asyncio.to_thread(self.catalogue.versions.promote, name, version, before)
            self._serve(model, current)
        return current

    async def roll_back(self, name: str, version: str) -> Current:
        """Replace the current version by the one before it. Raise NotCurrent, and the errors of `promote`."""
        async with self._changing:
            before = await asyncio.to_thread(self.catalogue.versions.before, name, version)
            model = await self._load_for_promotion(name, before)
            current = await asyncio.to_thread(self.catalogue.versions.roll_back, name, version)
            self._serve(model, current)
        return current

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        for model in self.snapshot.models.values():
            await model.batcher.close()
        self._cpu.close()

    # --- questions of a request ---

    def choice(self, *kinds: str) -> Choice:
        """Return the models that serve these kinds of task, worked out once for each snapshot."""
        choices = self.snapshot.choices
        if kinds not in choices:
            models = self.of_kind(*kinds)
            metas = {name: model.bundle.meta for name, model in models.items()}
            choices[kinds] = Choice(models, metas, self.default(*kinds))
        return choices[kinds]

    def default(self, *kinds: str) -> str | None:
        """Return the model for requests that name none: the settings' choice if it is of these kinds, else the preferred one.

        `models.contract.preference` says which that is, among the models of the first of the kinds that is served.
        """
        chosen = self._settings.default_model
        if chosen is not None and self._kind(chosen) in (*kinds, None):
            return chosen
        models = next(filter(None, map(self.of_kind, kinds)), {}).values()
        return min(models, key=lambda model: model.preference).name if models else None

    def defaults(self, endpoints: Iterable[Sequence[str]]) -> dict[str, str]:
        """Map every kind of task that is served to the model of requests that name none.

        `endpoints` are the kinds of task that share an endpoint, and so its one default model.
        """
        served = {model.kind for model in self.snapshot.models.values()}
        defaults = {kind: self.default(*kinds) for kinds in endpoints for kind in kinds if kind in served}
        return {kind: name for kind, name in defaults.items() if name is not None}

    def of_kind(self, *kinds: str) -> dict[str, Model]:
        """Return the models that serve these kinds of task, by name."""
        return {name: model for name, model in self.snapshot.models.items() if model.kind in kinds}

    def get(self, name: str | None, kinds: Sequence[str], pointer: str) -> Model:
        """Return the model of that name and these kinds of task, or the default; raise the problems unknown-model and not-ready."""
        name = name if name is not None else self.default(*kinds)
        if name is None:
            raise Problem("not-ready", f"no {kinds[0]} model is being served", headers={"retry-after": "5"})
        names = list(self.of_kind(*kinds))
        if name in self.snapshot.refused or name in names:
            return self.serving(name)
        detail = f"no {kinds[0]} model {name!r}; there are {', '.join(names) or 'none'}"
        raise Problem("unknown-model", detail, errors=[(pointer, detail)] if pointer else ())

    def serving(self, name: str) -> Model:
        """Return the model of that name, of any kind; raise the problems unknown-model and not-ready."""
        models, refused = self.snapshot.models, self.snapshot.refused
        if name in refused:
            raise Problem("not-ready", f"{name} was refused: {refused[name].reason}", headers={"retry-after": "60"})
        if name not in models:
            raise Problem("unknown-model", f"no model {name!r}; there are {', '.join(models) or 'none'}")
        return models[name]

    def _kind(self, name: str) -> str | None:
        known = self.snapshot.models.get(name) or self.snapshot.refused.get(name)
        return known.kind if known else None

    # --- changes ---

    async def _update(self, name: str, choices: Mapping[str, Hashable]) -> None:
        """Serve the current version of a model once it is warm; if that fails, keep what was served."""
        async with self._changing:
            folder = None
            try:
                folder = await asyncio.to_thread(self.catalogue.folder_to_serve, name, name in choices)
                serving = self.snapshot.models.get(name)
                if folder is not None and (serving is None or serving.bundle.folder != folder):
                    self._install(
                        await asyncio.to_thread(load_model, folder, name, self._settings, self._metrics, self._cpu)
                    )
                else:  # it is served already, or none of its versions was promoted
                    self._forget_failure(name)
            except Exception as error:  # one faulty bundle must not stop the others
                self._refuse(name, error, folder)
            self._seen[name] = choices.get(name)

    async def _load_for_promotion(self, name: str, version: str) -> Model:
        """Load a version, or return it if it is served already; raise as `promote` does."""
        folder = None
        try:
            folder = await asyncio.to_thread(self.catalogue.folder, name, version)
            serving = self.snapshot.models.get(name)
            if serving is not None and serving.bundle.folder == folder:
                return serving
            return await asyncio.to_thread(load_model, folder, name, self._settings, self._metrics, self._cpu)
        except (UnknownVersion, StoreAway):
            raise
        except Exception as error:  # on any error, the serving version stays
            raise Problem("bundle-refused", f"{name} {version}: {_reason(error, folder)}") from error

    def _serve(self, model: Model, current: Current) -> None:
        """Serve a version that this process promoted, without waiting to see the new choice."""
        self.catalogue.chosen[model.name] = current.version
        if model is self.snapshot.models.get(model.name):
            self._forget_failure(model.name)
        else:
            self._install(model)

    def _install(self, model: Model) -> None:
        """Put a model in the place of the version before; requests that hold that one finish on it, then it is freed."""
        before = self.snapshot.models.get(model.name)
        models = {**self.snapshot.models, model.name: model}
        self.snapshot = replace(self.snapshot, models={name: models[name] for name in sorted(models)})
        self._forget_failure(model.name)
        if before is not None:
            self._metrics.forget(before.name, before.version, before.predictor.provider)
            return_free_memory()
        predictor = model.predictor
        self._metrics.serve(
            model.name, model.version, predictor.provider, model.calibration.fixed_s, model.calibration.item_s,
            queued=lambda: model.batcher.queued, fallback=predictor.fallback is not None,
        )  # fmt: skip
        log.info("serving %s version %s on %s", model.name, model.version, predictor.provider)
        if predictor.fallback is not None:
            log.warning("%s runs on the CPU: %s", model.name, predictor.fallback)

    def _refuse(self, name: str, error: Exception, folder: Path | None) -> None:
        """Remember why a model cannot be served, and when to try again if the reason may pass."""
        serves = name in self.snapshot.models
        known = self.snapshot.stuck if serves else self.snapshot.refused
        refusal = Refusal(_reason(error, folder), _kind_of(folder))
        if known.get(name) != refusal:  # once, not at every attempt
            log.error("refused %s%s", name, ", which serves the version before" if serves else "", exc_info=error)
        failures = {**known, name: refusal}
        self.snapshot = replace(self.snapshot, **{"stuck" if serves else "refused": failures})
        retries = dict(self.snapshot.retries)
        last = retries.pop(name, None)
        if isinstance(error, OSError | StoreAway | MemoryError):
            pause = self._settings.reconcile_s if last is None else min(2 * last.pause_s, MAX_PAUSE_S)
            retries[name] = Retry(time.monotonic() + pause, pause)
        self.snapshot = replace(self.snapshot, retries=retries)

    def _forget_failure(self, name: str) -> None:
        refused, stuck, retries = (
            {key: value for key, value in failures.items() if key != name}
            for failures in (self.snapshot.refused, self.snapshot.stuck, self.snapshot.retries)
        )
        self.snapshot = replace(self.snapshot, refused=refused, stuck=stuck, retries=retries)


def return_free_memory() -> None:
    """Return the memory of models that were freed to the operating system; glibc keeps it otherwise."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _reason(error: Exception, folder: Path | None) -> str:
    """Return the error's first line, without the path of the server's folder."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = (message.splitlines() or [""])[0]
    text = text if folder is None else text.replace(str(folder), folder.name)
    return text if isinstance(error, BadBundle | StoreAway) else f"{type(error).__name__}: {text}"


def _kind_of(folder: Path | None) -> str | None:
    """Return the kind of task in a folder's bundle.json, however broken the rest of the bundle is; None if it has none."""
    if folder is None:
        return None
    try:
        return str(json.loads((folder / META).read_bytes())["task"]["kind"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
