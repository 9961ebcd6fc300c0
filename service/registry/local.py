"""The interface of a store of model versions, and the store that is a folder; module objects has the object store.

    <root>/<model>/versions/<version>/<file>     renamed there in one step
    <root>/<model>/current.json                  the version to serve: replaced in one step, under a lock

A store does not look into the files or into a choice.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

CURRENT = "current.json"
STALE_S = 24 * 3600.0

Change = Callable[[bytes | None], bytes | None]  # from the present choice to the next, or None to keep it


class StoreAway(Exception):
    """A store that does not answer, or refuses to."""


class Store(Protocol):
    """A store of versions, which are files under a name, and of choices, a few bytes a model. Every method raises StoreAway."""

    def stage(self, name: str) -> Path:
        """Return an empty local folder for a version's files."""
        ...

    def keep(self, staging: Path) -> None:
        """Store the files of a staged version durably; it is not visible yet."""
        ...

    def publish(self, staging: Path, version: str) -> Path:
        """Make a kept version visible in one step; an existing version stays as it is."""
        ...

    def published(self) -> dict[str, list[str]]:
        """Map each model to its versions."""
        ...

    def read(self, name: str, version: str, file: str) -> bytes:
        """Return the content of a small file of a version; raise OSError or BadBundle."""
        ...

    def folder(self, name: str, version: str) -> Path | None:
        """Return a local folder with the whole version, or None if there is no such version; raise BadBundle."""
        ...

    def choices(self) -> dict[str, Hashable]:
        """Map each model with a choice to a token that changes with every choice."""
        ...

    def choice(self, name: str) -> bytes | None:
        """Return the present choice, or None."""
        ...

    def choose(self, name: str, change: Change) -> None:
        """Replace the choice atomically; raise what `change` raises."""
        ...

    def remembered(self) -> dict[str, bytes]:
        """Return the choices that this machine saw last, for use while the store is away."""
        ...

    def remove(self, name: str, version: str) -> bool:
        """Remove a version in one step; return False if there is no such version."""
        ...

    def copies(self) -> list[tuple[str, str, Path]]:
        """List model, version and folder of every local copy of a version that is stored elsewhere."""
        ...

    def remove_copy(self, name: str, version: str) -> bool:
        """Remove a local copy; return False if there is none."""
        ...


class LocalStore:
    """A store that is a folder, on one machine or mounted by several."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, name: str) -> Path:
        folder = self.root / name / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.glob(".staging-*"):  # by a process that was killed
            if time.time() - abandoned.stat().st_mtime > STALE_S:
                shutil.rmtree(abandoned, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))

    def keep(self, staging: Path) -> None:
        for file in staging.iterdir():
            _sync(file)
            file.chmod(0o444)
        staging.chmod(0o755)
        _sync(staging)

    def publish(self, staging: Path, version: str) -> Path:
        target = staging.parent / version
        try:
            os.rename(staging, target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(staging)
        _sync(target.parent)
        return target

    def published(self) -> dict[str, list[str]]:
        versions: dict[str, list[str]] = {}
        with _store_errors():
            for folder in sorted(self.root.glob("[!.]*/versions")):
                versions[folder.parent.name] = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        return versions

    def read(self, name: str, version: str, file: str) -> bytes:
        return (self.root / name / "versions" / version / file).read_bytes()

    def folder(self, name: str, version: str) -> Path | None:
        exists = version in self.published().get(name, ())
        return self.root / name / "versions" / version if exists else None

    def choices(self) -> dict[str, Hashable]:
        with _store_errors():
            stats = {path.parent.name: path.stat() for path in self.root.glob(f"[!.]*/{CURRENT}")}
        return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}

    def choice(self, name: str) -> bytes | None:
        with _store_errors():
            try:
                return (self.root / name / CURRENT).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def choose(self, name: str, change: Change) -> None:
        with _store_errors():
            path = self.root / name / CURRENT
            path.parent.mkdir(parents=True, exist_ok=True)
            with (path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                chosen = change(self.choice(name))
                if chosen is None:
                    return
                written = path.with_suffix(".part")
                written.write_bytes(chosen)
                _sync(written)
                os.replace(written, path)
                _sync(path.parent)

    def remembered(self) -> dict[str, bytes]:
        return {}

    def remove(self, name: str, version: str) -> bool:
        folder = self.folder(name, version)
        if folder is None:
            return False
        with _store_errors():
            os.rename(
                folder, removed := self.stage(name)
            )  # `stage` deletes it if this process dies before the next line
            shutil.rmtree(removed)
        return True

    def copies(self) -> list[tuple[str, str, Path]]:
        return []

    def remove_copy(self, name: str, version: str) -> bool:
        return False


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn an OSError into StoreAway."""
    try:
        yield
    except OSError as error:
        raise StoreAway(f"{type(error).__name__}: {error.strerror}") from error


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
