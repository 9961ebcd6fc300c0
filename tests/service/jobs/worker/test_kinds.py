"""Tests of jobs of every kind in a worker: results, versions, errors, and interruptions without lost work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.contract.bundle import read_bundle
from models.contract.spec import BenchmarkSpec, EvaluateSpec, TrainSpec
from service.jobs import artifacts
from service.jobs.database import open_database, writing
from service.jobs.records import Job
from service.jobs.schema import JOBS
from service.jobs.table import JobTable
from service.jobs.worker import kinds as worker
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.heartbeat import Heartbeat
from service.jobs.worker.progress import ProgressReporter
from service.registry.versions import Versions
from service.routes.job_schemas import job_info
from service.settings import Settings
from training.engine import loop
from training.engine.benchmark import Choice
from training.engine.export import Facts
from training.engine.study import Study
from training.engine.watch import Watch
from training.studies import BENCHMARKS, STUDIES

from ...conftest import make_hands

pytestmark = [pytest.mark.long(36), pytest.mark.usefixtures("small")]

SPEC = TrainSpec(run="hands-eqmotion", steps=6, validate_every=3, checkpoint_every=1, publish=False)
ME = "me"


@pytest.fixture
def table(settings) -> Any:
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=settings.lease_s)
    engine.dispose()


def run_job(settings: Settings, job: str, name: str) -> None:
    attempt_job(settings, job, name, worker.run_kind)


def finished(table: JobTable, settings: Settings, spec: Any = SPEC, name: str = ME) -> Job:
    """Submit a job and run one attempt at it; return the job."""
    job, _ = table.submit(spec, "cpu")
    run_job(settings, job.id, name)
    return table.get(job.id)


def artifact(settings: Settings, job: Job, suffix: str) -> Path:
    (path,) = [
        path for name, path in artifacts.files(settings.jobs, job.id, job.attempt).items() if name.endswith(suffix)
    ]
    return path


def history(settings: Settings, job: Job) -> str:
    return artifact(settings, job, "history.jsonl").read_text()


@pytest.fixture(scope="module")
def curves() -> dict[str, str]:
    """Keep the uninterrupted curve for all tests of the module."""
    return {}


@pytest.fixture
def uninterrupted(table, settings, curves) -> str:
    if not curves:
        job = finished(table, settings)
        assert job.state == "succeeded", job.error
        curves["uninterrupted"] = history(settings, job)
    return curves["uninterrupted"]


# --- how jobs end ---


def quick_export(network: Any, folder: Path, *_: Any, **__: Any) -> Any:
    """Write a bundle without an export, which other tests cover."""
    return read_bundle(make_hands(folder.parent, folder.name, network.task))


def test_a_training_publishes_its_bundle_with_its_lineage(table, settings, monkeypatch):
    monkeypatch.setattr("training.engine.export.export", quick_export)
    job = finished(table, settings, SPEC.model_copy(update={"publish": True, "seeds": (4,)}))
    assert job.state == "succeeded", job.error
    assert job.result is not None
    (version,) = Versions(settings.versions).versions("bundle")
    assert version.version == job.result["version"]
    assert version.lineage is not None
    assert (version.lineage.job, version.lineage.seed) == (job.id, 4)
    assert version.lineage.data_sha256 == worker.data_sha256(settings.data, ("hands",))
    assert Versions(settings.versions).current("bundle") is None, "expected no promoted version"
    assert artifact(settings, job, "bundle/model.onnx").stat().st_size > 100

    measured = finished(table, settings, EvaluateSpec(run="hands-eqmotion", seeds=(4,), split="validation"))
    assert measured.state == "succeeded", measured.error
    assert measured.result is not None
    assert measured.result["of"] == {"4": job.id}
    assert "leap" in measured.result["tables"]["4"]
    assert artifact(settings, measured, "seed4/validation-horizon.png").stat().st_size > 1000
    if not torch.cuda.is_available():  # never falls back to another device
        on_gpu = finished(table, settings, EvaluateSpec(run="hands-eqmotion", seeds=(4,), device="cuda"))
        assert (on_gpu.state, (on_gpu.error or {})["type"]) == ("failed", "NoDevice")


def test_every_seed_is_trained_and_the_best_on_validation_data_is_published(table, settings, monkeypatch):
    monkeypatch.setattr("training.engine.export.export", quick_export)
    quick = Study(show=lambda *_: "| a table |", facts=lambda *_: (Facts({}, (), ()), "| a table |"))
    monkeypatch.setitem(STUDIES, "hand-forecast", quick)  # another test uses the real study
    job = finished(table, settings, SPEC.model_copy(update={"publish": True, "seeds": (1, 2, 3)}))
    assert job.state == "succeeded", job.error
    assert job.result is not None
    scores = {int(seed): best["score"] for seed, best in job.result["seeds"].items()}
    assert list(scores) == [1, 2, 3]
    best = min(scores, key=scores.__getitem__)
    assert (job.result["seed"], job.result["best"]["score"]) == (best, scores[best])
    (version,) = Versions(settings.versions).versions("bundle")
    assert version.lineage is not None
    assert version.lineage.seed == best
    assert artifact(settings, job, "learning-curves.png").stat().st_size > 10_000
    metrics = [event.data for event in table.events(job.id) if event.kind == "metrics"]
    assert [(values["seed"], values["step"]) for values in metrics] == [
        (seed, step) for seed in (1, 2, 3) for step in (3, 6)
    ]
    assert job.progress is not None
    assert job.progress.pop("loss") > 0
    assert job.progress == {"stage": "hands-eqmotion", "seed": 3, "step": 6, "steps": 6, "eta_s": 0.0}

    with_seeds = finished(table, settings, EvaluateSpec(run="hands-eqmotion", seeds=(3, 1), split="validation"))
    assert with_seeds.result is not None
    assert list(with_seeds.result["tables"]) == ["3", "1"]
    other = finished(table, settings, EvaluateSpec(run="hands-eqmotion", seeds=(4,), job=job.id))
    assert "has trained hands-eqmotion with seeds (1, 2, 3)" in str(other.error)


def test_a_benchmark_reports_its_progress_and_can_be_cancelled(table, settings, monkeypatch):
    """The table has a single run."""

    def one_run(data: Path, out: Path, watch: Watch, choice: Choice) -> str:
        assert (choice.models, choice.seeds, choice.train) == (("GCN",), 2, True)
        assert choice.results is not None
        assert choice.results.name == "results"
        run = worker.configured(SPEC)
        watch.check()
        loop.train(loop.Training(run, 0, data, out, "cpu"), watch)
        watch.check()
        return "| a table |"

    monkeypatch.setitem(BENCHMARKS, "hands", one_run)
    job, _ = table.submit(BenchmarkSpec(table="hands", models=("GCN",), seeds=2), "cpu")

    cancelled = cancelled_at(4, job, table, settings, monkeypatch)
    assert (cancelled.state, cancelled.progress["step"]) == ("cancelled", 4)
    table.retry(job.id)
    run_job(settings, job.id, ME)
    finished_job = table.get(job.id)
    assert (finished_job.state, finished_job.result) == ("succeeded", {"table": "| a table |"})
    assert artifact(settings, finished_job, "hands.md").read_text() == "| a table |\n"


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (TrainSpec(run="no-such-run"), "KeyError", "no-such-run"),
        (BenchmarkSpec(table="no-such-table"), "LookupError", "there are bodies, bodies-none, bodies-published"),
        (EvaluateSpec(run="hands-eqmotion"), "FileNotFoundError", "no job has trained hands-eqmotion with seed 0"),
        (EvaluateSpec(run="hands-eqmotion", job="none"), "UnknownJob", "no job 'none'"),
        (SPEC.model_copy(update={"dataset": "nobodys"}), "UnknownDataset", "nobodys"),
    ],
)
def test_a_job_that_cannot_run_fails_with_the_reason(table, settings, spec, kind, message):
    job = finished(table, settings, spec)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == kind
    assert message in job.error["detail"]
    assert kind in job.error["lines"][-1]


def test_a_missing_data_folder_fails_the_job_with_advice(table, settings, tmp_path):
    job = finished(table, settings.model_copy(update={"data": tmp_path / "none"}))
    assert "set CHIRON_DATA" in str(job.error)


@pytest.mark.parametrize(
    "poison", [{}, {"kind": "dance"}, {**SPEC.model_dump(mode="json"), "more": 1}, [1], "text", None]
)
def test_an_unreadable_spec_fails_its_job_and_is_shown_unchanged(table, settings, poison):
    job, _ = table.submit(SPEC, "cpu")
    with writing(table._engine) as connection:
        connection.execute(JOBS.update().where(JOBS.c.id == job.id).values(spec=poison))
    run_job(settings, job.id, ME)
    failed = table.get(job.id)
    assert failed.state == "failed"
    assert failed.error["type"] == "ValidationError"
    assert job_info(failed, []).spec == poison, "expected the unchanged spec in the API"


def test_an_unknown_or_finished_job_is_not_run(table, settings):
    run_job(settings, "none", ME)
    job = finished(table, settings, BenchmarkSpec(table="none"))
    run_job(settings, job.id, ME)
    assert table.get(job.id) == job


# --- interruptions ---


def test_a_full_disk_fails_the_job_and_a_retry_resumes_from_the_last_complete_checkpoint(
    table, settings, uninterrupted, monkeypatch
):
    """The third checkpoint goes to a device that is always full."""
    real, written = loop.save, []

    def save(fabric: Any, path: Path, content: dict[str, Any], watch: Watch) -> None:
        if path.name == loop.LAST:
            written.append(path)
            if len(written) == 3:
                path.with_suffix(".part").write_bytes(b"half of it")
                Path("/dev/full").write_bytes(b"the rest")
        real(fabric, path, content, watch)

    monkeypatch.setattr(loop, "save", save)
    job = finished(table, settings)
    assert job.state == "failed"
    assert job.error is not None
    assert "the disk is full; a retry resumes from the last checkpoint" in job.error["detail"]
    assert torch.load(artifact(settings, job, "last.ckpt"), weights_only=True)["step"] == 2
    table.retry(job.id)
    run_job(settings, job.id, ME)
    again = table.get(job.id)
    assert (again.state, again.attempt) == ("succeeded", 2)
    assert history(settings, again) == uninterrupted


def at_step(monkeypatch, step: int, act: Callable[[Heartbeat], None]) -> None:
    """Call `act` after a step of the training loop."""
    real = ProgressReporter.report

    def report(reporter: ProgressReporter, event: dict[str, Any]) -> None:
        real(reporter, event)
        if event["step"] == step:
            monkeypatch.setattr(ProgressReporter, "report", real)
            act(reporter._heartbeat)

    monkeypatch.setattr(ProgressReporter, "report", report)


def cancelled_at(step: int, job: Job, table: JobTable, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a job and cancel it after a step; return the job."""

    def cancel(heartbeat: Heartbeat) -> None:
        table.cancel(job.id)
        heartbeat.beat()

    at_step(monkeypatch, step, cancel)
    run_job(settings, job.id, ME)
    return table.get(job.id)


