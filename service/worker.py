"""The Celery worker: takes a job's lease and runs it. The one module of the service that imports training, in its functions.

Each attempt writes into a folder of its own and begins with what the attempt before had checkpointed, so that a worker that
was thought dead disturbs nobody; what it makes counts only if its lease still holds when it is done.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init, worker_shutting_down

from models.contract.bundle import Bundle
from models.contract.spec import JOB_SPEC, BenchmarkSpec, CheckSpec, EvaluateSpec, TrainSpec
from service import artifacts
from service.database import StoreUnavailable, open_database
from service.datasets import DatasetTable
from service.heart import Heart
from service.jobs import JobTable, Lease, LostLease, Queue
from service.queues import TASK, celery_app
from service.settings import Settings
from service.telemetry import log_json_lines
from service.versions import Lineage, Versions
from service.workers import WorkerTable

log = logging.getLogger("chiron.worker")
NAME = "CHIRON_WORKER_NAME"  # tells the children of a worker whose they are
TRACE_LINES = 20
DATA_OF = {"hand-forecast": "hands", "face-landmarks": "faces"}  # what of the data folder a kind of task is trained on


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

    def data(self, dataset: str | None) -> Path:
        """The data folder of a job. Raises FileNotFoundError, UnknownDataset."""
        if dataset is None:
            if not self.settings.data.is_dir():
                raise FileNotFoundError(f"there is no data folder {self.settings.data}; CHIRON_DATA says where it is")
            return self.settings.data
        found = self.datasets.get(dataset)
        if found.state != "ready":
            raise FileNotFoundError(f"data set {dataset} is {found.state}")
        return found.path

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


@shared_task(name=TASK, bind=True, acks_late=True, retry_on_worker_lost=True, max_retries=2)
def job(_: Any, job_id: str) -> None:
    """A message came: there may be a job to run."""
    settings = Settings()
    run_job(settings, job_id, os.environ.get(NAME, "worker"))


def run_job(settings: Settings, job_id: str, worker: str) -> None:
    """Run a job, if its lease can be had, to whatever end it comes; nothing is raised for a job that fails."""
    engine = open_database(settings.database)
    table = JobTable(engine, lease_s=settings.lease_s)
    workers = WorkerTable(engine, lease_s=settings.lease_s)
    try:
        lease = table.claim(job_id, worker)
        if lease is None:
            log.info("job %s is done, held by another, or none", job_id)
            return
        with Heart(table, workers, lease, settings.lease_s) as heart:
            _attempt(settings, table, DatasetTable(engine, table), lease, heart)
    finally:
        engine.dispose()


def _attempt(settings: Settings, table: JobTable, datasets: DatasetTable, lease: Lease, heart: Heart) -> None:
    done = Done({})
    try:
        folder = artifacts.begin(settings.jobs, lease.job, lease.attempt)
        attempt = Attempt(settings, table, datasets, lease, heart, folder)
        done = _run(attempt)
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
    except Exception as error:
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


def _run(attempt: Attempt) -> Done:
    """By kind of job. Raises whatever goes wrong."""
    import torch

    torch.set_num_threads(attempt.settings.training_threads)
    spec = JOB_SPEC.validate_python(attempt.lease.spec, strict=False)
    attempt.say(f"attempt {attempt.lease.attempt} on {attempt.lease.worker}")
    if isinstance(spec, TrainSpec):
        return _train(attempt, spec)
    if isinstance(spec, EvaluateSpec):
        return _evaluate(attempt, spec)
    return _benchmark(attempt, spec) if isinstance(spec, BenchmarkSpec) else _check(attempt, spec)


def _train(attempt: Attempt, spec: TrainSpec) -> Done:
    from training.export import export
    from training.loop import BEST, LAST, load_best, train
    from training.run import folder_of
    from training.studies import STUDIES

    run, data = configured(spec), attempt.data(spec.dataset)
    folder = attempt.folder
    for stage in run.stages:
        folder = folder_of(attempt.runs, stage, spec.seed)
        pace = Pace(attempt.heart, stage.name, stage.optimisation.steps, _step_of(folder / LAST))
        attempt.say(f"{stage.name}, seed {spec.seed}: {stage.optimisation.steps} steps, from step {pace.step}")
        train(
            stage, spec.seed, data, folder, accelerator=spec.device, devices=spec.devices, precision=spec.precision,
            progress=pace.validated, stop=pace.stop, bar=False,
        )  # fmt: skip
        pace.end(_step_of(folder / LAST))
        if attempt.heart.stop():
            return Done({})
    result: dict[str, Any] = {"run": run.name, "seed": spec.seed, "fingerprint": run.fingerprint}
    result["best"] = _best_of(folder / BEST)
    if not spec.publish:
        return Done(result)
    attempt.say("measuring on the test split")
    network = load_best(run, folder / BEST)
    facts, table = STUDIES[run.task.kind].facts(run, network, data)
    (folder / "test.md").write_text(table + "\n")
    attempt.say("exporting the bundle, checked against the network and its symmetries")
    bundle = export(
        network, attempt.folder / "bundle", facts, name=run.name, title=run.title, licence=run.licence,
        command=_command(spec),
    )  # fmt: skip
    lineage = Lineage(
        job=attempt.lease.job,
        attempt=attempt.lease.attempt,
        run=run.name,
        seed=spec.seed,
        data=spec.dataset or data.name,
        data_sha256=data_sha256(data, DATA_OF.get(run.task.kind)),
        git_commit=bundle.meta.git_commit,
        created_at=time.time(),
    )
    return _published(attempt, bundle, lineage, result)


def _published(attempt: Attempt, bundle: Bundle, lineage: Lineage, result: dict[str, Any]) -> Done:
    versions, version = Versions(attempt.settings.versions), bundle.meta.version
    attempt.say(f"{bundle.meta.name} {version} is ready")
    staging = versions.stage(bundle, lineage)

    def publish() -> None:
        versions.publish(staging, version)

    made = {"model": bundle.meta.name, "version": version}
    return Done(result | made, publish, lambda: shutil.rmtree(staging, ignore_errors=True))


def _evaluate(attempt: Attempt, spec: EvaluateSpec) -> Done:
    from training.loop import BEST, load_best
    from training.run import folder_of
    from training.studies import STUDIES

    of = attempt.table.get(spec.job) if spec.job else next(iter(attempt.table.trained(spec.run, spec.seed)), None)
    if of is None or of.kind != "train" or of.state != "succeeded":
        raise FileNotFoundError(f"no job has trained {spec.run} with seed {spec.seed}")
    trained = TrainSpec.model_validate(of.spec)
    run = configured(trained)
    weights = folder_of(artifacts.folder_of(attempt.settings.jobs, of.id, of.attempt) / "runs", run, trained.seed)
    network, data = load_best(run, weights / BEST), attempt.data(spec.dataset or trained.dataset)
    attempt.say(f"measuring job {of.id} on the {spec.split} split")
    table = STUDIES[run.task.kind].show(run, network, data, attempt.folder, spec.split)
    (attempt.folder / f"{spec.split}.md").write_text(table + "\n")
    return Done({"of": of.id, "run": run.name, "split": spec.split, "table": table})


def _benchmark(attempt: Attempt, spec: BenchmarkSpec) -> Done:
    from training.__main__ import BENCHMARKS

    if spec.table not in BENCHMARKS:
        raise LookupError(f"no table {spec.table!r}; there are {', '.join(sorted(BENCHMARKS))}")
    table = BENCHMARKS[spec.table](attempt.data(spec.dataset), attempt.runs)
    (attempt.folder / f"{spec.table}.md").write_text(table + "\n")
    return Done({"table": table})


def _check(attempt: Attempt, spec: CheckSpec) -> Done:
    """Read every recording of a data set, of every source and split, as training would."""
    from training.data.hands_npz import read_hands

    hands = attempt.datasets.get(spec.dataset).path / "hands"
    splits = json.loads((hands / "splits.json").read_text()) if (hands / "splits.json").is_file() else None
    if not isinstance(splits, dict) or not all(isinstance(split, dict) for split in splits.values()):
        raise ValueError("wanted hands/splits.json with {source: {split: [recordings]}}; it is not there, or not so")
    counts = {source: {split: len(read_hands(hands, source, split)) for split in splits[source]} for source in splits}
    return Done({"counts": {"hands": counts}, "sha256": data_sha256(hands, None)})


class Pace:
    """A training loop's progress: it asks `stop` before every step, so that the questions count the steps."""

    def __init__(self, heart: Heart, stage: str, steps: int, step: int) -> None:
        self.step, self._first, self._began = step, True, 0.0
        self._heart, self._stage, self._steps, self._start = heart, stage, steps, step

    def stop(self) -> bool:
        """Whether to stop; called before each step."""
        if self._first:
            self._first, self._began = False, time.monotonic()
        else:
            self.step += 1
        if done := self.step - self._start:
            eta_s = round((time.monotonic() - self._began) / done * (self._steps - self.step), 1)
            self._say(self.step, eta_s=eta_s)
        return self._heart.stop()

    def end(self, step: int) -> None:
        """The loop has ended, at a step that may be before its last."""
        self._say(step, eta_s=0.0)

    def _say(self, step: int, **more: float) -> None:
        self._heart.progress({"stage": self._stage, "step": step, "steps": self._steps, **more})

    def validated(self, said: dict[str, float]) -> None:
        """The loop's report after a validation."""
        self._heart.metrics({"stage": self._stage, **said})


