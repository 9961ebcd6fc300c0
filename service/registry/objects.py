"""The object store of model versions, for API machines and workers that share no disk.

    <URL>/files/<sha256>                      the content of a file, shared by all versions that have it
    <URL>/versions/<model>.<version>.json     the version's files with their sha256 and size: written last, it makes the version
    <URL>/choices/<model>.<number>.json       the version to serve: the highest number holds, and none is written twice

An object store has neither renames nor locks. S3, GCS and Azure offer conditional creation: of two writers of one object,
the second fails. Each choice is therefore a new object, and a writer that loses the race for a number takes the next one.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import fsspec
from fsspec.core import split_protocol, url_to_fs
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from models.contract.bundle import BadBundle, FileEntry, read_bundle
from service.registry.local import Change, LocalStore, StoreAway

ANSWER_S, TRANSFER_S = 5.0, 120.0  # timeouts: of a small request, and of a file or a piece of one
PIECE_BYTES = 8 << 20
MAX_SMALL_BYTES = 1 << 20  # of an object that is read at once: a list of files, a choice, bundle.json
MAX_VERSION_BYTES = 4 << 30
OBJECT = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)\.([A-Za-z0-9_-]+)\.json")  # <model>.<version or number>.json
SETTLED_S = 24 * 3600.0  # a file that was stored later may belong to a version that is about to be published
RACES = 20  # lost races in a row after which something else must be wrong


class _Absent(StoreAway):
    """A missing object, or a path with nothing below it."""


class Manifest(BaseModel):
    """The files of a version in an object store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")], FileEntry]

    @model_validator(mode="after")
    def _bounded(self) -> "Manifest":
        if (total := sum(entry.bytes for entry in self.files.values())) > MAX_VERSION_BYTES:
            raise ValueError(f"expected at most {MAX_VERSION_BYTES} bytes, got {total}")
        return self


