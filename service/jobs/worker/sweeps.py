"""Sweeps: the measurement of one cell beside the best floor, and the comparison of all cells once they have ended."""

from pathlib import Path
from typing import Any

from models.contract.grid import cells
from models.contract.spec import SweepSpec, TrainSpec
from service.jobs import artifacts
from service.jobs.records import Job
from service.jobs.worker.attempt import Attempt, Outcome
from service.jobs.worker.bundles import export_bundle
from service.jobs.worker.runs import base_of, configured


class NoResult(ValueError):
    """A sweep of which no training has succeeded."""


def measured(attempt: Attempt, spec: TrainSpec, run: Any, seed: int, data: Path) -> dict[str, Any]:
    """Return the number of weights of a cell's network and its metrics of the validation split, beside the best floor."""
    from training.engine.checkpoints import BEST, load_best
    from training.engine.devices import device_of, on_device
    from training.engine.folders import folder_of
    from training.engine.sweep import parameters_of
    from training.studies import compared

    network = load_best(run, folder_of(attempt.runs, run, seed) / BEST)
    attempt.log(f"measuring seed {seed} on the validation split")
    with on_device(network, device_of(spec.device)):
        measurements = compared(run, network, data)
    return {
        "parameters": parameters_of(network),
        "measurements": [one.model_dump(mode="json", exclude_none=True) for one in measurements],
    }


def compare(attempt: Attempt, spec: SweepSpec) -> Outcome:
    """Write the table and the picture of all cells, and export the bundle of the best. Raises NoResult if no training has succeeded."""
    from training.engine.sweep import Sweep

    children = attempt.table.children(attempt.lease.job)
    by_training = {TrainSpec.model_validate(child.spec).model_dump_json(): child for child in children}
    jobs = [by_training.get(training.model_dump_json()) for training in spec.cells()]
    swept = Sweep(
        run=spec.run, cells=tuple(_cell(fields, job) for fields, job in zip(cells(spec.grid), jobs, strict=True))
    )
    swept.write(attempt.folder)
    best = None if swept.best is None else jobs[swept.best]
    if best is None:
        errors = [cell.error for cell in swept.cells if cell.error]
        raise NoResult(f"no training of the sweep has succeeded; {errors[0] if errors else 'all were cancelled'}")
    trained = TrainSpec.model_validate(best.spec)
    data = attempt.data(trained.dataset, best)
    run = configured(trained, data, base_of(attempt, trained))
    chosen = {"run": run.name, "fingerprint": run.fingerprint, "seed": trained.seeds[0]}
    content = swept.model_dump(mode="json", exclude_none=True)
    result = {**chosen, "best_cell": content["best"], "cells": content["cells"], "table": swept.table()}
    attempt.log(f"the best of {len(jobs)} trainings is job {best.id}")
    if not spec.publish:
        return Outcome(result)
    runs = artifacts.folder_of(attempt.settings.jobs, best.id, best.attempt) / "runs"
    return export_bundle(attempt, trained, run, trained.seeds[0], data, result, runs)


def _cell(fields: dict[str, Any], job: Job | None) -> Any:
    """Return a cell of the comparison: the outcome of its training."""
    from training.engine.sweep import Cell

    if job is None:
        return Cell(settings=fields, state="removed")
    seconds = job.finished_at - job.started_at if job.finished_at and job.started_at else None
    error = f"{job.error['type']}: {job.error['detail']}" if job.error else None
    result = job.result if job.state == "succeeded" and job.result else {}
    figures = result.get("best", {}) | {name: result[name] for name in ("parameters", "measurements") if name in result}
    shown = None if seconds is None else round(seconds, 1)
    return Cell(settings=fields, state=job.state, seconds=shown, error=error, job=job.id, **figures)
