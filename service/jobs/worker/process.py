"""The main process of a worker: registers the worker, and has Celery run jobs one after another in child processes."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import celery.apps.worker
from celery.signals import worker_shutting_down
from sqlalchemy import Engine

from models.contract.cpus import usable_cpus
from models.contract.spec import MAX_DEVICES
from service.jobs.database import StoreUnavailable, StoreUnusable, open_database
from service.jobs.offers import OfferTable
from service.jobs.outage import Outage
from service.jobs.queue.celery_app import celery_app
from service.jobs.records import Queue
from service.jobs.worker.attempt import data_problem
from service.jobs.worker.pool import STARTS
from service.jobs.worker.task import STOP_FILE, WORKER_NAME
from service.jobs.workers import WorkerTable, queues_of
from service.settings import Settings

log = logging.getLogger("chiron.worker")
RETRY_S = 1.0
STOP_TIMEOUT_S = 5.0  # for the last words to the database
# A child process, so that torch and CUDA stay out of this one.
OFFERS_CODE = """
import json
from training.catalogue import all_runs
from training.engine.settings import fields_of
from training.studies import BENCHMARKS
from training.tasks.hands.models import MODELS
runs = {name: fields_of(run) for name, run in all_runs().items()}
print(json.dumps({"run": runs, "table": sorted(BENCHMARKS), "architecture": sorted(MODELS)}))
"""
DEVICES_CODE = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Identity:
    """The name of this worker, its queues, and its kind of device."""

    name: str
    queues: tuple[Queue, ...]
    device: str


def serve_jobs(settings: Settings, device: str, gpus: Sequence[int] = ()) -> None:
    """Run jobs until told to stop: on `gpus`, on all GPUs if the device allows and CUDA has any, or else on the CPU.

    Wait for a database that does not answer. Raises StoreUnusable for one that is damaged or newer than this program, NoBroker, and
    LookupError if the device is cuda and there is none.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until Celery handles it
    logging.captureWarnings(True)  # warnings are lines of JSON, too
    celery.apps.worker.safe_say = lambda message, *_: log.info("%s", message)  # Celery prints its shutdown as text
    os.environ |= {"CHIRON_STATE": str(settings.state.absolute()), "CHIRON_DATA": str(settings.data.absolute())}
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    kind, devices = _devices(device)
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a job with device "auto" uses any GPU that it sees
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    worker = Identity(name, queues_of(kind, devices), "cuda" if kind == "gpu" else "cpu")
    with tempfile.TemporaryDirectory(prefix="chiron-worker-") as folder:
        stop_file = Path(folder) / "stop"
        os.environ |= {WORKER_NAME: name, STOP_FILE: str(stop_file)}
        app = celery_app(settings)
        engine = _open_database(settings)
        registration = Registration(WorkerTable(engine, lease_s=settings.lease_s), settings, worker, stop_file)
        registration.start()
        threading.Thread(target=_publish_offers, args=(engine,), name="offers", daemon=True).start()
        log.info("worker %s listens to the queues %s", name, ", ".join(worker.queues))
        try:
            app.worker_main(
                ["--quiet", "worker", "--queues", ",".join(worker.queues), "--hostname", f"chiron-{os.getpid()}@%h",
                 "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
            )  # fmt: skip
        finally:
            registration.stop()


class Registration:
    """A thread that keeps this worker registered, reports its condition, and passes the shutdown on to child processes."""

    def __init__(self, workers: WorkerTable, settings: Settings, worker: Identity, stop_file: Path) -> None:
        self._workers, self._settings, self._worker, self._stop_file = workers, settings, worker, stop_file
        self._outage = Outage(log, "the job table")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        worker_shutting_down.connect(self._pass_on_shutdown, weak=False)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and unregister the worker, unless the database takes too long to answer."""
        self._ended.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _pass_on_shutdown(self, **_: object) -> None:
        self._stop_file.touch()  # child processes look at the file, so that they learn of it without the database

    def _run(self) -> None:
        while True:
            self._attempt_update()
            if self._ended.wait(min(1.0, self._settings.lease_s / 5)):
                break
        try:
            self._workers.unregister(self._worker.name)
        except StoreUnavailable as error:
            self._outage.report(error)  # the registration expires by itself

    def _attempt_update(self) -> None:
        name, queues, device = self._worker.name, self._worker.queues, self._worker.device
        try:
            problem = data_problem(self._settings)
        except OSError as error:
            problem = f"the data folder {self._settings.data} cannot be read: {error.strerror}"
        try:
            self._workers.register(name, queues, device, failed_starts=STARTS.failed, problem=problem)
            if self._stop_file.exists():
                self._workers.request_stop(name)
            self._outage.end()
        except StoreUnavailable as error:
            self._outage.report(error)


def _open_database(settings: Settings) -> Engine:
    """Open the database, and wait while it does not answer. Raises StoreUnusable."""
    outage = Outage(log, "the job table")
    while True:
        try:
            engine = open_database(settings.database)
        except StoreUnusable:
            raise
        except (StoreUnavailable, OSError) as error:
            outage.report(StoreUnavailable(f"waiting for the database: {error}"))
            time.sleep(RETRY_S)
        else:
            outage.end()
            return engine


def _publish_offers(engine: Engine) -> None:
    """Publish the names of the runs, tables and architectures that this installation knows."""
    listing = subprocess.run(
        [sys.executable, "-c", OFFERS_CODE], check=False, capture_output=True, text=True, preexec_fn=lambda: os.nice(10)
    )
    if listing.returncode != 0:
        last = (listing.stderr.splitlines() or ["no output"])[-1]
        log.error("the names of the runs could not be listed, so submitted jobs are not checked for them: %s", last)
        return
    offers, outage = OfferTable(engine), Outage(log, "the job table")
    for kind, names in json.loads(listing.stdout).items():
        while True:
            try:
                offers.publish(kind, list(names), names if isinstance(names, dict) else None)
                break
            except StoreUnavailable as error:
                outage.report(error)
                time.sleep(RETRY_S)


def _devices(device: str) -> tuple[str, int]:
    """Return gpu or cpu, and the number of devices that one job may use. Raises LookupError."""
    if device != "cpu":
        output = subprocess.run(
            [sys.executable, "-c", DEVICES_CODE], check=False, capture_output=True, text=True
        ).stdout
        if output.strip().isdigit() and int(output) > 0:
            return "gpu", min(int(output), MAX_DEVICES)
        if device == "cuda":
            raise LookupError("torch finds no CUDA device; install its driver or run `chiron worker --device cpu`")
    return "cpu", min(usable_cpus(), MAX_DEVICES)
