"""Tests of a sweep in a worker: its trainings, their comparison, and the bundle of the best."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from models.contract.spec import SweepSpec
from service.jobs import artifacts
from service.jobs.database import open_database
from service.jobs.records import Job
from service.jobs.table import JobTable
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.registry.versions import Versions
from service.settings import Settings

from .test_kinds import quick_export

pytestmark = [pytest.mark.long(20), pytest.mark.usefixtures("small")]
SPEC = SweepSpec(run="hands-eqmotion", steps=3, validate_every=3, grid={"layers": (1, 2), "learning_rate": (0.01, 0.1)})


@pytest.fixture
def table(settings: Settings) -> Iterator[JobTable]:
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=settings.lease_s)
    engine.dispose()


def swept(table: JobTable, settings: Settings, spec: SweepSpec) -> Job:
    """Submit a sweep, run its trainings and the comparison, and return the job."""
    job, _ = table.submit(spec, "cpu", None, [(cell, "cpu") for cell in spec.cells()])
    for child in table.children(job.id):
        attempt_job(settings, child.id, "w", run_kind)
    return compared(table, settings, job)


def compared(table: JobTable, settings: Settings, job: Job) -> Job:
    table.settle()
    attempt_job(settings, job.id, "w", run_kind)
    return table.get(job.id)


def test_a_sweep_compares_its_trainings_and_publishes_the_bundle_of_the_best(table, settings, monkeypatch):
    monkeypatch.setattr("training.engine.export.export", quick_export)
    job = swept(table, settings, SPEC)
    assert job.state == "succeeded", job.error
    result: Any = job.result
    children = table.children(job.id)
    scores = [child.result["best"]["score"] for child in children]
    best = scores.index(min(scores))
    assert result["best_cell"] == best
    assert [cell["settings"] for cell in result["cells"]] == [
        {"layers": layers, "learning_rate": rate} for layers in (1, 2) for rate in (0.01, 0.1)
    ]
    assert [cell["job"] for cell in result["cells"]] == [child.id for child in children]
    assert [cell["score"] for cell in result["cells"]] == scores
    for cell in result["cells"]:
        assert cell["parameters"] > 0
        assert cell["seconds"] >= 0
        assert {one["split"] for one in cell["measurements"]} == {"validation"}
        assert all(one["baseline_value"] > 0 for one in cell["measurements"])
    files = artifacts.files(settings.jobs, job.id, job.attempt)
    assert {"sweep.json", "sweep.md", "sweep.png"} <= set(files)
    assert json.loads(files["sweep.json"].read_text())["best"] == best
    assert result["table"] + "\n" == files["sweep.md"].read_text()
    (version,) = Versions(settings.versions).versions("bundle")
    assert (version.version, result["model"]) == (result["version"], "bundle")
    assert version.lineage is not None
    assert version.lineage.job == job.id
    assert result["fingerprint"] == children[best].result["fingerprint"]


def test_cells_that_fail_or_are_removed_are_rows_and_the_others_are_compared(table, settings):
    spec = SPEC.model_copy(update={"publish": False, "grid": {"layers": (1, 9000, 2)}})
    job, _ = table.submit(spec, "cpu", None, [(cell, "cpu") for cell in spec.cells()])
    *others, last = table.children(job.id)
    for child in others:
        attempt_job(settings, child.id, "w", run_kind)
    table.cancel(last.id)
    job = compared(table, settings, job)
    assert job.state == "succeeded", job.error
    result: Any = job.result
    assert [cell["state"] for cell in result["cells"]] == ["succeeded", "failed", "cancelled"]
    assert "layers: expected a number of at most 4096, got 9000" in result["table"]
    assert result["best_cell"] == 0
    assert "model" not in result, "expected nothing to be published"


def test_a_sweep_without_any_result_fails_with_the_reason_of_its_first_cell(table, settings):
    job = swept(table, settings, SPEC.model_copy(update={"grid": {"layer": (1, 2)}}))
    error: Any = job.error
    assert (job.state, error["type"]) == ("failed", "NoResult")
    assert "has no field 'layer'" in error["detail"]
    assert "sweep.md" in artifacts.files(settings.jobs, job.id, job.attempt)
