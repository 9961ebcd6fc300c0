"""One attempt at a job: takes the lease, runs the job under a heartbeat, and records how it ends.

Each attempt writes into a folder of its own and starts from the previous attempt's checkpoints, so a worker that was thought dead disturbs
nobody. What an attempt makes counts only if its lease is still valid at the end.
"""

import errno
import logging
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable
from service.jobs.records import Job, Lease, LostLease
from service.jobs.table import JobTable
from service.jobs.worker.heartbeat import Heartbeat, StopReason
from service.settings import Settings

log = logging.getLogger("chiron.worker")
TRACE_LINES = 20
RETRY_S = 0.5  # between attempts to record the end of a job


@dataclass(frozen=True)
class Attempt:
    """The means of a job while it runs: settings, tables, its lease, its heartbeat, and a folder of its own."""

    settings: Settings
    table: JobTable
    datasets: DatasetTable
    lease: Lease
    heartbeat: Heartbeat
    folder: Path

    @property
    def runs(self) -> Path:
        """Return the folder of the runs' checkpoints."""
        return self.folder / "runs"

    def data(self, dataset: str | None, job: Job | None = None) -> Path:
        """Return the data folder of `job`, by default of this attempt's job. Raises FileNotFoundError, UnknownDataset."""
        if dataset is None:
            if (problem := data_problem(self.settings)) is not None:
                raise FileNotFoundError(problem)
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
        """Write a line to the job's log. Raises LostLease once another worker may have the job."""
        log.info("%s", text, extra={"fields": {"job": self.lease.job, "attempt": self.lease.attempt}})
        self.heartbeat.log(text)
        if self.heartbeat.stop_reason == "lost":
            raise LostLease(f"attempt {self.lease.attempt} of job {self.lease.job} is over")


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt's work: with a result, or with None if it stopped early.

    `publish` makes the result count and can be repeated. `discard` cleans up in any case.
    """

    result: dict[str, Any] | None
    publish: Callable[[], None] = lambda: None
    discard: Callable[[], None] = lambda: None


STOPPED = Outcome(None)
Runner = Callable[[Attempt], Outcome]


def data_problem(settings: Settings) -> str | None:
    """Return why jobs without a data set of their own would fail, or None if the data folder has content."""
    if not settings.data.is_dir():
        return f"there is no data folder {settings.data}; set CHIRON_DATA to its path"
    if next(settings.data.iterdir(), None) is None:
        return f"the data folder {settings.data} is empty; set CHIRON_DATA to the path of a folder with data"
    return None


def attempt_job(
    settings: Settings, job_id: str, worker: str, run: Runner, shutting_down: Callable[[], bool] = lambda: False
) -> None:
    """Claim a job and run one attempt with `run`. Return without an error if it cannot be claimed, and if it fails.

    Raises StoreUnavailable if the job cannot be claimed because the database does not answer.
    """
    engine = open_database(settings.database)
    table = JobTable(engine, lease_s=settings.lease_s, released=partial(artifacts.was_released, settings.jobs))
    try:
        lease = table.claim(job_id, worker)
        if lease is None:
            log.info("job %s is unknown, finished, or leased to another worker", job_id)
            return
        with Heartbeat(
            table,
            lease,
            settings.lease_s,
            shutting_down=shutting_down,
            on_kill=partial(_record_kill, settings, table, lease),
            on_outage=partial(_note_release, settings, lease),
        ) as heartbeat:
            _attempt(settings, table, DatasetTable(engine, table), lease, heartbeat, run)
    finally:
        engine.dispose()


def _attempt(
    settings: Settings, table: JobTable, datasets: DatasetTable, lease: Lease, heartbeat: Heartbeat, run: Runner
) -> None:
    outcome = STOPPED
    try:
        try:
            folder = artifacts.begin(settings.jobs, lease.job, lease.attempt)
            outcome = run(Attempt(settings, table, datasets, lease, heartbeat, folder))
            _persist(settings, heartbeat, partial(_conclude, settings, table, lease, heartbeat, outcome))
        except (LostLease, StoreUnavailable):
            raise
        except Exception as error:  # any error of a job ends the job, not the worker
            log.error("job %s failed", lease.job, exc_info=error)
            record = without_paths(error_record(error, settings.job_limit_s), settings)
            _persist(settings, heartbeat, partial(_fail, table, lease, heartbeat, record))
    except LostLease as error:
        log.warning("%s: it has ended or another worker has it", error)
    except StoreUnavailable as error:
        log.error("%s: the reconciler will queue job %s again", error, lease.job)
        _note_release(settings, lease)
    finally:
        outcome.discard()


def _conclude(settings: Settings, table: JobTable, lease: Lease, heartbeat: Heartbeat, outcome: Outcome) -> None:
    """Record the end of an attempt that raised nothing. Work that was finished counts even if the worker shuts down."""
    heartbeat.beat()  # sends the last reports, and may learn of a cancel
    if heartbeat.stop_reason == "cancelled":
        table.finish(lease, "cancelled")
    elif outcome.result is None:
        table.release(lease)
    else:
        table.finish(lease, "succeeded", result=outcome.result, publish=outcome.publish)
        artifacts.remove_before(settings.jobs, lease.job, lease.attempt)


def _fail(table: JobTable, lease: Lease, heartbeat: Heartbeat, error: dict[str, Any]) -> None:
    heartbeat.beat()  # sends the last reports
    table.finish(lease, "failed", error=error)


def _persist(settings: Settings, heartbeat: Heartbeat, write: Callable[[], None]) -> None:
    """Call `write` until the database answers, as long as the lease may be valid. Raises what the last call raises."""
    while True:
        try:
            return write()
        except StoreUnavailable:
            if time.monotonic() - heartbeat.renewed_at > settings.lease_s:
                raise
        time.sleep(RETRY_S)


def _record_kill(settings: Settings, table: JobTable, lease: Lease, reason: StopReason) -> None:
    """Record the end of an attempt that is about to be killed because it did not stop."""
    try:
        if reason == "cancelled":
            table.finish(lease, "cancelled")
        elif reason == "released":
            table.release(lease)
    except LostLease as error:
        log.warning("%s", error)
    except StoreUnavailable as error:
        log.error("%s", error)
        _note_release(settings, lease)


def _note_release(settings: Settings, lease: Lease, released: bool = True) -> None:
    """Leave a note on disk that this attempt's worker is not lost although its lease expires, or remove the note."""
    try:
        artifacts.mark_released(settings.jobs, lease.job, lease.attempt, released)
    except OSError as error:
        log.error("attempt %d of job %s will count as lost: %s", lease.attempt, lease.job, error)


