"""The catalogue of what could be served: the bundles that ship and the versions that were published.

It remembers the published versions and the choices, for when their store cannot be reached.
"""

import logging
from collections.abc import Hashable
from pathlib import Path

from pydantic import ValidationError

from models.contract.bundle import META, BundleMeta
from service.registry.local import StoreAway
from service.registry.versions import UnknownVersion, Version, Versions
from service.settings import Settings

log = logging.getLogger("chiron.catalogue")


class Catalogue:
    """Versions of models by name. Every method may wait for a store, and belongs in a thread."""

    def __init__(self, settings: Settings) -> None:
        """Raise the errors of `Versions`."""
        self._bundles = settings.bundles
        self.versions = Versions.of(settings)
        self.away: str | None = None  # why the published versions cannot be reached
        self.chosen: dict[str, str] = {}  # by model, the chosen version when it was last read
        self._published: dict[str, list[Version]] = {}  # when they were last read
        self._choices: dict[str, Hashable] = {}

    def choices(self) -> dict[str, Hashable]:
        """Map each promoted model to a token that changes with every promotion; empty while the store is away."""
        try:
            self._choices = self.versions.choices()
        except StoreAway as error:
            self._note_away(error)
            return {}
        if self.away is not None:
            log.info("the versions can be reached again")
            self.away = None
        return self._choices

    def names(self) -> list[str]:
        """List the models that have a version to serve."""
        return sorted({*self._shipped(), *self._choices, *(self.versions.remembered() if self.away else ())})

    def folder_to_serve(self, name: str, chosen: bool) -> Path | None:
        """Return the folder of the version to serve, or None if there is none; raise UnknownVersion, StoreAway or BadBundle.

        `chosen` is false if nobody has promoted a version or the store is away; then the choice last seen holds.
        """
        self.chosen.pop(name, None)
        remembered = self.versions.remembered() if self.away else {}
        current = self.versions.current(name) if chosen else remembered.get(name)
        if current is None:
            return self._bundles / name if name in self._shipped() else None
        self.chosen[name] = current.version
        return self.folder(name, current.version)

    def folder(self, name: str, version: str) -> Path:
        """Return the folder of a shipped or published version; raise UnknownVersion, StoreAway or BadBundle."""
        shipped = self._shipped_meta(name)
        if shipped is not None and shipped.version == version:
            return self._bundles / name
        folder = self.versions.folder(name, version)
        if folder is None:
            known = ", ".join(one.version for one in self.with_shipped(name, self.versions.versions(name)))
            raise UnknownVersion(f"{name} has no version {version[:64]!r}; there are {known or 'none'}")
        return folder

    def meta(self, name: str, version: str = "") -> BundleMeta | None:
        """Return the metadata of a version, by default of the one to serve, without its files; None if it cannot be read.

        Raises UnknownVersion, StoreAway or BadBundle.
        """
        known = {one.version: one.meta for one in self.with_shipped(name, self.versions.versions(name))}
        if not known:
            raise UnknownVersion(f"no model {name!r}; there are {', '.join(self.names()) or 'none'}")
        if not version:
            current, shipped = self.versions.current(name), self._shipped_meta(name)
            if current is None and shipped is None:
                raise UnknownVersion(f"no version of {name} was promoted; name one, as {name}@{next(iter(known))}")
            version = current.version if current else shipped.version if shipped else ""
        if version not in known:
            raise UnknownVersion(f"{name} has no version {version!r}; there are {', '.join(known)}")
        return known[version]

    def published(self) -> dict[str, list[Version]]:
        """Map each model to its published versions, as last read while the store is away."""
        if self.away is None:
            try:
                self._published = self.versions.published()
            except StoreAway as error:
                self._note_away(error)
        return self._published

    def with_shipped(self, name: str, published: list[Version]) -> list[Version]:
        """Append the shipped version of a model to its published ones, which are the newest first."""
        shipped = self._shipped_meta(name)
        if shipped is None or shipped.version in {one.version for one in published}:
            return published
        return [*published, Version(name, shipped.version, shipped, None)]

    def _shipped_meta(self, name: str) -> BundleMeta | None:
        return _meta_of(self._bundles / name) if name in self._shipped() else None

    def _shipped(self) -> set[str]:
        shipped = self._bundles.iterdir() if self._bundles.is_dir() else ()
        return {path.name for path in shipped if path.is_dir() and not path.name.startswith(".")}

    def _note_away(self, error: StoreAway) -> None:
        if self.away is None:  # once, not at every look
            log.error("the versions cannot be reached, and what is served goes on", exc_info=error)
        self.away = str(error)


def _meta_of(folder: Path) -> BundleMeta | None:
    """Read a bundle's metadata; None if it cannot be read."""
    try:
        return BundleMeta.model_validate_json((folder / META).read_bytes())
    except (OSError, ValidationError):
        return None
