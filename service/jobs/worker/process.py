"""The process of a worker: says that it is there, and has Celery run jobs in children of its own, one after another."""

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
from service.jobs.worker.kinds import NAME
from service.jobs.workers import WorkerTable, queues_of
from service.settings import Settings

log = logging.getLogger("chiron.worker")


def serve_jobs(settings: Settings, device: str, gpus: Sequence[int] = ()) -> None:
    """Be a worker until told to stop: on GPUs where there is CUDA and it may be used, on `gpus` if some are chosen, else on the CPU.

    Raises LookupError if CUDA is asked for and there is none.
    """
    os.environ |= {"CHIRON_STATE": str(settings.state.absolute()), "CHIRON_DATA": str(settings.data.absolute())}
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    kind, devices = _devices(device)
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # jobs take a GPU where they see one
    queues, name = queues_of(kind, devices), f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    shown = "cuda" if kind == "gpu" else "cpu"
    os.environ[NAME] = name
    workers = WorkerTable(open_database(settings.database), lease_s=settings.lease_s)
    app, ended = celery_app(settings), threading.Event()
    told_to_stop = threading.Event()
    worker_shutting_down.connect(lambda **_: told_to_stop.set(), weak=False)

    def present() -> None:
        while not ended.wait(min(1.0, settings.lease_s / 5)):
            _ignore_down(lambda: workers.seen(name, queues, shown))
            if told_to_stop.is_set():
                _ignore_down(lambda: workers.stop(name))

    workers.seen(name, queues, shown)
    thread = threading.Thread(target=present, name="present", daemon=True)
    thread.start()
    log.info("worker %s of queues %s", name, ", ".join(queues))
    try:
        app.worker_main(
            ["--quiet", "worker", "--queues", ",".join(queues), "--hostname", f"chiron-{os.getpid()}@%h",
             "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        )  # fmt: skip
    finally:
        ended.set()
        thread.join()
        _ignore_down(lambda: workers.gone(name))


def _ignore_down(call: Callable[[], None]) -> None:
    try:
        call()
    except StoreUnavailable as error:
        log.warning("%s", error)


def _devices(device: str) -> tuple[str, int]:
    """gpu or cpu, and how many there are for one job. Raises LookupError."""
    if device != "cpu":
        asked = "import torch; print(torch.cuda.device_count())"  # CUDA stays out of this process
        said = subprocess.run([sys.executable, "-c", asked], check=False, capture_output=True, text=True).stdout
        if said.strip().isdigit() and int(said) > 0:
            return "gpu", min(int(said), MAX_DEVICES)
        if device == "cuda":
            raise LookupError("there is no CUDA device that torch can use; --device cpu works without")
    return "cpu", min(usable_cpus(), MAX_DEVICES)
