"""The versions of a model: each a bundle that never changes, published whole or not at all, and one of them current.

A version is a bundle's files and lineage.json, which states the job and the data that made it. The modules local and
objects know where versions are stored, and how to publish or choose one in one step there.
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
    """A version that does not exist; the message lists those that do."""


class NotCurrent(ValueError):
    """A version that is not the current one, or that has no predecessor."""


class InUse(ValueError):
    """A version that is current, or that a rollback would return to."""


class Lineage(BaseModel):
    """The job and the data that made a version."""

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
    """A version, and the time at which it became current."""

    version: str
    at: float


class Current(BaseModel):
    """The version to serve; `history` lists its predecessors, the newest last."""

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
    """The published versions in a folder or at an fsspec URL. Every method raises StoreAway if they cannot be reached."""

    def __init__(self, where: Path | str, cache: Path = Path("state/cache")) -> None:
        """Open the store at `where`; `cache` is a local folder for copies of versions at a URL.

        Raise ValueError for a URL of an unknown kind, ImportError for one whose file system is not installed.
        """
        protocol, path = split_protocol(str(where))
        local = protocol in (None, "file", "local")
        self.store: Store = LocalStore(Path(path)) if local else ObjectStore(str(where), cache)
        self._read: dict[tuple[str, str], Version] = {}  # a version never changes, and is read once

    @classmethod
    def of(cls, settings: Settings) -> "Versions":
        """Open the store that the settings name; raise the errors of the constructor."""
        return cls(settings.registry or settings.versions, settings.versions_cache)

    # --- publishing ---

    def stage(self, bundle: Bundle, lineage: Lineage) -> Path:
        """Copy a bundle to the store, for `publish` to make a version of; return a local folder that stands for the copy."""
        staging = self.store.stage(bundle.meta.name)
        try:
            for file in sorted(bundle.folder.iterdir()):
                shutil.copyfile(file, staging / file.name)
            (staging / LINEAGE).write_text(lineage.model_dump_json(indent=2) + "\n")
            read_bundle(staging)
            self.store.keep(staging)
        except BaseException:  # re-raised: no partial copy is left
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return staging

    def publish(self, staging: Path, version: str) -> Path:
        """Make a staged bundle a version, in one step; an existing version stays as it is."""
        return self.store.publish(staging, version)

    # --- reading ---

    def published(self) -> dict[str, list[Version]]:
        """Map each model to its published versions, the newest first."""
        listed = self.store.published()
        read = list(self._read.items())  # in one step: another thread may add to it
        self._read = {key: one for key, one in read if key[1] in listed.get(key[0], ())}
        return {name: self._newest_first(name, versions) for name, versions in sorted(listed.items())}

    def versions(self, name: str) -> list[Version]:
        """List the published versions of a model, the newest first."""
        return self._newest_first(name, self.store.published().get(name, []))

    def folder(self, name: str, version: str) -> Path | None:
        """Return a local folder with a published version, or None; raise BadBundle if its content has changed."""
        return self.store.folder(name, version)

    def choices(self) -> dict[str, Hashable]:
        """Map each promoted model to a token that changes with every promotion."""
        return self.store.choices()

    def current(self, name: str) -> Current | None:
        """Return the version to serve, or None if none was promoted; raise BadBundle."""
        return _current(name, self.store.choice(name))

    def remembered(self) -> dict[str, Current]:
        """Return the choices that this machine saw last, for use while the versions cannot be reached."""
        choices = {}
        for name, choice in self.store.remembered().items():
            with suppress(BadBundle):
                if (current := _current(name, choice)) is not None:
                    choices[name] = current
        return choices

    def _newest_first(self, name: str, versions: list[str]) -> list[Version]:
        read = [self._version(name, version) for version in versions]
        return sorted(read, key=lambda one: one.lineage.created_at if one.lineage else 0, reverse=True)

    def _version(self, name: str, version: str) -> Version:
        """Read a version's metadata and lineage; remember them if both could be read."""
        if (known := self._read.get((name, version))) is not None:
            return known

        def read(file: str, value: type[Value]) -> Value | None:
            try:
                return value.model_validate_json(self.store.read(name, version, file))
            except (OSError, BadBundle, ValidationError):
                return None

        entry = Version(name, version, read(META, BundleMeta), read(LINEAGE, Lineage))
        if entry.meta is not None and entry.lineage is not None:
            self._read[name, version] = entry
        return entry

    def copies(self) -> list[tuple[str, str, Path]]:
        """List model, version and folder of every local copy of a version that is stored elsewhere."""
        return self.store.copies()

    def in_use(self, name: str) -> set[str]:
        """Return the current version of a model and the one that a rollback returns to; raise BadBundle."""
        return _in_use(self.current(name))

    # --- removing ---

    def remove(self, name: str, version: str) -> bool:
        """Remove a version; return False if there is no such version. Raise InUse or BadBundle.

        A store without locks may lose a version that another process promotes at the same moment; that process then refuses it.
        """
        if version not in self.store.published().get(name, ()):
            return False
        removed: list[bool] = []

        def remove_unused(choice: bytes | None) -> None:
            if version in _in_use(_current(name, choice)):
                raise InUse(f"{name} {version} is the current version or its predecessor; promote others first")
            removed.append(self.store.remove(name, version))

        self.store.choose(name, remove_unused)
        return removed[0]

    def remove_copy(self, name: str, version: str) -> bool:
        """Remove the local copy of a version that is stored elsewhere; return False if there is none."""
        return self.store.remove_copy(name, version)

    # --- choosing ---

    def promote(self, name: str, version: str, before: str | None) -> Current:
        """Make a version the current one; this is idempotent. Raise BadBundle if the present choice cannot be read.

        `before` is the version that was served until now, in case none was promoted yet.
        """

        def promoted(present: Current | None) -> Current:
            if present is not None and present.version == version:
                return present
            history = present.history if present else []
            if present is not None:
                history = [*history, Step(version=present.version, at=present.at)]
            elif before is not None and before != version:
                history = [Step(version=before, at=0.0)]
            return Current(version=version, at=time.time(), history=history[-KEEP_HISTORY:])

        return self._choose(name, promoted)

    def before(self, name: str, version: str) -> str:
        """Return the predecessor of `version`, the current version; raise NotCurrent or BadBundle."""
        return _predecessor(name, version, self.current(name)).version

    def roll_back(self, name: str, version: str) -> Current:
        """Replace `version`, the current version, by its predecessor; raise NotCurrent or BadBundle."""
        return self._choose(name, lambda present: _predecessor(name, version, present))

    def _choose(self, name: str, change: Callable[[Current | None], Current]) -> Current:
        chosen: list[Current] = []

        def next_of(choice: bytes | None) -> bytes | None:
            present = _current(name, choice)
            chosen.append(change(present))
            return None if chosen[-1] is present else json.dumps(chosen[-1].model_dump(), indent=2).encode() + b"\n"

        self.store.choose(name, next_of)
        return chosen[-1]


def _in_use(present: Current | None) -> set[str]:
    return set() if present is None else {present.version, *(step.version for step in present.history[-1:])}


def _predecessor(name: str, version: str, present: Current | None) -> Current:
    """Return the choice that follows a rollback of `version`; raise NotCurrent."""
    if present is None or present.version != version:
        current = "" if present is None else f", {present.version} is"
        raise NotCurrent(f"{name} {version} is not the current version{current}")
    if not present.history:
        raise NotCurrent(f"no version of {name} was served before {version}")
    return Current(version=present.history[-1].version, at=time.time(), history=present.history[:-1])


def _current(name: str, choice: bytes | None) -> Current | None:
    try:
        return None if choice is None else Current.model_validate_json(choice)
    except ValidationError as error:
        raise BadBundle(f"the choice of a version of {name} cannot be read: {error.errors()[0]['msg']}") from error
