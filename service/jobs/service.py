"""Jobs in an API process: the tables, the threads that ask them, and one that reconciles them with the broker."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry

from models.contract.bundle import BadBundle
from service.jobs import artifacts, disk, families
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable, discard, sweep
from service.jobs.delivery import Deliveries
from service.jobs.metrics import JobMetrics
from service.jobs.offers import OfferTable
from service.jobs.outage import Outage
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.jobs.queue.celery_app import Sender
from service.jobs.queue.reconciler import Reconciler
from service.jobs.records import Job, Message
from service.jobs.retention import Retention, remove_job
from service.jobs.table import JobTable
from service.jobs.workers import WorkerTable
from service.registry.local import StoreAway
from service.registry.versions import Versions
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("chiron.jobs")
SWEEP_INTERVAL_S = 600.0
CLOSE_TIMEOUT_S = 5.0
THREADS = 8  # of calls that ask the tables


class JobService:
    """The job tables of a running API. `table`, `workers`, `datasets` and `offers` raise StoreUnavailable while the database is away.

    `problem` is the reason why jobs do not work, or None. The thread finds it out, so that no request waits for a database that is
    known not to answer.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry, broker: EmbeddedBroker | None = None) -> None:
        """Create the service of jobs; `registry` gets its metrics."""
        self._settings, self._metrics, self._broker = settings, JobMetrics(registry), broker
        self._table: JobTable | None = None
        self._workers: WorkerTable | None = None
        self._datasets: DatasetTable | None = None
        self._offers: OfferTable | None = None
        self._deliveries: Deliveries | None = None
        self._sender: Sender | None = None
        self.problem: str | None = "the job table is being opened"
        self._outage = Outage(log, "the job table")
        self._closing = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs")
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    @property
    def table(self) -> JobTable:
        return self._usable(self._table)

    @property
    def workers(self) -> WorkerTable:
        return self._usable(self._workers)

    @property
    def datasets(self) -> DatasetTable:
        return self._usable(self._datasets)

    @property
    def offers(self) -> OfferTable:
        return self._usable(self._offers)

    def start(self) -> None:
        """Try to open the database, and start the thread, which tries again if this fails."""
        self._open()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and the broker if this process owns it. A database that does not answer is not waited for."""
        self._closing.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._sender is not None:
            self._sender.close()
        if self._broker is not None:
            self._broker.stop()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function that uses the tables, called in one of this service's threads.

        Models are loaded in the threads of asyncio, which would all be taken by requests about jobs while the database is away.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))

    def send(self, job: Job) -> None:
        """Send a job that was just submitted or retried to its queue. The reconciler sends it later if this fails.

        A sweep that waits for its children is not sent; they are sent by the reconciler.
        """
        if families.waits(job):
            return  # the reconciler sends its children
        messages = [Message.of(job)]
        if self._deliveries is None or (self._sender is not None and self._sender.send(messages)):
            return
        try:
            self._deliveries.withdraw(messages)
        except StoreUnavailable as error:  # the reconciler finds that the message is missing
            self._outage.report(error)

    def register(self, name: str, path: Path, source: Literal["folder", "upload"]) -> Job:
        """Register a data set and submit the job that checks it. Raises DatasetExists."""
        job = self.datasets.register(name, path, source)
        self.send(job)
        return job

    def remove(self, name: str) -> None:
        """Remove a data set, and its files if it was uploaded. Raises UnknownDataset, and WrongState while a job uses it."""
        discard(self._settings.datasets, self.datasets.remove(name))

    def remove_job(self, job: str) -> None:
        """Remove a finished job with its events and artifacts. Raises UnknownJob, WrongState."""
        remove_job(self._settings, self.table, job)

    def sweep(self) -> None:
        """Delete what the settings no longer keep and what interruptions have left, and measure the disk; log errors."""
        try:
            sweep(self._settings.datasets, self.datasets.datasets())
            retention = Retention(self._settings, self.table, Versions.of(self._settings))
            for removal in retention.plan():
                if retention.remove(removal):
                    log.info("removed %s %s: %s", removal.kind, removal.name, removal.reason)
            self._metrics.set_disk(disk.usage(self._settings))
        except (StoreUnavailable, StoreAway, BadBundle, OSError) as error:
            log.error("not everything that is no longer kept could be removed: %s", error)

    def measure(self) -> None:
        """Update the metrics; keep the old values of jobs and workers if the database fails."""
        self._metrics.set_free(disk.free_bytes(self._settings))
        try:
            self._metrics.set_jobs(self.table.counts(), self.workers.workers())
            self._outage.end()
        except StoreUnavailable as error:
            self._outage.report(error)

    def _usable(self, table: T | None) -> T:
        """Return a table. Raises StoreUnavailable."""
        problem = self.problem
        if table is None or problem is not None:
            raise StoreUnavailable(problem)
        return table

    def _open(self) -> None:
        try:
            engine = open_database(self._settings.database)
        except (StoreUnavailable, OSError) as error:
            self.problem = str(error)
            self._outage.report(error)
            return
        self._outage.end()
        released = partial(artifacts.was_released, self._settings.jobs)
        self._table = JobTable(engine, lease_s=self._settings.lease_s, released=released)
        self._workers = WorkerTable(engine, lease_s=self._settings.lease_s)
        self._datasets = DatasetTable(engine, self._table)
        self._offers = OfferTable(engine)
        self._deliveries = Deliveries(engine)
        self.problem = None
        try:
            self._sender = Sender(self._settings)
        except NoBroker as error:
            log.error("jobs stay queued: %s", error)

    def _run(self) -> None:
        reconciler: Reconciler | None = None
        swept = -SWEEP_INTERVAL_S
        while True:
            if self._table is None:
                self._open()
            if self._table is not None and time.monotonic() - swept >= SWEEP_INTERVAL_S:
                self.sweep()
                swept = time.monotonic()
            if (
                reconciler is None
                and self._table is not None
                and self._deliveries is not None
                and self._sender is not None
            ):
                options = {"resend_s": self._settings.resend_s, "broker": self._broker}
                reconciler = Reconciler(self._table, self._deliveries, self._sender, **options)
            if reconciler is not None:
                self.problem = reconciler.run_once()
            if self._closing.wait(self._settings.reconcile_s):
                return