def configured(spec: TrainSpec) -> Any:
    """The run of a spec. Raises UnknownRun."""
    from training.run import get_run

    run = get_run(spec.run)
    own = {"steps": spec.steps, "validate_every": spec.validate_every, "checkpoint_every": spec.checkpoint_every}
    given = {name: value for name, value in own.items() if value is not None}
    return replace(run, optimisation=replace(run.optimisation, **given)) if given else run


def data_sha256(data: Path, part: str | None) -> str:
    """A hash of the names and contents of the files that a run was trained on, or might have been."""
    total = hashlib.sha256()
    folder = data / part if part else data
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{file.relative_to(folder)}:{digest}\n".encode())
    return total.hexdigest()


def _step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, 0 where there is none."""
    import torch

    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"]) if checkpoint.is_file() else 0


def _best_of(checkpoint: Path) -> dict[str, float]:
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name: content[name] for name in ("step", "loss", "score")}


def _command(spec: TrainSpec) -> str:
    steps = f" --steps {spec.steps}" if spec.steps else ""
    which = f"{spec.run} --seed {spec.seed}{steps}"
    return f"python -m training run {which} && python -m training export {which}"


# --- the process ---


@worker_process_init.connect
def _log_of_child(**_: Any) -> None:
    log_json_lines()


def serve_jobs(settings: Settings, device: str, gpu: int | None = None) -> None:
    """Be a worker until told to stop: of the queue `gpu` where there is CUDA and it may be used, else of `cpu`."""
    os.environ |= {"CHIRON_STATE": str(settings.state.absolute()), "CHIRON_DATA": str(settings.data.absolute())}
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    queue, name = _queue(device), f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    os.environ[NAME] = name
    workers = WorkerTable(open_database(settings.database), lease_s=settings.lease_s)
    app, ended = celery_app(settings), threading.Event()
    told_to_stop = threading.Event()
    worker_shutting_down.connect(lambda **_: told_to_stop.set(), weak=False)

    def present() -> None:
        while not ended.wait(min(1.0, settings.lease_s / 5)):
            _ignore_down(lambda: workers.seen(name, (queue,), "cuda" if queue == "gpu" else "cpu"))
            if told_to_stop.is_set():
                _ignore_down(lambda: workers.stop(name))

    workers.seen(name, (queue,), "cuda" if queue == "gpu" else "cpu")
    thread = threading.Thread(target=present, name="present", daemon=True)
    thread.start()
    log.info("worker %s of queue %s", name, queue)
    try:
        app.worker_main(
            ["--quiet", "worker", "--queues", queue, "--hostname", f"chiron-{os.getpid()}@%h", "--loglevel", "INFO",
             "--without-gossip", "--without-mingle", "--without-heartbeat"]
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


def _queue(device: str) -> Queue:
    if device == "cpu":
        return "cpu"
    asked = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"  # CUDA stays out of this process
    if subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0:
        return "gpu"
    if device == "cuda":
        raise LookupError("there is no CUDA device that torch can use; --device cpu works without")
    return "cpu"
