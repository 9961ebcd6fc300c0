"""Jobs as a process that serves has them: the table, who works, and a thread that keeps broker and table agreed."""

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Literal

from service.jobs.database import StoreUnavailable, open_database
from service.jobs.datasets import DatasetTable, discard, sweep
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.jobs.queue.celery_app import Sender
from service.jobs.queue.reconciler import Reconciler
from service.jobs.table import Job, JobTable
from service.jobs.workers import WorkerTable
from service.settings import Settings
from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.jobs")
ALWAYS_SHOWN = ("cpu", "gpu")  # queues that are measured though nobody listens
SWEEP_S = 600.0  # between looks for what uploads and removals have left


class JobService:
    """`start` it, then ask `table`, `workers` and `datasets`; they raise StoreUnavailable until the database is there."""

    def __init__(self, settings: Settings, broker: EmbeddedBroker | None = None) -> None:
        self._settings, self._broker = settings, broker
        self._table: JobTable | None = None
        self._workers: WorkerTable | None = None
        self._datasets: DatasetTable | None = None
        self._sender: Sender | None = None
        self._why = "the job table is being opened"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    @property
    def table(self) -> JobTable:
        if self._table is None:
            raise StoreUnavailable(self._why)
        return self._table

    @property
    def workers(self) -> WorkerTable:
        if self._workers is None:
            raise StoreUnavailable(self._why)
        return self._workers

    @property
    def datasets(self) -> DatasetTable:
        if self._datasets is None:
            raise StoreUnavailable(self._why)
        return self._datasets

    def start(self) -> None:
        """Open the table, if it can be had at once, and begin to reconcile."""
        self._open()
        self._thread.start()

    def close(self) -> None:
        """Stop reconciling, and the broker if it is this process's."""
        self._over.set()
        self._thread.join()
        if self._sender is not None:
            self._sender.close()
        if self._broker is not None:
            self._broker.stop()

    def tell(self, job: Job) -> None:
        """Send a new job to its queue. If that fails the reconciler does it later."""
        if self._sender is not None and self._sender.send(job):
            self.table.sent(job.id)

    def register(self, name: str, path: Path, source: Literal["folder", "upload"]) -> Job:
        """Name a data set and have it read. Raises DatasetExists."""
        job = self.datasets.register(name, path, source)
        self.tell(job)
        return job

    def remove(self, name: str) -> None:
        """Forget a data set, and then its files if it was uploaded. Raises UnknownDataset, WrongState while a job uses it."""
        discard(self._settings.datasets, self.datasets.remove(name))

    def sweep(self) -> None:
        """Remove the files that uploads and removals which broke off have left; what fails is logged."""
        try:
            sweep(self._settings.datasets, self.datasets.datasets())
        except (StoreUnavailable, OSError) as error:
            log.error("nothing was swept: %s", error)

    def measure(self, metrics: Metrics) -> None:
        """Bring the metrics of jobs and workers up to date; without a table they stay as they are."""
        try:
            listening = Counter(queue for worker in self.workers.workers() for queue in worker.queues)
            metrics.jobs(self.table.counts(), {queue: listening[queue] for queue in {*ALWAYS_SHOWN, *listening}})
        except StoreUnavailable as error:
            log.warning("%s", error)

    def _open(self) -> None:
        try:
            engine = open_database(self._settings.database)
        except (StoreUnavailable, OSError) as error:
            self._why = str(error)
            log.error("%s", error)
            return
        self._table = JobTable(engine, lease_s=self._settings.lease_s)
        self._workers = WorkerTable(engine, lease_s=self._settings.lease_s)
        self._datasets = DatasetTable(engine, self._table)
        try:
            self._sender = Sender(self._settings)
        except NoBroker as error:
            log.error("jobs will wait: %s", error)

    def _run(self) -> None:
        reconciler: Reconciler | None = None
        swept = -SWEEP_S
        while True:
            if self._table is None:
                self._open()
            if self._table is not None and time.monotonic() - swept >= SWEEP_S:
                self.sweep()
                swept = time.monotonic()
            if reconciler is None and self._table is not None and self._sender is not None:
                resend_s = self._settings.resend_s
                reconciler = Reconciler(self._table, self._sender, resend_s=resend_s, broker=self._broker)
            if reconciler is not None:
                reconciler.look()
            if self._over.wait(self._settings.reconcile_s):
                return
