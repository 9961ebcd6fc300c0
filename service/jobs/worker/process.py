"""The main process of a worker: registers the worker, and has Celery run jobs one after another in child processes."""

import logging
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Sequence

from celery.signals import worker_shutting_down

from models.contract.cpus import usable_cpus
from models.contract.spec import MAX_DEVICES
from service.jobs.database import StoreUnavailable, open_database
from service.jobs.queue.celery_app import celery_app
from service.jobs.worker.task import WORKER_NAME
from service.jobs.workers import WorkerTable, queues_of
from service.settings import Settings

log = logging.getLogger("chiron.worker")


def serve_jobs(settings: Settings, device: str, gpus: Sequence[int] = ()) -> None:
    """Run jobs until told to stop: on `gpus`, on all GPUs if the device allows and CUDA has any, or else on the CPU.

    Raises LookupError if the device is cuda and there is none, NoBroker, and StoreUnavailable.
    """
    os.environ |= {"CHIRON_STATE": str(settings.state.absolute()), "CHIRON_DATA": str(settings.data.absolute())}
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    kind, devices = _devices(device)
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a job with device "auto" uses any GPU that it sees
    queues, name = queues_of(kind, devices), f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    device_name = "cuda" if kind == "gpu" else "cpu"
    os.environ[WORKER_NAME] = name
    workers = WorkerTable(open_database(settings.database), lease_s=settings.lease_s)
    app, ended, stopping = celery_app(settings), threading.Event(), threading.Event()
    worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)

    def keep_registered() -> None:
        while not ended.wait(min(1.0, settings.lease_s / 5)):
            _log_unavailable(lambda: workers.register(name, queues, device_name))
            if stopping.is_set():
                _log_unavailable(lambda: workers.request_stop(name))

    workers.register(name, queues, device_name)
    thread = threading.Thread(target=keep_registered, name="registration", daemon=True)
    thread.start()
    log.info("worker %s listens to the queues %s", name, ", ".join(queues))
    try:
        app.worker_main(
            ["--quiet", "worker", "--queues", ",".join(queues), "--hostname", f"chiron-{os.getpid()}@%h",
             "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        )  # fmt: skip
    finally:
        ended.set()
        thread.join()
        _log_unavailable(lambda: workers.unregister(name))


def _log_unavailable(call: Callable[[], None]) -> None:
    try:
        call()
    except StoreUnavailable as error:
        log.warning("%s", error)


def _devices(device: str) -> tuple[str, int]:
    """Return gpu or cpu, and the number of devices that one job may use. Raises LookupError."""
    if device != "cpu":
        code = "import torch; print(torch.cuda.device_count())"  # a child process, so that CUDA stays out of this one
        output = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stdout
        if output.strip().isdigit() and int(output) > 0:
            return "gpu", min(int(output), MAX_DEVICES)
        if device == "cuda":
            raise LookupError("torch finds no CUDA device; install its driver or run `chiron worker --device cpu`")
    return "cpu", min(usable_cpus(), MAX_DEVICES)
