"""Versions of models in an object store, which API machines and workers share that share no disk.

    <URL>/files/<sha256>                      the content of a file, whichever versions have it
    <URL>/versions/<model>.<version>.json     its files with their sha256 and size: written last, it makes the version
    <URL>/choices/<model>.<number>.json       which version is served: the highest number says it, and none is written twice

An object store has neither renames nor locks. What S3, GCS and Azure have is that of two who create the same object one is told
that it was there: so each choice is a new object, and who loses the race for a number looks again and takes the next.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import fsspec
from fsspec.core import split_protocol, url_to_fs
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from models.contract.bundle import BadBundle, FileEntry, read_bundle
from service.registry.local import Change, LocalStore, StoreAway

ANSWER_S, TRANSFER_S = 5.0, 120.0  # longest wait for a small answer, and for a file or a piece of one
PIECE_BYTES = 8 << 20
MAX_SMALL_BYTES = 1 << 20  # of what is read at once: lists of files, choices, bundle.json
MAX_VERSION_BYTES = 4 << 30
OBJECT = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)\.([A-Za-z0-9_-]+)\.json")  # of a model: a version, or a number
RACES = 20  # lost one after the other: then something else is wrong


class _Absent(StoreAway):
    """There is no such object, or nothing below the path."""


class Manifest(BaseModel):
    """The files of a version in an object store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")], FileEntry]

    @model_validator(mode="after")
    def _bounded(self) -> "Manifest":
        if (total := sum(entry.bytes for entry in self.files.values())) > MAX_VERSION_BYTES:
            raise ValueError(f"{total} bytes are more than {MAX_VERSION_BYTES}")
        return self


