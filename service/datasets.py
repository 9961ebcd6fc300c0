"""Data sets by name: folders that were registered or uploaded, each with the job in which its loader read it.

Only that job decides: a data set is ready once it has succeeded, and refused once it has failed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, insert, select

from models.contract.spec import CheckSpec
from service.database import now, reading, writing
from service.job_tables import DATASETS, JOBS
from service.jobs import Job, JobTable

MAX_FILES = 100_000
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
    """A data set, and what its loader has said; `counts` are recordings, by source and split."""

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

    def get(self, name: str) -> Dataset:
        """The one of that name. Raises UnknownDataset."""
        found = {dataset.name: dataset for dataset in self.datasets()}
        if name not in found:
            raise UnknownDataset(f"no data set {name[:64]!r}; there are {', '.join(found) or 'none'}")
        return found[name]


def _dataset(row: Any) -> Dataset:
    state: State = STATES.get(row.state, "checking")
    reason = (row.error or {}).get("detail", "its check was cancelled") if state == "refused" else None
    counts = (row.result or {}).get("counts") if state == "ready" else None
    return Dataset(row.name, Path(row.path), row.source, row.job, row.created_at, state, reason, counts)


def folder_under(root: Path | None, asked: str) -> Path:
    """A folder under the allowed root, by its path in it. Raises FolderRefused: also if a link in it leads elsewhere."""
    if root is None:
        raise FolderRefused("no folder may be registered here: the operator has set no CHIRON_DATA_ROOT")
    root = root.resolve()
    try:
        folder = (root / asked).resolve()
        if "\0" in asked or not folder.is_relative_to(root) or not folder.is_dir():
            raise FolderRefused(f"{asked[:200]!r} is no folder under the allowed root")
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
