"""What could be served: the bundles that ship and the versions that were published, whether or not these can be reached just now."""

import logging
from collections.abc import Hashable
from pathlib import Path

from pydantic import ValidationError

from models.contract.bundle import META, BundleMeta
from service.registry.local import StoreAway
from service.registry.versions import UnknownVersion, Version, Versions
from service.settings import Settings

log = logging.getLogger("chiron.shelf")


class Shelf:
    """Versions of models by name. Every method may wait for a store and is not for an event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises as Versions does."""
        self._bundles = settings.bundles
        self.versions = Versions.of(settings)
        self.away: str | None = None  # why the published ones cannot be reached
        self.chosen: dict[str, str] = {}  # of each model, the version that was chosen, as it was read last
        self._published: dict[str, list[Version]] = {}  # as they were read last
        self._choices: dict[str, Hashable] = {}

    def choices(self) -> dict[str, Hashable]:
        """Of each model of which somebody has chosen a version, what changes with the choice; nothing while nobody can tell."""
        try:
            self._choices = self.versions.choices()
        except StoreAway as error:
            self._lose(error)
            return {}
        if self.away is not None:
            log.info("the versions can be reached again")
            self.away = None
        return self._choices

    def names(self) -> list[str]:
        """The models of which a version is to be served."""
        return sorted({*self._shipped(), *self._choices, *(self.versions.remembered() if self.away else ())})

    def wanted(self, name: str, chosen: bool) -> Path | None:
        """Where the version is that is to be served; None: there is none. Raises UnknownVersion, StoreAway, BadBundle.

        `chosen` is false where nobody has chosen, or nobody can tell: then it is what was chosen when it was last seen.
        """
        self.chosen.pop(name, None)
        remembered = self.versions.remembered() if self.away else {}
        current = self.versions.current(name) if chosen else remembered.get(name)
        if current is None:
            return self._bundles / name if name in self._shipped() else None
        self.chosen[name] = current.version
        return self.folder(name, current.version)

    def folder(self, name: str, version: str) -> Path:
        """Where a version is: the one that ships, or one published. Raises UnknownVersion, StoreAway, BadBundle."""
        own = self._own(name)
        if own is not None and own.version == version:
            return self._bundles / name
        folder = self.versions.folder(name, version)
        if folder is None:
            found = ", ".join(one.version for one in self.with_own(name, self.versions.versions(name)))
            raise UnknownVersion(f"{name} has no version {version[:64]!r}; there are {found or 'none'}")
        return folder

    def published(self) -> dict[str, list[Version]]:
        """The published versions of each model, as they were read last while they cannot be reached."""
        if self.away is None:
            try:
                self._published = self.versions.published()
            except StoreAway as error:
                self._lose(error)
        return self._published

    def with_own(self, name: str, published: list[Version]) -> list[Version]:
        """The versions of a model, the newest first, the one that ships last."""
        own = self._own(name)
        if own is None or own.version in {one.version for one in published}:
            return published
        return [*published, Version(name, own.version, own, None)]

    def _own(self, name: str) -> BundleMeta | None:
        """What the bundle that ships says of itself."""
        return _meta_of(self._bundles / name) if name in self._shipped() else None

    def _shipped(self) -> set[str]:
        shipped = self._bundles.iterdir() if self._bundles.is_dir() else ()
        return {path.name for path in shipped if path.is_dir() and not path.name.startswith(".")}

    def _lose(self, error: StoreAway) -> None:
        if self.away is None:  # once, not at every look
            log.error("the versions cannot be reached, and go on with what is served", exc_info=error)
        self.away = str(error)


def _meta_of(folder: Path) -> BundleMeta | None:
    """What a bundle says of itself; None if it says nothing that can be read."""
    try:
        return BundleMeta.model_validate_json((folder / META).read_bytes())
    except (OSError, ValidationError):
        return None
