"""The kinds of job: train, sweep, evaluate, benchmark and check. Modules of workers alone import training, inside functions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.contract.spec import JOB_SPEC, BenchmarkSpec, CheckSpec, EvaluateSpec, SweepSpec, TrainSpec
from service.jobs import artifacts
from service.jobs.records import Job
from service.jobs.worker.attempt import STOPPED, Attempt, Outcome
from service.jobs.worker.bundles import data_sha256, export_bundle
from service.jobs.worker.progress import ProgressReporter
from service.jobs.worker.runs import base_of, configured
from service.jobs.worker.sweeps import compare, measured


def run_kind(attempt: Attempt) -> Outcome:
    """Run a job of any kind. Raises whatever the job raises."""
    import torch

    torch.set_num_threads(attempt.settings.training_threads)
    spec = JOB_SPEC.validate_python(attempt.lease.spec, strict=False)
    attempt.log(f"attempt {attempt.lease.attempt} on {attempt.lease.worker}")
    if isinstance(spec, TrainSpec):
        return _train(attempt, spec)
    if isinstance(spec, SweepSpec):
        return compare(attempt, spec)
    if isinstance(spec, EvaluateSpec):
        return _evaluate(attempt, spec)
    return _benchmark(attempt, spec) if isinstance(spec, BenchmarkSpec) else _check(attempt, spec)


def _train(attempt: Attempt, spec: TrainSpec) -> Outcome:
    """Train every stage with every seed, and export the bundle of the best seed if it is to be published."""
    from training.engine.checkpoints import BEST, LAST, validation_of
    from training.engine.folders import folder_of
    from training.engine.loop import Training, train

    data = attempt.data(spec.dataset)
    run = configured(spec, data, base_of(attempt, spec))
    plan = [(stage, seed) for seed in spec.seeds for stage in run.stages]
    steps = [(stage.name, seed, stage.optimisation.steps) for stage, seed in plan]
    watch = _watch(attempt, steps)
    for stage, seed in plan:
        folder = folder_of(attempt.runs, stage, seed)
        attempt.log(f"{stage.name}, seed {seed}: {stage.optimisation.length}, from step {_step_of(folder / LAST)}")
        train(Training(stage, seed, data, attempt.runs, spec.device, spec.devices), watch)
        if attempt.heartbeat.should_stop():
            return STOPPED
    attempt.draw_curves(run, spec.seeds)
    best = {seed: validation_of(folder_of(attempt.runs, run, seed) / BEST) for seed in spec.seeds}
    seed = min(spec.seeds, key=lambda seed: best[seed]["score"])
    result = {"run": run.name, "fingerprint": run.fingerprint, "seed": seed, "best": best[seed]}
    result["seeds"] = {str(seed): validation for seed, validation in best.items()}
    if attempt.table.get(attempt.lease.job).parent is not None:
        result |= measured(attempt, spec, run, seed, data)
    return export_bundle(attempt, spec, run, seed, data, result, attempt.runs) if spec.publish else Outcome(result)


def _evaluate(attempt: Attempt, spec: EvaluateSpec) -> Outcome:
    """Measure the weights of a training job, or of the latest training of each seed, on a split."""
    from training.engine.checkpoints import BEST, load_best
    from training.engine.devices import device_of, on_device
    from training.engine.folders import folder_of
    from training.studies import STUDIES

    tables: dict[str, str] = {}
    sources: dict[str, str] = {}
    for seed in spec.seeds:
        source = _training_job(attempt, spec, seed)
        trained = TrainSpec.model_validate(source.spec)
        read = attempt.data(trained.dataset, source) if trained.epochs or trained.dataset else None
        run = configured(trained, read, base_of(attempt, trained))
        runs = artifacts.folder_of(attempt.settings.jobs, source.id, source.attempt) / "runs"
        network = load_best(run, folder_of(runs, run, seed) / BEST)
        data = attempt.data(spec.dataset) if spec.dataset else attempt.data(trained.dataset, source)
        attempt.log(f"measuring seed {seed} of job {source.id} on the {spec.split} split")
        folder = attempt.folder / f"seed{seed}"
        folder.mkdir(exist_ok=True)
        with on_device(network, device_of(spec.device)):
            tables[str(seed)] = STUDIES[run.task.kind].show(run, network, data, folder, spec.split)
        (folder / f"{spec.split}.md").write_text(tables[str(seed)] + "\n")
        sources[str(seed)] = source.id
        if attempt.heartbeat.should_stop():
            return STOPPED
    return Outcome({"run": spec.run, "split": spec.split, "of": sources, "tables": tables})


def _training_job(attempt: Attempt, spec: EvaluateSpec, seed: int) -> Job:
    """Return the job that trained the weights to evaluate. Raises UnknownJob, FileNotFoundError."""
    job = attempt.table.get(spec.job) if spec.job else next(iter(attempt.table.trained(spec.run, seed)), None)
    if job is None or job.kind != "train" or job.state != "succeeded":
        raise FileNotFoundError(f"no job has trained {spec.run} with seed {seed}; submit a train job first")
    trained = TrainSpec.model_validate(job.spec)
    if trained.run != spec.run or seed not in trained.seeds:
        actual = f"job {job.id} has trained {trained.run} with seeds {trained.seeds}"
        raise FileNotFoundError(f"expected a job that has trained {spec.run} with seed {seed}; {actual}")
    return job


def _benchmark(attempt: Attempt, spec: BenchmarkSpec) -> Outcome:
    """Make a table of `python -m training benchmark`, training what it lacks."""
    from training.engine.benchmark import Choice
    from training.engine.watch import Stopped
    from training.studies import BENCHMARKS

    if spec.table not in BENCHMARKS:
        raise LookupError(f"no table {spec.table!r}; there are {', '.join(sorted(BENCHMARKS))}")
    watch = _watch(attempt)
    try:
        choice = Choice(
            spec.tables, spec.models, spec.preset, spec.seeds, spec.epochs, results=attempt.folder / "results"
        )
        table = BENCHMARKS[spec.table](attempt.data(spec.dataset), attempt.runs, watch, choice)
    except Stopped:
        return STOPPED
    (attempt.folder / f"{spec.table}.md").write_text(table + "\n")
    return Outcome({"table": table})


def _check(attempt: Attempt, spec: CheckSpec) -> Outcome:
    """Load every recording of a data set, of every part, source and split, as training would."""
    from training.check import check, parts_read

    folder = attempt.datasets.get(spec.dataset).path
    counts = check(folder, attempt.heartbeat.should_stop, attempt.log)
    return Outcome({"counts": counts, "sha256": data_sha256(folder, parts_read(folder, counts))})


def _watch(attempt: Attempt, plan: Sequence[tuple[str, int, int]] = ()) -> Any:
    """Return the watch of a training: steps, stop requests and writes go through the heartbeat."""
    from training.engine.watch import Watch

    heartbeat = attempt.heartbeat
    report = ProgressReporter(heartbeat, plan).report
    return Watch(progress=report, stop=heartbeat.should_stop, bar=False, activity=heartbeat.activity)


def _step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint, or 0 if there is none."""
    import torch

    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"]) if checkpoint.is_file() else 0
