"""Jobs in an API process: the tables, and a thread that reconciles them with the broker."""

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
from service.jobs.records import Job
from service.jobs.table import JobTable
from service.jobs.workers import WorkerTable
from service.settings import Settings
from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.jobs")
MEASURED_QUEUES = ("cpu", "gpu")  # have metrics even if no worker listens to them
SWEEP_INTERVAL_S = 600.0


class JobService:
    """The job tables of a running API. `table`, `workers` and `datasets` raise StoreUnavailable until the database is open."""

    def __init__(self, settings: Settings, broker: EmbeddedBroker | None = None) -> None:
        self._settings, self._broker = settings, broker
        self._table: JobTable | None = None
        self._workers: WorkerTable | None = None
        self._datasets: DatasetTable | None = None
        self._sender: Sender | None = None
        self._problem = "the job table is being opened"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    @property
    def table(self) -> JobTable:
        if self._table is None:
            raise StoreUnavailable(self._problem)
        return self._table

    @property
    def workers(self) -> WorkerTable:
        if self._workers is None:
            raise StoreUnavailable(self._problem)
        return self._workers

    @property
    def datasets(self) -> DatasetTable:
        if self._datasets is None:
            raise StoreUnavailable(self._problem)
        return self._datasets

    def start(self) -> None:
        """Try to open the database, and start the thread, which tries again if this fails."""
        self._open()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and the broker if this process owns it."""
        self._closing.set()
        self._thread.join()
        if self._sender is not None:
            self._sender.close()
        if self._broker is not None:
            self._broker.stop()

    def send(self, job: Job) -> None:
        """Send a new job to its queue. The reconciler sends it later if this fails."""
        if self._sender is not None and self._sender.send(job):
            self.table.mark_sent(job.id)

    def register(self, name: str, path: Path, source: Literal["folder", "upload"]) -> Job:
        """Register a data set and submit the job that checks it. Raises DatasetExists."""
        job = self.datasets.register(name, path, source)
        self.send(job)
        return job

    def remove(self, name: str) -> None:
        """Remove a data set, and its files if it was uploaded. Raises UnknownDataset, and WrongState while a job uses it."""
        discard(self._settings.datasets, self.datasets.remove(name))

    def sweep(self) -> None:
        """Delete the leftovers of interrupted uploads and removals; log an error if this fails."""
        try:
            sweep(self._settings.datasets, self.datasets.datasets())
        except (StoreUnavailable, OSError) as error:
            log.error("leftovers of uploads could not be deleted: %s", error)

    def measure(self, metrics: Metrics) -> None:
        """Update the metrics of jobs and workers; keep the old values if the database fails."""
        try:
            listening = Counter(queue for worker in self.workers.workers() for queue in worker.queues)
            metrics.jobs(self.table.counts(), {queue: listening[queue] for queue in {*MEASURED_QUEUES, *listening}})
        except StoreUnavailable as error:
            log.warning("%s", error)

    def _open(self) -> None:
        try:
            engine = open_database(self._settings.database)
        except (StoreUnavailable, OSError) as error:
            self._problem = str(error)
            log.error("%s", error)
            return
        self._table = JobTable(engine, lease_s=self._settings.lease_s)
        self._workers = WorkerTable(engine, lease_s=self._settings.lease_s)
        self._datasets = DatasetTable(engine, self._table)
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
            if reconciler is None and self._table is not None and self._sender is not None:
                resend_s = self._settings.resend_s
                reconciler = Reconciler(self._table, self._sender, resend_s=resend_s, broker=self._broker)
            if reconciler is not None:
                reconciler.run_once()
            if self._closing.wait(self._settings.reconcile_s):
                return
