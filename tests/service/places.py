"""Stores of model versions for tests, and simulated losses of the connection to a store.

CHIRON_TEST_REGISTRY=s3://bucket adds an object store with an existing bucket to the tested stores.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem

from models.contract.bundle import MODEL, read_bundle
from models.contract.task import HandForecast
from service.registry.versions import Lineage, Versions

from .conftest import make_hands

NAME = "hands-thirty"
LINEAGE = Lineage(
    job="j", attempt=1, run="r", seed=0, data="d", data_sha256="0" * 64, git_commit="c", created_at=1.0
)  # fmt: skip
OBJECTS = ["memory://registry", *filter(None, [os.environ.get("CHIRON_TEST_REGISTRY")])]
KINDS = ["folder", *OBJECTS]


@dataclass(frozen=True)
class Place:
    """A store of versions, with a state folder for each machine."""

    where: str
    state: Path

    @classmethod
    def of(cls, kind: str, state: Path) -> "Place":
        return cls(str(state / "models") if kind == "folder" else f"{kind}/{uuid4().hex}", state)

    @property
    def shared(self) -> bool:
        return "://" in self.where

    def versions(self, machine: str = "worker") -> Versions:
        """Open the store as a process of `machine`."""
        return Versions(self.where, self.state / machine)

    def stage(self, modes: int, at: float = 1.0, machine: str = "worker") -> tuple[Path, str]:
        """Stage a bundle of the model with `modes` modes; return the staging folder and the version."""
        with TemporaryDirectory() as folder:
            bundle = read_bundle(make_hands(Path(folder), NAME, HandForecast(past=30, future=30, fps=30, modes=modes)))
            staging = self.versions(machine).stage(bundle, LINEAGE.model_copy(update={"created_at": at}))
        return staging, bundle.meta.version

    def publish(self, modes: int, at: float = 1.0, machine: str = "worker") -> str:
        """Stage and publish a bundle of the model with `modes` modes; return its version."""
        staging, version = self.stage(modes, at, machine)
        self.versions(machine).publish(staging, version)
        return version

    def content(self, version: str, file: str) -> str:
        """Return the object path of the content of a version's file."""
        return f"files/{json.loads(self.object(f'versions/{NAME}.{version}.json'))['files'][file]['sha256']}"

    def object(self, path: str) -> bytes:
        """Read an object."""
        files, root = url_to_fs(self.where)
        return files.cat_file(f"{root}/{path}")

    def put(self, path: str, content: bytes) -> None:
        """Write an object."""
        files, root = url_to_fs(self.where)
        files.pipe_file(f"{root}/{path}", content)

    def corrupt(self, version: str) -> None:
        """Flip one bit of a published model."""
        if self.shared:
            path = self.content(version, MODEL)
            content = bytearray(self.object(path))
            content[len(content) // 2] ^= 1
            self.put(path, bytes(content))
        else:
            folder = Path(self.where, NAME, "versions", version)
            (folder / MODEL).chmod(0o644)
            corrupt(folder, MODEL)


def corrupt(folder: Path, file: str) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)


def cut(monkeypatch: pytest.MonkeyPatch, *methods: str, after: int = 0, effective: bool = False) -> None:
    """Make each method of the in-memory file system raise ConnectionError after `after` calls.

    With `effective`, a failing call still takes effect: only its answer is lost.
    """
    for method in methods or ("ls", "info", "cat_file", "pipe_file", "put_file"):
        real, calls = getattr(MemoryFileSystem, method), []

        def fail(*args, real=real, calls=calls, **options):
            calls.append(1)
            if len(calls) <= after:
                return real(*args, **options)
            if effective:
                real(*args, **options)
            raise ConnectionError("the connection is lost")

        monkeypatch.setattr(MemoryFileSystem, method, fail)
