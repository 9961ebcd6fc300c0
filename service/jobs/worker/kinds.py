"""The Celery worker: takes a job's lease and runs it. The one module of the service that imports training, in its functions.

Each attempt writes into a folder of its own and begins with what the attempt before had checkpointed, so that a worker that
was thought dead disturbs nobody; what it makes counts only if its lease still holds when it is done.
"""

import hashlib
import logging
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from celery import shared_task

from models.contract.bundle import Bundle
from models.contract.spec import JOB_SPEC, BenchmarkSpec, CheckSpec, EvaluateSpec, TrainSpec
from service.jobs import artifacts
from service.jobs.queue.celery_app import TASK
from service.jobs.worker.attempt import NAME, Attempt, Done, attempt_job
from service.jobs.worker.progress import Pace
from service.registry.versions import Lineage, Versions
from service.settings import Settings

log = logging.getLogger("chiron.worker")


@shared_task(name=TASK, bind=True, acks_late=True, retry_on_worker_lost=True, max_retries=2)
def job(_: Any, job_id: str) -> None:
    """A message came: there may be a job to run."""
    settings = Settings()
    run_job(settings, job_id, os.environ.get(NAME, "worker"))


def run_job(settings: Settings, job_id: str, worker: str) -> None:
    """Run one attempt at a job, of any kind."""
    attempt_job(settings, job_id, worker, _run)


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
    from training.engine.folders import folder_of
    from training.engine.loop import BEST, LAST, train
    from training.engine.watch import Watch

    run, data = configured(spec), attempt.data(spec.dataset)
    plan = [(stage, seed) for seed in spec.seeds for stage in run.stages]
    pace = Pace(attempt.heart, [(stage.name, seed, stage.optimisation.steps) for stage, seed in plan])
    watch = Watch(pace.told, attempt.heart.stop, bar=False)
    for stage, seed in plan:
        folder = folder_of(attempt.runs, stage, seed)
        attempt.say(f"{stage.name}, seed {seed}: {stage.optimisation.steps} steps, from step {_step_of(folder / LAST)}")
        train(
            stage, seed, data, folder, accelerator=spec.device, devices=spec.devices, precision=spec.precision,
            watch=watch,
        )  # fmt: skip
        if attempt.heart.stop():
            return Done({})
    attempt.draw(run, spec.seeds)
    found = {seed: _best_of(folder_of(attempt.runs, run, seed) / BEST) for seed in spec.seeds}
    seed = min(spec.seeds, key=lambda seed: found[seed]["score"])
    result = {"run": run.name, "fingerprint": run.fingerprint, "seed": seed, "best": found[seed]}
    result["seeds"] = {str(seed): best for seed, best in found.items()}
    return _exported(attempt, spec, run, seed, data, result) if spec.publish else Done(result)


def _exported(attempt: Attempt, spec: TrainSpec, run: Any, seed: int, data: Path, result: dict[str, Any]) -> Done:
    """The bundle of a trained run and seed, measured on the test split and ready to be published."""
    from training.data.parts import parts_of
    from training.engine.export import export
    from training.engine.folders import folder_of
    from training.engine.loop import BEST, load_best
    from training.studies import STUDIES

    folder = folder_of(attempt.runs, run, seed)
    network = load_best(run, folder / BEST)
    attempt.say(f"measuring seed {seed} on the test split")
    facts, table = STUDIES[run.task.kind].facts(run, network, data)
    (folder / "test.md").write_text(table + "\n")
    attempt.say("exporting the bundle, checked against the network and its symmetries")
    bundle = export(
        network, attempt.folder / "bundle", facts, name=run.name, title=run.title, licence=run.licence,
        command=_command(spec, seed),
    )  # fmt: skip
    lineage = Lineage(
        job=attempt.lease.job,
        attempt=attempt.lease.attempt,
        run=run.name,
        seed=seed,
        data=spec.dataset or data.name,
        data_sha256=data_sha256(data, parts_of(run)),
        git_commit=bundle.meta.git_commit,
        created_at=time.time(),
    )
    return _published(attempt, bundle, lineage, result)


