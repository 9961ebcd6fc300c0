"""The versions of a model: each a bundle that is never changed, published whole or not at all, and one of them current.

A version is a bundle's files and lineage.json: which job made it, from what. Where versions are, and how to publish or to
choose is done in one step there, is in version_stores.py and version_objects.py.
"""

import json
import shutil
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fsspec.core import split_protocol
from pydantic import BaseModel, ConfigDict, ValidationError

from models.contract.bundle import META, BadBundle, Bundle, BundleMeta, read_bundle
from service.registry.local import LocalStore, Store
from service.registry.objects import ObjectStore
from service.settings import Settings

LINEAGE = "lineage.json"
KEEP_HISTORY = 100
Value = TypeVar("Value", bound=BaseModel)


class UnknownVersion(LookupError):
    """No such version; the message lists those there are."""


class NotCurrent(ValueError):
    """A version that is not the current one, or that none came before."""


class Lineage(BaseModel):
    """Where a version comes from."""

    model_config = ConfigDict(frozen=True)

    job: str
    attempt: int
    run: str
    seed: int
    data: str
    data_sha256: str
    git_commit: str
    created_at: float


class Step(BaseModel):
    """A version that became current, and when."""

    version: str
    at: float


class Current(BaseModel):
    """Which version is served; `history` is what was before, the newest last."""

    version: str
    at: float
    history: list[Step] = []


@dataclass(frozen=True)
class Version:
    """A published bundle; `meta` and `lineage` are None if they cannot be read."""

    name: str
    version: str
    meta: BundleMeta | None
    lineage: Lineage | None


class Versions:
    """All published versions in a folder, or at an fsspec URL. Every method raises StoreAway if they cannot be reached."""

    def __init__(self, where: Path | str, cache: Path = Path("state/cache")) -> None:
        """`cache`: the folder of this machine with copies of what is at a URL.

        Raises ValueError for a URL of no known kind, ImportError for one whose file system is not installed.
        """
        protocol, path = split_protocol(str(where))
        local = protocol in (None, "file", "local")
        self.store: Store = LocalStore(Path(path)) if local else ObjectStore(str(where), cache)

    @classmethod
    def of(cls, settings: Settings) -> "Versions":
        """Those that the settings name. Raises as the constructor."""
        return cls(settings.registry or settings.versions, settings.versions_cache)

    # --- publishing ---

    def stage(self, bundle: Bundle, lineage: Lineage) -> Path:
        """A copy of a bundle where it is going to be, which `publish` makes a version; what it returns is of this machine."""
        staging = self.store.stage(bundle.meta.name)
        try:
            for file in sorted(bundle.folder.iterdir()):
                shutil.copyfile(file, staging / file.name)
            (staging / LINEAGE).write_text(lineage.model_dump_json(indent=2) + "\n")
            read_bundle(staging)
            self.store.keep(staging)
        except BaseException:  # and raised again: nothing half is left
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return staging

    def publish(self, staging: Path, version: str) -> Path:
        """Make a staged bundle a version, in one step. One that is there already stays as it is."""
        return self.store.publish(staging, version)

    # --- reading ---

    def published(self) -> dict[str, list[Version]]:
        """The published versions of each model, the newest first."""
        found = {
            name: [self._version(name, version) for version in versions]
            for name, versions in sorted(self.store.published().items())
        }
        for versions in found.values():
            versions.sort(key=lambda version: version.lineage.created_at if version.lineage else 0, reverse=True)
        return found

    def versions(self, name: str) -> list[Version]:
        """The published versions of a model, the newest first."""
        return self.published().get(name, [])

    def folder(self, name: str, version: str) -> Path | None:
        """A folder on this machine with a published version. Raises BadBundle if it is not what was published."""
        return self.store.folder(name, version)

    def choices(self) -> dict[str, Hashable]:
        """Of each model of which somebody has chosen a version, what changes whenever the choice does."""
        return self.store.choices()

    def current(self, name: str) -> Current | None:
        """Which version is served; None: nobody has chosen. Raises BadBundle."""
        return _current(name, self.store.choice(name))

    def remembered(self) -> dict[str, Current]:
        """The choices as they were last seen from this machine, for when the versions cannot be reached."""
        found = {}
        for name, choice in self.store.remembered().items():
            with suppress(BadBundle):
                if (current := _current(name, choice)) is not None:
                    found[name] = current
        return found

    def _version(self, name: str, version: str) -> Version:
        def read(file: str, value: type[Value]) -> Value | None:
            try:
                return value.model_validate_json(self.store.read(name, version, file))
            except (OSError, BadBundle, ValidationError):
                return None

        return Version(name, version, read(META, BundleMeta), read(LINEAGE, Lineage))

    # --- choosing ---

    def promote(self, name: str, version: str, before: str | None) -> Current:
        """Make a version the current one; `before` is what was served where nobody had chosen yet. Again: no change.

        Raises BadBundle if the choice that holds cannot be read.
        """

        def promoted(held: Current | None) -> Current:
            if held is not None and held.version == version:
                return held
            history = held.history if held else []
            if held is not None:
                history = [*history, Step(version=held.version, at=held.at)]
            elif before is not None and before != version:
                history = [Step(version=before, at=0.0)]
            return Current(version=version, at=time.time(), history=history[-KEEP_HISTORY:])

        return self._choose(name, promoted)

    def before(self, name: str, version: str) -> str:
        """What was served before `version`, which is the current one. Raises NotCurrent, BadBundle."""
        return _back(name, version, self.current(name)).version

    def roll_back(self, name: str, version: str) -> Current:
        """Take back `version`, the current one: what was served before it is again. Raises NotCurrent, BadBundle."""
        return self._choose(name, lambda held: _back(name, version, held))

    def _choose(self, name: str, change: Callable[[Current | None], Current]) -> Current:
        chosen: list[Current] = []

        def next_of(choice: bytes | None) -> bytes | None:
            held = _current(name, choice)
            chosen.append(change(held))
            return None if chosen[-1] is held else json.dumps(chosen[-1].model_dump(), indent=2).encode() + b"\n"

        self.store.choose(name, next_of)
        return chosen[-1]


def _back(name: str, version: str, held: Current | None) -> Current:
    """The choice after `version` was taken back. Raises NotCurrent."""
    if held is None or held.version != version:
        raise NotCurrent(f"{name} {version} is not the current version{'' if held is None else f', {held.version} is'}")
    if not held.history:
        raise NotCurrent(f"no version of {name} was served before {version}")
    return Current(version=held.history[-1].version, at=time.time(), history=held.history[:-1])


def _current(name: str, choice: bytes | None) -> Current | None:
    try:
        return None if choice is None else Current.model_validate_json(choice)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise BadBundle(f"the choice of a version of {name} is not what was written: {said}") from error
