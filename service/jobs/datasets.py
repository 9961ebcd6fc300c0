"""Data sets by name: registered folders and unpacked uploads, each with the job that checks it by loading it.

The state of a data set is that job's outcome: ready if the job has succeeded, refused if it has failed.

Each upload has a folder of its own, <name>.<32 hex digits>. Leftovers of a removed or interrupted upload therefore never collide with a new
one, and `sweep` deletes them later.
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
from service.jobs.records import UNFINISHED, Job, WrongState
from service.jobs.schema import DATASETS, JOBS
from service.jobs.table import JobTable

log = logging.getLogger("chiron.datasets")
MAX_FILES = 500_000  # Kinetics-skeleton, the data set with the most files, has 260,000
UPLOAD_NAME = re.compile(r"\.?([a-z0-9_-]+\.)?[0-9a-f]{32}(\.zip|\.part)?")  # files and folders that uploads create
ABANDONED_AFTER_S = 3600.0  # an upload in progress touches its files more often than this
State = Literal["checking", "ready", "refused"]
STATES: dict[str, State] = {"succeeded": "ready", "failed": "refused", "cancelled": "refused"}


class UnknownDataset(LookupError):
    """A name that no data set has."""


class DatasetExists(ValueError):
    """A name that another data set has."""


class FolderRefused(ValueError):
    """A folder that may not be registered as a data set."""


@dataclass(frozen=True)
class Dataset:
    """A data set and the outcome of its check; `counts` are recordings by part of the data folder, source and split."""

    name: str
    path: Path
    source: Literal["folder", "upload"]
    job: str
    created_at: float
    state: State
    reason: str | None
    counts: dict[str, Any] | None


class DatasetTable:
    """All data sets. Every method raises StoreUnavailable if the database fails."""

    def __init__(self, engine: Engine, jobs: JobTable) -> None:
        self._engine, self._jobs = engine, jobs

    def register(self, name: str, path: Path, source: Literal["folder", "upload"]) -> Job:
        """Name a folder and submit the job that checks it. Raises DatasetExists."""
        if any(known.name == name for known in self.datasets()):
            raise DatasetExists(f"data set {name!r} exists and cannot be changed; choose another name")
        job, _ = self._jobs.submit(CheckSpec(dataset=name, device="cpu"), "cpu")
        with writing(self._engine) as connection:
            if connection.scalar(select(DATASETS.c.name).where(DATASETS.c.name == name)) is not None:
                raise DatasetExists(f"data set {name!r} exists and cannot be changed; choose another name")
            row = {"name": name, "path": str(path), "source": source, "job": job.id}
            connection.execute(insert(DATASETS).values(**row, created_at=now()))
        return job

    def datasets(self) -> list[Dataset]:
        """Return all data sets, by name."""
        query = select(DATASETS, JOBS.c.state, JOBS.c.error, JOBS.c.result).join(JOBS, DATASETS.c.job == JOBS.c.id)
        with reading(self._engine) as connection:
            return [_dataset(row) for row in connection.execute(query.order_by(DATASETS.c.name))]

    def get(self, name: str, *, requested_at: float | None = None) -> Dataset:
        """Return the data set with this name. Raises UnknownDataset.

        A job created at `requested_at` never gets a data set that took the name later.
        """
        datasets = {dataset.name: dataset for dataset in self.datasets()}
        if name not in datasets:
            raise UnknownDataset(f"no data set {name[:64]!r}; there are {', '.join(datasets) or 'none'}")
        if requested_at is not None and requested_at < datasets[name].created_at:
            raise UnknownDataset(f"the data set {name!r} of this job was removed; the present one was registered later")
        return datasets[name]

    def remove(self, name: str) -> Dataset:
        """Remove the row of a data set and return it; its files remain. Raises UnknownDataset, and WrongState while a job uses it."""
        dataset = self.get(name)
        with writing(self._engine) as connection:
            active = select(JOBS.c.id, JOBS.c.kind, JOBS.c.state, JOBS.c.spec).where(JOBS.c.state.in_(UNFINISHED))
            for job in connection.execute(active):
                if name in _used(connection, job.kind, job.spec):
                    raise WrongState(f"data set {name!r} is used by the {job.kind} job {job.id}, which is {job.state}")
            same = (DATASETS.c.name == name) & (DATASETS.c.job == dataset.job)
            if connection.execute(delete(DATASETS).where(same)).rowcount != 1:
                raise UnknownDataset(f"no data set {name[:64]!r}: another request has just removed it")
        return dataset


def _used(connection: Connection, kind: str, spec: dict[str, Any]) -> set[str | None]:
    """Return the data sets of a job. An evaluation that names none uses those of the training jobs it measures."""
    named = spec.get("dataset")
    if named is not None or kind != "evaluate":
        return {named}
    trained = select(JOBS.c.spec).where(JOBS.c.kind == "train", JOBS.c.state == "succeeded")
    if (job := spec.get("job")) is not None:
        return {(connection.scalar(trained.where(JOBS.c.id == job)) or {}).get("dataset")}
    specs = [
        other
        for other in connection.scalars(trained.where(JOBS.c.parent.is_(None)).order_by(JOBS.c.finished_at.desc()))
        if other["run"] == spec["run"]
    ]
    latest = (next((other["dataset"] for other in specs if seed in other["seeds"]), None) for seed in spec["seeds"])
    return set(latest)


def _dataset(row: Any) -> Dataset:
    state: State = STATES.get(row.state, "checking")
    reason = (row.error or {}).get("detail", "its check was cancelled") if state == "refused" else None
    counts = (row.result or {}).get("counts") if state == "ready" else None
    return Dataset(row.name, Path(row.path), row.source, row.job, row.created_at, state, reason, counts)


def new_folder(uploads: Path, name: str) -> Path:
    """Return a path for an upload of this name that has never been used."""
    return uploads.absolute() / f"{name}.{uuid.uuid4().hex}"


def discard(uploads: Path, dataset: Dataset) -> None:
    """Delete the files of a removed data set if they were uploaded; `sweep` retries what cannot be deleted now."""
    if dataset.source == "upload" and dataset.path.parent == uploads.absolute():
        shutil.rmtree(dataset.path, ignore_errors=True)


def sweep(uploads: Path, known: list[Dataset]) -> None:
    """Delete leftovers of interrupted uploads and removals: upload files that belong to no data set and were not touched for an hour."""
    in_use = {dataset.path for dataset in known}
    for path in uploads.absolute().glob("*"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if path in in_use or not UPLOAD_NAME.fullmatch(path.name):
                continue
            if time.time() - path.stat().st_mtime < ABANDONED_AFTER_S:
                continue
            log.warning("deleting %s, left by an interrupted upload or removal", path)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def folder_under(root: Path | None, relative: str, uploads: Path) -> Path:
    """Return the folder at the path `relative` to the allowed root.

    Raises FolderRefused if it is outside the root, contains a symbolic link, or overlaps the folder of uploads.
    """
    if root is None:
        raise FolderRefused("folders cannot be registered: CHIRON_DATA_ROOT is not set; the operator sets it")
    root = root.resolve()
    try:
        folder = (root / relative).resolve()
        if "\0" in relative or not folder.is_relative_to(root) or not folder.is_dir():
            raise FolderRefused(f"{relative[:200]!r} is not a folder under the allowed root")
        uploads = uploads.resolve()
        if folder.is_relative_to(uploads) or uploads.is_relative_to(folder):
            raise FolderRefused(f"{relative[:200]!r} overlaps the folder of uploads; register a folder outside it")
        for number, path in enumerate(folder.rglob("*")):
            if path.is_symlink():
                raise FolderRefused(
                    f"{path.relative_to(folder).as_posix()[:200]!r} is a symbolic link; use plain files"
                )
            if number >= MAX_FILES:
                raise FolderRefused(f"expected at most {MAX_FILES} files; the folder has more")
    except (OSError, ValueError) as error:
        if isinstance(error, FolderRefused):
            raise
        raise FolderRefused(f"{relative[:200]!r} is not a folder under the allowed root") from error
    return folder
