"""service.jobs.worker.attempt."""

import errno
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init

from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable
from service.jobs.table import (
    Job,
    JobTable,
    Lease,
    LostLease,
)
from service.jobs.worker.heartbeat import Heart
from service.jobs.workers import WorkerTable
from service.settings import Settings
from service.telemetry.logs import log_json_lines

log = logging.getLogger("chiron.worker")
NAME = "CHIRON_WORKER_NAME"  # tells the children of a worker whose they are


TRACE_LINES = 20


@dataclass(frozen=True)
class Attempt:
    """What a runner has: its settings, the lease, a heart to report to, and a folder of its own."""

    settings: Settings
    table: JobTable
    datasets: DatasetTable
    lease: Lease
    heart: Heart
    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def data(self, dataset: str | None, of: Job | None = None) -> Path:
        """The data folder of a job, of this one if no other. Raises FileNotFoundError, UnknownDataset."""
        if dataset is None:
            if not self.settings.data.is_dir():
                raise FileNotFoundError(f"there is no data folder {self.settings.data}; CHIRON_DATA says where it is")
            return self.settings.data
        asked_at = (of or self.table.get(self.lease.job)).created_at  # another may have taken the name since
        found = self.datasets.get(dataset, asked_at=asked_at)
        if found.state != "ready":
            raise FileNotFoundError(f"data set {dataset} is {found.state}")
        return found.path

    def draw(self, run: Any, seeds: Sequence[int]) -> None:
        """The learning curves of a run, into the attempt's folder."""
        from training.engine.curves import learning_curves
        from training.engine.folders import folder_of

        folders = {f"seed {seed}": folder_of(self.runs, run, seed) for seed in seeds}
        learning_curves(folders, run.name, self.folder / "learning-curves.png")

    def say(self, text: str) -> None:
        log.info("%s", text, extra={"fields": {"job": self.lease.job, "attempt": self.lease.attempt}})
        self.heart.beat()  # what was measured comes before it
        self.table.say(self.lease, text)


@dataclass(frozen=True)
class Done:
    """What came of an attempt, and what has to be done to make it count, or once it does not."""

    result: dict[str, Any]
    publish: Callable[[], None] = lambda: None
    discard: Callable[[], None] = lambda: None


Run = Callable[[Attempt], Done]


def attempt_job(settings: Settings, job_id: str, worker: str, run: Run) -> None:
    """Take a job's lease and run one attempt with `run`; return without an error if the lease is held or the job fails."""
    engine = open_database(settings.database)
    table = JobTable(engine, lease_s=settings.lease_s)
    workers = WorkerTable(engine, lease_s=settings.lease_s)
    try:
        lease = table.claim(job_id, worker)
        if lease is None:
            log.info("job %s is done, held by another, or none", job_id)
            return
        with Heart(table, workers, lease, settings.lease_s) as heart:
            _attempt(settings, table, DatasetTable(engine, table), lease, heart, run)
    finally:
        engine.dispose()


def _attempt(settings: Settings, table: JobTable, datasets: DatasetTable, lease: Lease, heart: Heart, run: Run) -> None:
    done = Done({})
    try:
        folder = artifacts.begin(settings.jobs, lease.job, lease.attempt)
        attempt = Attempt(settings, table, datasets, lease, heart, folder)
        done = run(attempt)
        heart.beat()  # what it said last
        if heart.reason == "cancelled":
            table.finish(lease, "cancelled")
        elif heart.reason == "released":
            table.release(lease)
        elif heart.reason is None:
            table.finish(lease, "succeeded", result=done.result, publish=done.publish)
            artifacts.forget_before(settings.jobs, lease.job, lease.attempt)
    except LostLease as error:
        log.warning("%s: another has the job, or it was ended", error)
    except StoreUnavailable as error:
        log.error("%s: the job is left to the reconciler", error)
    except Exception as error:  # whatever a job raises is its end, and not the worker's
        _fail(settings, table, lease, error)
    finally:
        done.discard()


def _fail(settings: Settings, table: JobTable, lease: Lease, error: BaseException) -> None:
    log.error("job %s failed", lease.job, exc_info=error)
    try:
        table.finish(lease, "failed", error=told(error, settings.job_limit_s))
    except (LostLease, StoreUnavailable) as late:
        log.warning("%s", late)


def told(error: BaseException, limit_s: float) -> dict[str, Any]:
    """An error as a job tells it: its type, a sentence, and the last lines of where it came from."""
    detail = str(error) or type(error).__name__
    if isinstance(error, SoftTimeLimitExceeded):
        detail = f"it ran for longer than {limit_s:g} s; a retry goes on from its last checkpoint"
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        detail = f"{detail}: the disk is full; a retry goes on from the last checkpoint that fitted"
    lines = "".join(traceback.format_exception(error)).splitlines()[-TRACE_LINES:]
    return {"type": type(error).__name__, "detail": detail[:2000], "lines": [line[:500] for line in lines]}


@worker_process_init.connect
def _log_of_child(**_: Any) -> None:
    log_json_lines()