def test_a_cancelled_job_stops_and_resumes_when_it_is_retried(table, settings, uninterrupted, monkeypatch):
    job, _ = table.submit(SPEC, "cpu")

    cancelled = cancelled_at(4, job, table, settings, monkeypatch)
    assert cancelled.state == "cancelled"
    assert cancelled.progress["step"] == 4
    assert torch.load(artifact(settings, cancelled, "last.ckpt"), weights_only=True)["step"] == 4
    table.retry(job.id)
    run_job(settings, job.id, ME)
    assert history(settings, table.get(job.id)) == uninterrupted


def test_a_worker_that_shuts_down_releases_its_job(table, settings, uninterrupted, monkeypatch):
    job, _ = table.submit(SPEC, "cpu")
    ending: list[bool] = []

    def end(heartbeat: Heartbeat) -> None:
        ending.append(True)
        heartbeat.beat()

    at_step(monkeypatch, 2, end)
    attempt_job(settings, job.id, ME, worker.run_kind, lambda: bool(ending))
    assert (table.get(job.id).state, table.get(job.id).losses) == ("queued", 0)
    run_job(settings, job.id, "another")
    assert history(settings, table.get(job.id)) == uninterrupted


@pytest.mark.parametrize("when", ["in the middle", "with its bundle ready"])
def test_a_stale_attempt_writes_no_state_artifact_or_bundle(table, settings, uninterrupted, monkeypatch, when):
    """Another worker takes over and finishes the job while the first one still runs."""
    job, _ = table.submit(SPEC.model_copy(update={"publish": True}), "cpu")
    other: list[Job] = []

    def take_over(_: object = None) -> None:
        with writing(table._engine) as connection:
            connection.execute(JOBS.update().where(JOBS.c.id == job.id).values(lease_until=0.0))
        run_job(settings, job.id, "another")
        other.append(table.get(job.id))

    real_stage, real_publish, published = Versions.stage, Versions.publish, []

    def stage(versions: Versions, *arguments: Any) -> Path:
        staging = real_stage(versions, *arguments)
        if when == "with its bundle ready":
            monkeypatch.setattr(Versions, "stage", real_stage)
            take_over()
        return staging

    def publish(versions: Versions, staging: Path, version: str) -> Path:
        published.append(version)
        return real_publish(versions, staging, version)

    if when == "in the middle":
        at_step(monkeypatch, 3, take_over)
    monkeypatch.setattr("training.engine.export.export", quick_export)
    monkeypatch.setattr(Versions, "stage", stage)
    monkeypatch.setattr(Versions, "publish", publish)
    run_job(settings, job.id, ME)
    assert (other[0].state, other[0].attempt, other[0].worker) == ("succeeded", 2, "another")
    assert table.get(job.id) == other[0]
    assert len(published) == 1
    folders = list((settings.versions / "bundle" / "versions").iterdir())
    assert [folder.name for folder in folders] == published, "expected one version and no staged files"
    assert history(settings, other[0]) == uninterrupted
