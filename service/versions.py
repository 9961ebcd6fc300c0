"""The versions of a model on disk: each a bundle that is never changed, published whole or not at all, and one of them current.

    <root>/<model>/versions/<version>/     bundle.json, model.onnx, ..., and lineage.json: which job made it, from what
    <root>/<model>/current.json            which version is served, and which were before

Every process reads `current.json`; to promote is to replace it, under a lock.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.contract.bundle import BadBundle, Bundle, read_bundle

LINEAGE, CURRENT = "lineage.json", "current.json"
KEEP_HISTORY = 100
STALE_S = 24 * 3600.0


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
    """A published bundle."""

    name: str
    version: str
    folder: Path
    lineage: Lineage | None


class Versions:
    """All published versions under a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- publishing ---

    def stage(self, bundle: Bundle, lineage: Lineage) -> Path:
        """A copy of a bundle, on disk and beside where it is going to be, for `publish` to move there."""
        folder = self.root / bundle.meta.name / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".staging-*"):  # by one that was killed
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))
        try:
            for file in sorted(bundle.folder.iterdir()):
                shutil.copyfile(file, staging / file.name)
            (staging / LINEAGE).write_text(lineage.model_dump_json(indent=2) + "\n")
            for file in staging.iterdir():
                _on_disk(file)
                file.chmod(0o444)
            staging.chmod(0o755)
            _on_disk(staging)
            read_bundle(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return staging

    def publish(self, staging: Path, version: str) -> Path:
        """Make a staged bundle a version, in one step. One that is there already stays as it is."""
        target = staging.parent / version
        try:
            os.rename(staging, target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(staging)
        _on_disk(target.parent)
        return target

    # --- reading ---

    def names(self) -> list[str]:
        """The models that have published versions."""
        return sorted(path.parent.name for path in self.root.glob("*/versions") if not path.parent.name.startswith("."))

    def versions(self, name: str) -> list[Version]:
        """The published versions of a model, the newest first."""
        folders = [path for path in (self.root / name / "versions").glob("*") if not path.name.startswith(".")]
        found = [Version(name, folder.name, folder, _lineage(folder)) for folder in folders]
        return sorted(found, key=lambda version: version.lineage.created_at if version.lineage else 0, reverse=True)

    def folder(self, name: str, version: str) -> Path | None:
        """Where a published version is."""
        return next((found.folder for found in self.versions(name) if found.version == version), None)

    def current(self, name: str) -> Current | None:
        """Which version is served; None: nobody has chosen."""
        try:
            return Current.model_validate_json((self.root / name / CURRENT).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise BadBundle(f"{name}/{CURRENT} is not what was written: {error}") from error

    def signature(self, name: str) -> tuple[int, int, int] | None:
        """What changes whenever the choice does."""
        try:
            stat = (self.root / name / CURRENT).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    # --- choosing ---

    def promote(self, name: str, version: str, before: str | None) -> Current:
        """Make a version the current one; `before` is what was served where nobody had chosen yet. Again: no change."""
        with self._alone(name):
            held = self.current(name)
            if held is not None and held.version == version:
                return held
            history = held.history if held else []
            if held is not None:
                history = [*history, Step(version=held.version, at=held.at)]
            elif before is not None and before != version:
                history = [Step(version=before, at=0.0)]
            return self._choose(name, Current(version=version, at=time.time(), history=history[-KEEP_HISTORY:]))

    def before(self, name: str, version: str) -> str:
        """What was served before `version`, which is the current one. Raises NotCurrent."""
        held = self.current(name)
        if held is None or held.version != version:
            raise NotCurrent(
                f"{name} {version} is not the current version{'' if held is None else f', {held.version} is'}"
            )
        if not held.history:
            raise NotCurrent(f"no version of {name} was served before {version}")
        return held.history[-1].version

    def roll_back(self, name: str, version: str) -> Current:
        """Take back `version`, the current one: what was served before it is again. Raises NotCurrent."""
        with self._alone(name):
            self.before(name, version)
            held = self.current(name)
            assert held is not None, "it was the current one a line ago, and nobody else may write"
            return self._choose(
                name, Current(version=held.history[-1].version, at=time.time(), history=held.history[:-1])
            )

    def _choose(self, name: str, current: Current) -> Current:
        path = self.root / name / CURRENT
        written = path.with_suffix(".part")
        written.write_text(json.dumps(current.model_dump(), indent=2) + "\n")
        _on_disk(written)
        os.replace(written, path)
        _on_disk(path.parent)
        return current

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        with (self.root / name / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _lineage(folder: Path) -> Lineage | None:
    try:
        return Lineage.model_validate_json((folder / LINEAGE).read_bytes())
    except (OSError, ValidationError):
        return None


def _on_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk and not only on its way."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
