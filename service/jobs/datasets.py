"""Data sets by name: folders that were registered or uploaded, each with the job in which its loader read it.

Only that job decides: a data set is ready once it has succeeded, and refused once it has failed.

What is uploaded lies in one folder, <name>.<32 hex digits> each, so that what is left of one that was removed, or that never came to be, is
in nobody's way until `sweep` takes it away.
"""

import logging
import re
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, delete, insert, select

from models.contract.spec import CheckSpec
from service.jobs.database import now, reading, writing
from service.jobs.schema import DATASETS, JOBS
from service.jobs.table import (
    OVER,
    Job,
    JobTable,
    WrongState,
)

log = logging.getLogger("chiron.datasets")
MAX_FILES = 500_000  # Kinetics-skeleton, the one of most files, has 260,000
OURS = re.compile(r"\.?([a-z0-9_-]+\.)?[0-9a-f]{32}(\.zip|\.part)?")  # what uploads make in their folder
UNTOUCHED_S = 3600.0  # after which nobody is still receiving, unpacking or registering it
State = Literal["checking", "ready", "refused"]
STATES: dict[str, State] = {"succeeded": "ready", "failed": "refused", "cancelled": "refused"}


class UnknownDataset(LookupError):
    """No data set of that name."""


class DatasetExists(ValueError):
    """There is one of that name."""


class FolderRefused(ValueError):
    """A folder that may not be a data set."""


@dataclass(frozen=True)
class Dataset:
    """A data set, and what its loader has said; `counts` are recordings, by part of the data folder, source and split."""

    name: str
    path: Path
    source: Literal["folder", "upload"]
    job: str
    created_at: float
    state: State
    reason: str | None
    counts: dict[str, Any] | None


class DatasetTable:
    """All data sets. Raises StoreUnavailable where the database fails."""

    def __init__(self, engine: Engine, jobs: JobTable) -> None:
        self._engine, self._jobs = engine, jobs

    def register(self, name: str, path: Path, source: Literal["folder", "upload"]) -> Job:
        """Name a folder, and ask for the job that has its loader read it. Raises DatasetExists."""
        if any(known.name == name for known in self.datasets()):
            raise DatasetExists(f"there is a data set {name!r}; a data set is never changed")
        job, _ = self._jobs.submit(CheckSpec(dataset=name, device="cpu"), "cpu")
        with writing(self._engine) as connection:
            if connection.scalar(select(DATASETS.c.name).where(DATASETS.c.name == name)) is not None:
                raise DatasetExists(f"there is a data set {name!r}; a data set is never changed")
            row = {"name": name, "path": str(path), "source": source, "job": job.id}
            connection.execute(insert(DATASETS).values(**row, created_at=now()))
        return job

    def datasets(self) -> list[Dataset]:
        """Every one, by name."""
        told = select(DATASETS, JOBS.c.state, JOBS.c.error, JOBS.c.result).join(JOBS, DATASETS.c.job == JOBS.c.id)
        with reading(self._engine) as connection:
            return [_dataset(row) for row in connection.execute(told.order_by(DATASETS.c.name))]

    def get(self, name: str, *, asked_at: float | None = None) -> Dataset:
        """The one of that name. Raises UnknownDataset: also where what a job of `asked_at` meant by it is gone, and this is another."""
        found = {dataset.name: dataset for dataset in self.datasets()}
        if name not in found:
            raise UnknownDataset(f"no data set {name[:64]!r}; there are {', '.join(found) or 'none'}")
        if asked_at is not None and asked_at < found[name].created_at:
            raise UnknownDataset(f"the data set {name!r} that was meant has been removed; the one there is came later")
        return found[name]

    def remove(self, name: str) -> Dataset:
        """Forget one, whose name is free again; its files are still there. Raises UnknownDataset, WrongState while a job uses it."""
        gone = self.get(name)
        with writing(self._engine) as connection:
            active = select(JOBS.c.id, JOBS.c.kind, JOBS.c.state, JOBS.c.spec).where(JOBS.c.state.not_in(OVER))
            for job in connection.execute(active):
                if name in _used(connection, job.kind, job.spec):
                    raise WrongState(f"data set {name!r} is used by the {job.kind} job {job.id}, which is {job.state}")
            this = (DATASETS.c.name == name) & (DATASETS.c.job == gone.job)
            if connection.execute(delete(DATASETS).where(this)).rowcount != 1:
                raise UnknownDataset(f"no data set {name[:64]!r}: it was removed just now")
        return gone


