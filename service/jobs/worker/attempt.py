"""One attempt at a job: takes the lease, runs the job under a heartbeat, and records how it ends.

Each attempt writes into a folder of its own and starts from the previous attempt's checkpoints, so a worker that was thought dead disturbs
nobody. What an attempt makes counts only if its lease is still valid at the end.
"""

import errno
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable
from service.jobs.records import Job, Lease, LostLease
from service.jobs.table import JobTable
from service.jobs.worker.heartbeat import Heartbeat
from service.jobs.workers import WorkerTable
from service.settings import Settings

log = logging.getLogger("chiron.worker")
TRACE_LINES = 20


@dataclass(frozen=True)
class Attempt:
    """What a job may use while it runs: settings, tables, its lease, its heartbeat, and a folder of its own."""

    settings: Settings
    table: JobTable
    datasets: DatasetTable
    lease: Lease
    heartbeat: Heartbeat
    folder: Path

    @property
    def runs(self) -> Path:
        """The folder of the runs' checkpoints."""
        return self.folder / "runs"

    def data(self, dataset: str | None, job: Job | None = None) -> Path:
        """Return the data folder of `job`, by default of this attempt's job. Raises FileNotFoundError, UnknownDataset."""
        if dataset is None:
            if not self.settings.data.is_dir():
                raise FileNotFoundError(f"there is no data folder {self.settings.data}; set CHIRON_DATA to its path")
            return self.settings.data
        requested_at = (job or self.table.get(self.lease.job)).created_at  # the name may have gone to another data set
        entry = self.datasets.get(dataset, requested_at=requested_at)
        if entry.state != "ready":
            raise FileNotFoundError(f"data set {dataset} is {entry.state}; only a ready one can be used")
        return entry.path

    def draw_curves(self, run: Any, seeds: Sequence[int]) -> None:
        """Draw the learning curves of a run into the attempt's folder."""
        from training.engine.curves import learning_curves
        from training.engine.folders import folder_of

        folders = {f"seed {seed}": folder_of(self.runs, run, seed) for seed in seeds}
        learning_curves(folders, run.name, self.folder / "learning-curves.png")

    def log(self, text: str) -> None:
        """Write a line to the job's log, after the metrics that were reported before. Raises LostLease, StoreUnavailable."""
        log.info("%s", text, extra={"fields": {"job": self.lease.job, "attempt": self.lease.attempt}})
        self.heartbeat.beat()
        self.table.log(self.lease, text)


@dataclass(frozen=True)
class Outcome:
    """The result of an attempt: `publish` makes it count, and `discard` cleans up in any case."""

    result: dict[str, Any]
    publish: Callable[[], None] = lambda: None
    discard: Callable[[], None] = lambda: None


Runner = Callable[[Attempt], Outcome]


def attempt_job(settings: Settings, job_id: str, worker: str, run: Runner) -> None:
    """Claim a job and run one attempt with `run`. Return without an error if it cannot be claimed, and if it fails."""
    engine = open_database(settings.database)
    table = JobTable(engine, lease_s=settings.lease_s)
    workers = WorkerTable(engine, lease_s=settings.lease_s)
    try:
        lease = table.claim(job_id, worker)
        if lease is None:
            log.info("job %s is unknown, finished, or leased to another worker", job_id)
            return
        with Heartbeat(table, workers, lease, settings.lease_s) as heartbeat:
            _attempt(settings, table, DatasetTable(engine, table), lease, heartbeat, run)
    finally:
        engine.dispose()


def _attempt(
    settings: Settings, table: JobTable, datasets: DatasetTable, lease: Lease, heartbeat: Heartbeat, run: Runner
) -> None:
    outcome = Outcome({})
    try:
        folder = artifacts.begin(settings.jobs, lease.job, lease.attempt)
        outcome = run(Attempt(settings, table, datasets, lease, heartbeat, folder))
        heartbeat.beat()  # sends the last reports
        if heartbeat.stop_reason == "cancelled":
            table.finish(lease, "cancelled")
        elif heartbeat.stop_reason == "released":
            table.release(lease)
        elif heartbeat.stop_reason is None:
            table.finish(lease, "succeeded", result=outcome.result, publish=outcome.publish)
            artifacts.remove_before(settings.jobs, lease.job, lease.attempt)
    except LostLease as error:
        log.warning("%s: it has ended or another worker has it", error)
    except StoreUnavailable as error:
        log.error("%s: the reconciler will queue the job again", error)
    except Exception as error:  # any error of a job ends the job, not the worker
        _fail(settings, table, lease, error)
    finally:
        outcome.discard()


def _fail(settings: Settings, table: JobTable, lease: Lease, error: BaseException) -> None:
    log.error("job %s failed", lease.job, exc_info=error)
    try:
        table.finish(lease, "failed", error=error_record(error, settings.job_limit_s))
    except (LostLease, StoreUnavailable) as late:
        log.warning("%s", late)


def error_record(error: BaseException, limit_s: float) -> dict[str, Any]:
    """Return an error as the job table stores it: type, detail, and the last lines of its traceback."""
    detail = str(error) or type(error).__name__
    if isinstance(error, SoftTimeLimitExceeded):
        detail = f"the job ran longer than {limit_s:g} s; a retry resumes from its last checkpoint"
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        detail = f"{detail}: the disk is full; a retry resumes from the last checkpoint that was written completely"
    lines = "".join(traceback.format_exception(error)).splitlines()[-TRACE_LINES:]
    return {"type": type(error).__name__, "detail": detail[:2000], "lines": [line[:500] for line in lines]}
