"""The readers of bundles and of archives of data sets."""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.fuzz import containers
from benchmarks.fuzz.harness import Reader
from benchmarks.fuzz.scans import POINTS, npy, npz, ply
from models.contract.bundle import EXAMPLE, META, BadBundle, BundleMeta, read_bundle, repeat_example, write_bundle
from models.contract.task import HandForecast
from service.jobs.archives import ArchiveRefused, unpack

MEMORY = Path("/dev/shm")
MAX_UNPACKED = 16 << 20


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder, in memory if possible."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def _bundle(folder: Path) -> Path:
    """Write a small bundle."""
    past = np.random.default_rng(0).normal(size=(1, 4, 42, 3)).astype(np.float32)
    meta = BundleMeta(
        name="hands-hold", title="Hold", task=HandForecast(past=4, future=2, fps=30), symmetries=("translation",), network="Hold",
        parameters=0, opset=20, licence="Apache-2.0", trained_on=(), command="none", git_commit="0" * 40, made_with={"torch": "2"},
    )  # fmt: skip
    write_bundle(
        folder / "hands-hold", meta, b"a graph", {"past": past}, {"future": np.repeat(past[:, None, -1:], 2, axis=2)}
    )
    return folder / "hands-hold"


def _file_of_bundle(name: str) -> bytes:
    with _folder() as folder:
        return (_bundle(Path(folder)) / name).read_bytes()


def _read_metadata(data: bytes) -> object:
    """Read a bundle whose bundle.json is `data`."""
    with _folder() as folder:
        path = _bundle(Path(folder))
        (path / META).write_bytes(data)
        return read_bundle(path).meta.version


def _read_example(data: bytes) -> object:
    """Read a bundle whose example.npz is `data`, with the correct checksum, and repeat the example."""
    with _folder() as folder:
        path = _bundle(Path(folder))
        (path / EXAMPLE).write_bytes(data)
        meta = json.loads((path / META).read_bytes())
        meta["files"][EXAMPLE] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (path / META).write_text(json.dumps(meta))
        return repeat_example(
            read_bundle(path), lambda inputs: {"future": np.repeat(inputs["past"][:, None, -1:], 2, axis=2)}
        )


def _unpack(data: bytes) -> object:
    """Unpack an archive; check that it writes no file outside its folder."""
    with _folder() as folder:
        archive, target = Path(folder) / "data.zip", Path(folder) / "target"
        archive.write_bytes(data)
        try:
            unpack(archive, target, MAX_UNPACKED)
        finally:
            assert {path.name for path in Path(folder).iterdir()} <= {"data.zip", "target"}
        files = [path for path in target.rglob("*") if not path.is_dir()]
        assert files
        assert sum(path.stat().st_size for path in files) <= MAX_UNPACKED
        return len(files)


def _archives() -> list[bytes]:
    files = {
        "clips/a.npy": npy(POINTS),
        "clips/b.npz": npz(points=POINTS),
        "scan.ply": ply("ascii"),
        "README.md": b"# data",
    }
    return [containers.zipped(files), containers.zipped(files, 0)]


READERS = {
    "bundle.json": Reader(_read_metadata, lambda: [_file_of_bundle(META)], (BadBundle,), containers.values),
    "bundle.example": Reader(_read_example, lambda: [_file_of_bundle(EXAMPLE)], (BadBundle,), containers.members),
    "archive": Reader(_unpack, _archives, (ArchiveRefused,), containers.members),
}