def _used(connection: Connection, kind: str, spec: dict[str, Any]) -> set[str | None]:
    """The data sets of a job; one that measures the weights of training jobs uses theirs, if it names none itself."""
    named = spec.get("dataset")
    if named is not None or kind != "evaluate":
        return {named}
    trained = select(JOBS.c.spec).where(JOBS.c.kind == "train", JOBS.c.state == "succeeded")
    if (job := spec.get("job")) is not None:
        return {(connection.scalar(trained.where(JOBS.c.id == job)) or {}).get("dataset")}
    same = [one for one in connection.scalars(trained.order_by(JOBS.c.finished_at.desc())) if one["run"] == spec["run"]]
    latest = (next((one["dataset"] for one in same if seed in one["seeds"]), None) for seed in spec["seeds"])
    return set(latest)


def _dataset(row: Any) -> Dataset:
    state: State = STATES.get(row.state, "checking")
    reason = (row.error or {}).get("detail", "its check was cancelled") if state == "refused" else None
    counts = (row.result or {}).get("counts") if state == "ready" else None
    return Dataset(row.name, Path(row.path), row.source, row.job, row.created_at, state, reason, counts)


def new_folder(uploads: Path, name: str) -> Path:
    """Where an upload of that name goes: a path that nothing was ever at."""
    return uploads.absolute() / f"{name}.{uuid.uuid4().hex}"


def discard(uploads: Path, gone: Dataset) -> None:
    """Remove the files of a data set that is forgotten, if they were uploaded; what cannot be removed is left to `sweep`."""
    if gone.source == "upload" and gone.path.parent == uploads.absolute():
        shutil.rmtree(gone.path, ignore_errors=True)


def sweep(uploads: Path, known: list[Dataset]) -> None:
    """Remove what uploads and removals that broke off have left: what we made, what no data set is, and what nobody touched for an hour."""
    kept = {dataset.path for dataset in known}
    for path in uploads.absolute().glob("*"):
        with suppress(FileNotFoundError):  # another process was quicker
            if path in kept or not OURS.fullmatch(path.name) or time.time() - path.stat().st_mtime < UNTOUCHED_S:
                continue
            log.warning("%s is left of what broke off, and is removed", path)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def folder_under(root: Path | None, asked: str, uploads: Path) -> Path:
    """A folder under the allowed root, by its path in it. Raises FolderRefused: also if a link in it leads elsewhere, or if it is where
    uploads are kept, which are removed by their own names."""
    if root is None:
        raise FolderRefused("no folder may be registered here: the operator has set no CHIRON_DATA_ROOT")
    root = root.resolve()
    try:
        folder = (root / asked).resolve()
        if "\0" in asked or not folder.is_relative_to(root) or not folder.is_dir():
            raise FolderRefused(f"{asked[:200]!r} is no folder under the allowed root")
        kept = uploads.resolve()
        if folder.is_relative_to(kept) or kept.is_relative_to(folder):
            raise FolderRefused(f"{asked[:200]!r} is where uploads are kept")
        for number, path in enumerate(folder.rglob("*")):
            if path.is_symlink():
                raise FolderRefused(f"{path.relative_to(folder).as_posix()[:200]!r} is a link; files are read")
            if number >= MAX_FILES:
                raise FolderRefused(f"it has more than {MAX_FILES} files")
    except (OSError, ValueError) as error:
        if isinstance(error, FolderRefused):
            raise
        raise FolderRefused(f"{asked[:200]!r} is no folder under the allowed root") from error
    return folder