class ObjectStore:
    """A store at an fsspec URL; versions are read from complete, verified copies in the local folder `cache`."""

    def __init__(self, url: str, cache: Path) -> None:
        """Raise ValueError for a URL of an unknown kind, ImportError for one whose file system is not installed."""
        fsspec.get_filesystem_class(split_protocol(url)[0])
        self._url = url
        self._cache = LocalStore(cache / hashlib.sha256(url.encode()).hexdigest()[:12])
        self._manifests: dict[tuple[str, str], Manifest] = {}  # immutable, and read once
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
        versions: dict[str, list[str]] = {}
        for name, version in self._list("versions"):
            versions.setdefault(name, []).append(version)
        return versions

    def read(self, name: str, version: str, file: str) -> bytes:
        entry = self._manifest(name, version).files.get(file)
        if entry is None:
            raise FileNotFoundError(f"{name} {version} has no {file}")
        if entry.sha256 not in self._small:
            content = self._read(self._at("files", entry.sha256))
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise BadBundle(f"{file} of {name} {version} is not the published content: its checksum differs")
            self._small[entry.sha256] = content
        return self._small[entry.sha256]

    def folder(self, name: str, version: str) -> Path | None:
        copy = self._cache.folder(name, version)
        if copy is not None:
            try:
                return read_bundle(copy).folder
            except BadBundle:  # the copy was changed; the store has the original
                os.rename(copy, discarded := self._cache.stage(name))
                shutil.rmtree(discarded)
        if version not in self.published().get(name, ()):
            return None
        manifest = self._manifest(name, version)
        staging = self._cache.stage(name)
        try:
            for file, entry in manifest.files.items():
                self._fetch(entry, staging / file)
            self._cache.keep(staging)
            return self._cache.publish(staging, version)
        except BaseException:  # re-raised: no partial copy is left
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def choices(self) -> dict[str, Hashable]:
        return {**self._last()}

    def choice(self, name: str) -> bytes | None:
        number = self._last().get(name)
        if number is None:
            return None
        return self._remember(name, self._read(self._choice(name, number)))

    def choose(self, name: str, change: Change) -> None:
        for _ in range(RACES):
            number = self._last().get(name, 0)
            chosen = change(self._read(self._choice(name, number)) if number else None)
            if chosen is None:
                return
            if self._create(self._choice(name, number + 1), chosen):
                self._remember(name, chosen)
                return
        raise StoreAway(f"{name}: other processes promoted a version {RACES} times meanwhile; try again")

    def _remember(self, name: str, choice: bytes) -> bytes:
        """Keep a local copy of the choice, for use while the store is away."""
        with suppress(StoreAway):  # a full local disk makes no promotion fail
            self._cache.choose(name, lambda present: None if present == choice else choice)
        return choice

    def remembered(self) -> dict[str, bytes]:
        choices = {name: self._cache.choice(name) for name in self._cache.choices()}
        return {name: choice for name, choice in choices.items() if choice is not None}

    def remove(self, name: str, version: str) -> bool:
        """Remove a version's list of files, then the files that no other version has, and the local copy."""
        if version not in self.published().get(name, ()):
            return False
        files = self._manifest(name, version).files.values()
        self._ask("rm_file", self._at("versions", f"{name}.{version}.json"))
        self._manifests.pop((name, version), None)
        others = {
            entry.sha256
            for other, versions in self.published().items()
            for one in versions
            for entry in self._manifest(other, one).files.values()
        }
        for sha256 in {entry.sha256 for entry in files} - others:
            place = self._at("files", sha256)
            with suppress(_Absent):
                if time.time() - self._ask("modified", place).timestamp() > SETTLED_S:
                    self._ask("rm_file", place)
        self.remove_copy(name, version)
        return True

    def copies(self) -> list[tuple[str, str, Path]]:
        return [
            (name, version, folder)
            for name, versions in self._cache.published().items()
            for version in versions
            if (folder := self._cache.folder(name, version)) is not None
        ]

    def remove_copy(self, name: str, version: str) -> bool:
        return self._cache.remove(name, version)

    # --- objects ---

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """Open the file system; return it and the path of the URL in it. Some file systems look for credentials here."""
        with _store_errors():
            return url_to_fs(self._url, skip_instance_cache=True, use_listings_cache=False)

    def _at(self, folder: str, name: str = "") -> str:
        return "/".join(part for part in (self._opened[1].rstrip("/"), folder, name) if part)

    def _choice(self, name: str, number: int) -> str:
        return self._at("choices", f"{name}.{number:08}.json")

    def _last(self) -> dict[str, int]:
        """Map each model to the number of its last choice."""
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
                raise BadBundle(f"the manifest of {name} {version} is invalid: {error.errors()[0]['msg']}") from error
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
        """Read a small object; raise BadBundle if it is empty or too large."""
        size = self._size(place)
        if not 0 < size <= MAX_SMALL_BYTES:
            raise BadBundle(f"{_last_part(place)}: expected 1 to {MAX_SMALL_BYTES} bytes, got {size}")
        return self._ask("cat_file", place, start=0, end=size)

    def _fetch(self, entry: FileEntry, target: Path) -> None:
        """Download a file; raise BadBundle if its size or checksum differs."""
        place, digest = self._at("files", entry.sha256), hashlib.sha256()
        if (size := self._size(place)) != entry.bytes:
            raise BadBundle(f"{target.name}: expected {entry.bytes} bytes in the store, got {size}")
        with target.open("xb") as file:
            for start in range(0, entry.bytes, PIECE_BYTES):
                end = min(start + PIECE_BYTES, entry.bytes)
                piece = self._ask("cat_file", place, within=TRANSFER_S, start=start, end=end)
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != entry.sha256:
            raise BadBundle(f"{target.name} is not the published content: its checksum differs")

    def _size(self, place: str) -> int:
        try:
            return int(self._ask("info", place)["size"])
        except _Absent as error:
            raise BadBundle(f"there is no {_last_part(place)} in the store") from error

    def _create(self, place: str, content: bytes) -> bool:
        """Create an object; return False if another exists in its place."""
        try:
            self._ask("pipe_file", place, content, mode="create")
        except StoreAway as error:  # it exists already, or it was written and the answer was lost
            try:
                return self._read(place) == content
            except (StoreAway, BadBundle):
                raise error from None
        return True

    def _ask(self, method: str, *args: object, within: float | None = None, **options: object) -> Any:
        files = self._opened[0]
        limit = {"timeout": within or ANSWER_S} if files.async_impl else {}
        with _store_errors():
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
def _store_errors() -> Iterator[None]:
    """Turn every error into StoreAway, since each file system has its own."""
    try:
        yield
    except StoreAway:
        raise
    except Exception as error:  # each file system has its own
        message = (str(error).splitlines() or [""])[0][:200] or "no answer in time"
        away = _Absent if isinstance(error, FileNotFoundError) else StoreAway
        raise away(f"{type(error).__name__}: {message}") from error
