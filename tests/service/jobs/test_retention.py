"""Tests of retention: limits in the settings, items that are always kept, and `chiron prune`."""

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from models.contract.bundle import read_bundle
from models.contract.spec import CheckSpec, EvaluateSpec, TrainSpec
from models.contract.task import HandForecast
from service.cli import app
from service.jobs import artifacts, disk
from service.jobs.database import open_database, writing
from service.jobs.datasets import DatasetTable
from service.jobs.records import UnknownJob, WrongState
from service.jobs.retention import DAY_S, Removal, Retention
from service.jobs.schema import JOBS
from service.jobs.table import JobTable
from service.registry.versions import InUse, Versions
from service.settings import Settings

from ..conftest import make_hands
from ..places import LINEAGE

UNLIMITED: dict[str, Any] = {"keep_jobs_days": None, "keep_jobs": None, "keep_cache_bytes": None}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(state=tmp_path / "state", **UNLIMITED)


@pytest.fixture
def engine(settings):
    engine = open_database(settings.database)
    yield engine
    engine.dispose()


@pytest.fixture
def table(engine) -> JobTable:
    return JobTable(engine, lease_s=60)


def finished(settings: Settings, engine: Engine, days: float, size: int = 1000, spec: Any = None) -> str:
    """Create a job that finished `days` days ago with an artifact of `size` bytes; return its id."""
    table = JobTable(engine, lease_s=60)
    job, _ = table.submit(spec or TrainSpec(run="r"), "cpu")
    lease = table.claim(job.id, "me")
    assert lease is not None
    folder = artifacts.begin(settings.jobs, job.id, 1)
    (folder / "table.md").write_bytes(bytes(size))
    table.finish(lease, "succeeded", result={})
    with writing(engine) as connection:
        old = JOBS.update().where(JOBS.c.id == job.id)
        connection.execute(old.values(finished_at=JOBS.c.finished_at - days * DAY_S))
    return job.id


def planned(settings: Settings, table: JobTable, **keep: Any) -> list[Removal]:
    settings = settings.model_copy(update=keep)
    return Retention(settings, table, Versions.of(settings)).plan()


def test_the_oldest_jobs_are_removed_by_age_count_and_bytes(settings, engine, table):
    new, older, oldest = (finished(settings, engine, days) for days in (1, 50, 100))
    assert planned(settings, table) == []
    assert [removal.name for removal in planned(settings, table, keep_jobs_days=60.0)] == [oldest]
    assert [removal.name for removal in planned(settings, table, keep_jobs=1)] == [older, oldest]
    (removal,) = planned(settings, table, keep_jobs_bytes=2500)
    assert (removal.kind, removal.name, removal.bytes) == ("job", oldest, 1000)
    assert new not in str(planned(settings, table, keep_jobs_bytes=0, keep_jobs=1)[1:])


def test_unfinished_and_needed_jobs_are_kept(settings, engine, table, tmp_path):
    table.submit(TrainSpec(run="waiting"), "cpu")
    DatasetTable(engine, table).register("own", tmp_path, "folder")
    check = table.jobs(kind="check")[0].id
    lease = table.claim(check, "me")
    assert lease is not None
    table.finish(lease, "succeeded", result={"counts": {}})
    measured = finished(settings, engine, 100)
    evaluation, _ = table.submit(EvaluateSpec(run="r", job=measured), "cpu")
    by_run = finished(settings, engine, 100, spec=TrainSpec(run="by-run"))
    table.submit(EvaluateSpec(run="by-run"), "cpu")
    free = finished(settings, engine, 100, spec=CheckSpec(dataset="own"))
    assert [removal.name for removal in planned(settings, table, keep_jobs_days=1.0)] == [free]
    table.cancel(evaluation.id)
    names = {removal.name for removal in planned(settings, table, keep_jobs_days=1.0)}
    assert measured in names
    assert not {check, by_run} & names
    with pytest.raises(WrongState, match="remove the data set first"):
        table.remove(check)


def test_removing_a_job_deletes_its_row_events_and_files_even_after_a_crash(settings, engine, table):
    first, second = (finished(settings, engine, 100) for _ in range(2))
    retention = Retention(settings.model_copy(update={"keep_jobs_days": 1.0}), table, Versions.of(settings))
    for removal in retention.plan():
        assert retention.remove(removal)
        assert not retention.remove(removal), "expected the job to be gone"
    for job in (first, second):
        with pytest.raises(UnknownJob):
            table.get(job)
        assert table.events(job) == []
        assert not (settings.jobs / job).exists()
    leftover = finished(settings, engine, 1)
    table.remove(leftover)  # and the process crashed here
    assert retention.plan() == [], "expected recent files to be kept, since their removal may be in progress"
    os.utime(settings.jobs / leftover, (1, 1))
    (removal,) = retention.plan()
    assert (removal.kind, removal.name) == ("leftover", leftover)
    assert retention.remove(removal)
    assert not (settings.jobs / leftover).exists()


def test_versions_are_kept_by_default_and_current_ones_always(settings, table, tmp_path):
    versions, names = Versions.of(settings), []
    for number in range(4):
        bundle = read_bundle(
            make_hands(tmp_path / str(number), "hands", HandForecast(past=10, future=10 + number, fps=10))
        )
        lineage = LINEAGE.model_copy(update={"created_at": LINEAGE.created_at + number})
        versions.publish(versions.stage(bundle, lineage), bundle.meta.version)
        names.append(bundle.meta.version)
    versions.promote("hands", names[0], None)
    versions.promote("hands", names[1], None)
    assert planned(settings, table) == []
    kept_two = planned(settings, table, keep_versions=2)
    assert [removal.name for removal in kept_two] == [], "expected the current version and its predecessor to be kept"
    versions.promote("hands", names[2], None)
    (removal,) = planned(settings, table, keep_versions=2)
    assert (removal.kind, removal.name) == ("version", f"hands/{names[0]}")
    assert removal.bytes > 100
    with pytest.raises(InUse, match="promote others first"):
        versions.remove("hands", names[1])
    assert Retention(settings, table, versions).remove(removal)
    assert names[0] not in [version.version for version in versions.versions("hands")]
    assert not versions.remove("hands", names[0])


def test_prune_lists_removals_and_removes_only_with_yes(settings, engine, table, monkeypatch):
    job = finished(settings, engine, 100, size=2_000_000)
    monkeypatch.setenv("CHIRON_STATE", str(settings.state))
    listed = CliRunner().invoke(app, ["prune"])
    assert listed.exit_code == 0, listed.output
    assert job in listed.output
    assert "it finished 100 days ago, and 90 are kept" in listed.output
    assert "1 things of 2.0 MB are no longer kept; `chiron prune --yes` removes them" in listed.output
    assert table.get(job).state == "succeeded"
    removed = CliRunner().invoke(app, ["prune", "--yes"])
    assert "1 things of 2.0 MB were removed" in removed.output
    with pytest.raises(UnknownJob):
        table.get(job)


def test_disk_usage_is_measured_by_folder(settings, engine, tmp_path: Path):
    finished(settings, engine, 1, size=3000)
    assert disk.usage(settings) == {"jobs": 3000, "datasets": 0, "models": 0, "cache": 0}
    assert disk.free_bytes(Settings(state=tmp_path / "not" / "there")) > 0
    with pytest.raises(disk.DiskLow, match="chiron prune"):
        disk.check_space(settings.model_copy(update={"min_free_bytes": 1 << 60}))