def without_paths(record: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the record of an error with paths inside the data folder or a data set alone, as whoever sent it knows them."""
    roots = [root for root in (settings.data, settings.data_root) if root is not None]
    places = sorted({re.escape(str(path)) for root in roots for path in (root, root.absolute(), root.resolve())})
    uploads = rf"{re.escape(str(settings.datasets.absolute()))}/[a-z0-9_-]+\.[0-9a-f]{{32}}"
    prefix = re.compile(rf"(?<![\w./-])(?:{uploads}(?:/|: )|(?:{'|'.join(places)})/)")
    lines = [prefix.sub("", line) for line in record["lines"]]
    return record | {"detail": prefix.sub("", record["detail"]), "lines": lines}


def error_record(error: BaseException, limit_s: float) -> dict[str, Any]:
    """Return an error as the job table stores it: type, detail, and the last lines of its traceback."""
    detail = str(error) or type(error).__name__
    if isinstance(error, SoftTimeLimitExceeded):
        detail = f"the job ran longer than {limit_s:g} s; a retry resumes from its last checkpoint"
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        detail = f"{detail}: the disk is full; a retry resumes from the last checkpoint that was written completely"
    lines = "".join(traceback.format_exception(error)).splitlines()[-TRACE_LINES:]
    return {"type": type(error).__name__, "detail": detail[:2000], "lines": [line[:500] for line in lines]}