def _published(attempt: Attempt, bundle: Bundle, lineage: Lineage, result: dict[str, Any]) -> Done:
    versions, version = Versions.of(attempt.settings), bundle.meta.version
    attempt.say(f"{bundle.meta.name} {version} is ready")
    staging = versions.stage(bundle, lineage)

    def publish() -> None:
        versions.publish(staging, version)

    made = {"model": bundle.meta.name, "version": version}
    return Done(result | made, publish, lambda: shutil.rmtree(staging, ignore_errors=True))


def _evaluate(attempt: Attempt, spec: EvaluateSpec) -> Done:
    from training.engine.folders import folder_of
    from training.engine.loop import BEST, load_best
    from training.studies import STUDIES

    tables: dict[str, str] = {}
    trained_by: dict[str, str] = {}
    for seed in spec.seeds:
        of = attempt.table.get(spec.job) if spec.job else next(iter(attempt.table.trained(spec.run, seed)), None)
        if of is None or of.kind != "train" or of.state != "succeeded":
            raise FileNotFoundError(f"no job has trained {spec.run} with seed {seed}")
        trained = TrainSpec.model_validate(of.spec)
        if trained.run != spec.run or seed not in trained.seeds:
            raise FileNotFoundError(f"job {of.id} has trained {trained.run} with seeds {trained.seeds}")
        run = configured(trained)
        weights = folder_of(artifacts.folder_of(attempt.settings.jobs, of.id, of.attempt) / "runs", run, seed)
        network = load_best(run, weights / BEST)
        data = attempt.data(spec.dataset) if spec.dataset else attempt.data(trained.dataset, of)
        attempt.say(f"measuring seed {seed} of job {of.id} on the {spec.split} split")
        folder = attempt.folder / f"seed{seed}"
        folder.mkdir(exist_ok=True)
        tables[str(seed)] = STUDIES[run.task.kind].show(run, network, data, folder, spec.split)
        (folder / f"{spec.split}.md").write_text(tables[str(seed)] + "\n")
        trained_by[str(seed)] = of.id
        if attempt.heart.stop():
            return Done({})
    return Done({"run": spec.run, "split": spec.split, "of": trained_by, "tables": tables})


def _benchmark(attempt: Attempt, spec: BenchmarkSpec) -> Done:
    from training.engine.watch import Stopped, Watch
    from training.studies import BENCHMARKS

    if spec.table not in BENCHMARKS:
        raise LookupError(f"no table {spec.table!r}; there are {', '.join(sorted(BENCHMARKS))}")
    watch = Watch(Pace(attempt.heart).told, attempt.heart.stop, bar=False)
    try:
        table = BENCHMARKS[spec.table](attempt.data(spec.dataset), attempt.runs, watch)
    except Stopped:
        return Done({})
    (attempt.folder / f"{spec.table}.md").write_text(table + "\n")
    return Done({"table": table})


def _check(attempt: Attempt, spec: CheckSpec) -> Done:
    """Read every recording of a data set, of every part, source and split, as training would."""
    from training.check import check

    folder = attempt.datasets.get(spec.dataset).path
    counts = check(folder, attempt.heart.stop)
    return Done({"counts": counts, "sha256": data_sha256(folder, tuple(counts))})


def configured(spec: TrainSpec) -> Any:
    """The run of a spec. Raises UnknownRun."""
    from training.catalogue import get_run

    run = get_run(spec.run)
    own = {"steps": spec.steps, "validate_every": spec.validate_every, "checkpoint_every": spec.checkpoint_every}
    given = {name: value for name, value in own.items() if value is not None}
    return replace(run, optimisation=replace(run.optimisation, **given)) if given else run


def data_sha256(data: Path, parts: tuple[str, ...]) -> str:
    """A hash of the names and contents of the files in these parts of a data folder."""
    total = hashlib.sha256()
    for file in sorted(path for part in parts for path in (data / part).rglob("*") if path.is_file()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{file.relative_to(data)}:{digest}\n".encode())
    return total.hexdigest()


def _step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, 0 where there is none."""
    import torch

    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"]) if checkpoint.is_file() else 0


def _best_of(checkpoint: Path) -> dict[str, float]:
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name: content[name] for name in ("step", "loss", "score")}


def _command(spec: TrainSpec, seed: int) -> str:
    steps = f" --steps {spec.steps}" if spec.steps else ""
    which = f"{spec.run} --seed {seed}{steps}"
    return f"python -m training run {which} && python -m training export {which}"
