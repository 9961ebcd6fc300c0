"""Where versions of models are kept: what every store does, and the store that is a folder (version_objects.py: an object store).

    <root>/<model>/versions/<version>/<file>     renamed there in one step
    <root>/<model>/current.json                  which version is served: replaced in one step, under a lock

What is in the files and in a choice is not a store's business.
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

Change = Callable[[bytes | None], bytes | None]  # from the choice that holds to the next; None: it stays


class StoreAway(Exception):
    """The store did not answer, or refused."""


class Store(Protocol):
    """Versions are files under a name; a choice is a few bytes a model. Every method raises StoreAway."""

    def stage(self, name: str) -> Path:
        """An empty folder on this machine, to fill with a version's files."""
        ...

    def keep(self, staging: Path) -> None:
        """Bring the files of a staged version to where they will be; nobody sees them yet."""
        ...

    def publish(self, staging: Path, version: str) -> Path:
        """Make what was kept a version, in one step. One that is there already stays as it is."""
        ...

    def published(self) -> dict[str, list[str]]:
        """The versions of each model."""
        ...

    def read(self, name: str, version: str, file: str) -> bytes:
        """A small file of a version. Raises OSError, BadBundle."""
        ...

    def folder(self, name: str, version: str) -> Path | None:
        """A folder on this machine with the whole version; None: there is no such one. Raises BadBundle."""
        ...

    def choices(self) -> dict[str, Hashable]:
        """Of each model of which a version was chosen, what changes whenever the choice does."""
        ...

    def choice(self, name: str) -> bytes | None:
        """What was chosen last."""
        ...

    def choose(self, name: str, change: Change) -> None:
        """Change the choice; nobody else changes it in between. Raises what `change` raises."""
        ...

    def remembered(self) -> dict[str, bytes]:
        """The choices as they were last seen from this machine, for when the store is away."""
        ...


class LocalStore:
    """A folder, on one machine or mounted by several."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, name: str) -> Path:
        folder = self.root / name / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".staging-*"):  # by one that was killed
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))

    def keep(self, staging: Path) -> None:
        for file in staging.iterdir():
            _on_disk(file)
            file.chmod(0o444)
        staging.chmod(0o755)
        _on_disk(staging)

    def publish(self, staging: Path, version: str) -> Path:
        target = staging.parent / version
        try:
            os.rename(staging, target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(staging)
        _on_disk(target.parent)
        return target

    def published(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with _answering():
            for folder in sorted(self.root.glob("[!.]*/versions")):
                found[folder.parent.name] = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        return found

    def read(self, name: str, version: str, file: str) -> bytes:
        return (self.root / name / "versions" / version / file).read_bytes()

    def folder(self, name: str, version: str) -> Path | None:
        there = version in self.published().get(name, ())
        return self.root / name / "versions" / version if there else None

    def choices(self) -> dict[str, Hashable]:
        with _answering():
            stats = {path.parent.name: path.stat() for path in self.root.glob(f"[!.]*/{CURRENT}")}
        return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}

    def choice(self, name: str) -> bytes | None:
        with _answering():
            try:
                return (self.root / name / CURRENT).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def choose(self, name: str, change: Change) -> None:
        with _answering():
            path = self.root / name / CURRENT
            path.parent.mkdir(parents=True, exist_ok=True)
            with (path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                chosen = change(self.choice(name))
                if chosen is None:
                    return
                written = path.with_suffix(".part")
                written.write_bytes(chosen)
                _on_disk(written)
                os.replace(written, path)
                _on_disk(path.parent)

    def remembered(self) -> dict[str, bytes]:
        return {}


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreAway(f"{type(error).__name__}: {error.strerror}") from error


def _on_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk and not only on its way."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