class ObjectStore:
    """An object store. `cache` is a folder of this machine with whole and checked copies of versions, which are read from there."""

    def __init__(self, url: str, cache: Path) -> None:
        """Raises ValueError for a URL of no known kind, ImportError for one whose file system is not installed."""
        fsspec.get_filesystem_class(split_protocol(url)[0])
        self._url = url
        self._cache = LocalStore(cache / hashlib.sha256(url.encode()).hexdigest()[:12])
        self._manifests: dict[tuple[str, str], Manifest] = {}  # what was read once: it is never changed
        self._small: dict[str, bytes] = {}

    def stage(self, name: str) -> Path:
        return self._cache.stage(name)

    def keep(self, staging: Path) -> None:
        self._cache.keep(staging)
        for name, entry in _manifest_of(staging).files.items():
            self._ask("put_file", str(staging / name), self._at("files", entry.sha256), within=TRANSFER_S)

    def publish(self, staging: Path, version: str) -> Path:
        name = staging.parents[1].name
        manifest = _manifest_of(staging).model_dump_json(indent=2).encode()
        if self._create(self._at("versions", f"{name}.{version}.json"), manifest):
            return self._cache.publish(staging, version)
        shutil.rmtree(staging)
        return staging.parent / version

    def published(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, version in self._list("versions"):
            found.setdefault(name, []).append(version)
        return found

    def read(self, name: str, version: str, file: str) -> bytes:
        entry = self._manifest(name, version).files.get(file)
        if entry is None:
            raise FileNotFoundError(f"{name} {version} has no {file}")
        if entry.sha256 not in self._small:
            content = self._read(self._at("files", entry.sha256))
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise BadBundle(f"{file} of {name} {version} is not what was published: its checksum differs")
            self._small[entry.sha256] = content
        return self._small[entry.sha256]

    def folder(self, name: str, version: str) -> Path | None:
        held = self._cache.folder(name, version)
        if held is not None:
            try:
                return read_bundle(held).folder
            except BadBundle:  # a copy that was changed since; there is a good one where it came from
                os.rename(held, spoilt := self._cache.stage(name))
                shutil.rmtree(spoilt)
        if version not in self.published().get(name, ()):
            return None
        manifest = self._manifest(name, version)
        staging = self._cache.stage(name)
        try:
            for file, entry in manifest.files.items():
                self._fetch(entry, staging / file)
            self._cache.keep(staging)
            return self._cache.publish(staging, version)
        except BaseException:  # and raised again: nothing half is left
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def choices(self) -> dict[str, Hashable]:
        return {**self._last()}

    def choice(self, name: str) -> bytes | None:
        number = self._last().get(name)
        if number is None:
            return None
        chosen = self._read(self._choice(name, number))
        self._cache.choose(name, lambda held: None if held == chosen else chosen)
        return chosen

    def choose(self, name: str, change: Change) -> None:
        for _ in range(RACES):
            number = self._last().get(name, 0)
            chosen = change(self._read(self._choice(name, number)) if number else None)
            if chosen is None or self._create(self._choice(name, number + 1), chosen):
                return
        raise StoreAway(f"{name}: others chose {RACES} times in between")

    def remembered(self) -> dict[str, bytes]:
        held = {name: self._cache.choice(name) for name in self._cache.choices()}
        return {name: choice for name, choice in held.items() if choice is not None}

    # --- objects ---

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the path of the URL in it. Some look for credentials here already."""
        with _answering():
            return url_to_fs(self._url, skip_instance_cache=True, use_listings_cache=False)

    def _at(self, folder: str, name: str = "") -> str:
        return "/".join(part for part in (self._opened[1].rstrip("/"), folder, name) if part)

    def _choice(self, name: str, number: int) -> str:
        return self._at("choices", f"{name}.{number:08}.json")

    def _last(self) -> dict[str, int]:
        """The number of the last choice of each model."""
        last: dict[str, int] = {}
        for name, number in self._list("choices"):
            if number.isdecimal():
                last[name] = max(last.get(name, 0), int(number))
        return last

    def _manifest(self, name: str, version: str) -> Manifest:
        if (name, version) not in self._manifests:
            try:
                manifest = Manifest.model_validate_json(self._read(self._at("versions", f"{name}.{version}.json")))
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise BadBundle(f"the list of files of {name} {version} is not one: {said}") from error
            self._manifests[name, version] = manifest
        return self._manifests[name, version]

    def _list(self, folder: str) -> list[tuple[str, str]]:
        try:
            paths = self._ask("ls", self._at(folder), detail=False)
        except _Absent:
            return []
        matches = [OBJECT.fullmatch(_last_part(path)) for path in paths]
        return [(match[1], match[2]) for match in matches if match]

    def _read(self, place: str) -> bytes:
        """A small object, whole."""
        size = self._size(place)
        if not 0 < size <= MAX_SMALL_BYTES:
            raise BadBundle(f"{_last_part(place)} has {size} bytes, not 1 to {MAX_SMALL_BYTES}")
        return self._ask("cat_file", place, start=0, end=size)

    def _fetch(self, entry: FileEntry, target: Path) -> None:
        place, digest = self._at("files", entry.sha256), hashlib.sha256()
        if (size := self._size(place)) != entry.bytes:
            raise BadBundle(f"{target.name} has {size} bytes in the store, not {entry.bytes}")
        with target.open("xb") as file:
            for start in range(0, entry.bytes, PIECE_BYTES):
                end = min(start + PIECE_BYTES, entry.bytes)
                piece = self._ask("cat_file", place, within=TRANSFER_S, start=start, end=end)
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != entry.sha256:
            raise BadBundle(f"{target.name} is not what was published: its checksum differs")

    def _size(self, place: str) -> int:
        try:
            return int(self._ask("info", place)["size"])
        except _Absent as error:
            raise BadBundle(f"there is no {_last_part(place)} in the store") from error

    def _create(self, place: str, content: bytes) -> bool:
        """Write an object that is not there yet; False: another is."""
        try:
            self._ask("pipe_file", place, content, mode="create")
        except StoreAway as error:  # one that is there, as some stores say it; or it was written, and the answer lost
            try:
                return self._read(place) == content
            except (StoreAway, BadBundle):
                raise error from None
        return True

    def _ask(self, method: str, *args: object, within: float | None = None, **options: object) -> Any:
        files = self._opened[0]
        limit = {"timeout": within or ANSWER_S} if files.async_impl else {}
        with _answering():
            return getattr(files, method)(*args, **options, **limit)


def _manifest_of(staging: Path) -> Manifest:
    files = {}
    for path in sorted(staging.iterdir()):
        content = path.read_bytes()
        files[path.name] = FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    return Manifest(files=files)


def _last_part(place: str) -> str:
    return place.rpartition("/")[2]


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except StoreAway:
        raise
    except Exception as error:  # every file system has errors of its own
        said = (str(error).splitlines() or [""])[0][:200] or "no answer in time"
        away = _Absent if isinstance(error, FileNotFoundError) else StoreAway
        raise away(f"{type(error).__name__}: {said}") from error
