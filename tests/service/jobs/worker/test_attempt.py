"""Tests of attempts with a stub for training: faults of the job, the worker and the database."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from models.contract.spec import TrainSpec
from service.jobs import artifacts
from service.jobs.database import StoreUnavailable, open_database, writing
from service.jobs.records import Job
from service.jobs.schema import JOBS
from service.jobs.table import JobTable
from service.jobs.worker import attempt as module
from service.jobs.worker.attempt import STOPPED, Attempt, Outcome, attempt_job, data_problem
from service.settings import Settings

ME = "me"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(state=tmp_path / "state", data=tmp_path, lease_s=30)


@pytest.fixture
def table(settings) -> Any:
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=settings.lease_s)
    engine.dispose()


@pytest.fixture
def attempted(table: JobTable, settings: Settings) -> Callable[..., Job]:
    """Return a function that runs one attempt at a new job with a stub for its work, and returns the job."""

    def run(work: Callable[[Attempt], Outcome], **options: Any) -> Job:
        job, _ = table.submit(TrainSpec(run="r"), "cpu")
        attempt_job(settings, job.id, ME, work, **options)
        return table.get(job.id)

    return run


def unavailable(*_: object, **__: object) -> Any:
    raise StoreUnavailable("the server does not answer")


def test_the_error_of_a_job_has_no_path_of_the_server(attempted, settings: Settings):
    upload = settings.datasets.absolute() / f"lab.{'0a' * 16}"

    def fail(_: Attempt) -> Outcome:
        raise ValueError(f"{upload}/hands/a.json: no, {upload}: none, {settings.data}/hands/splits.json: neither")

    error = attempted(fail).error
    assert error["detail"] == "hands/a.json: no, none, hands/splits.json: neither"
    assert error["lines"][-1] == f"ValueError: {error['detail']}"


def test_a_job_succeeds_with_its_result_or_fails_with_its_traceback(attempted):
    assert attempted(lambda _: Outcome({"score": 1})).result == {"score": 1}

    def fail(_: Attempt) -> Outcome:
        raise ValueError("expected a run, got none")

    job = attempted(fail)
    assert (job.state, job.error["type"], job.error["detail"]) == ("failed", "ValueError", "expected a run, got none")
    assert "expected a run, got none" in job.error["lines"][-1]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "the disk is full; a retry resumes from the last checkpoint"),
        (SoftTimeLimitExceeded(), "ran longer than 86400 s; a retry resumes from its last checkpoint"),
    ],
)
def test_errors_that_a_retry_can_overcome_suggest_one(attempted, error, message):
    def fail(_: Attempt) -> Outcome:
        raise error

    assert message in attempted(fail).error["detail"]


def test_a_result_that_is_finished_during_shutdown_counts(attempted):
    published: list[int] = []

    def export(attempt: Attempt) -> Outcome:
        attempt.heartbeat.beat()
        assert attempt.heartbeat.stop_reason == "released"
        return Outcome({"bundle": "b"}, lambda: published.append(1))

    job = attempted(export, shutting_down=lambda: True)
    assert (job.state, job.result, published) == ("succeeded", {"bundle": "b"}, [1])


def test_a_job_that_stops_for_a_shutdown_is_queued_without_counting_a_loss(attempted):
    job = attempted(lambda _: STOPPED, shutting_down=lambda: True)
    assert (job.state, job.losses) == ("queued", 0)


def test_a_cancelled_job_stays_cancelled_even_if_it_finishes(attempted, table):
    discarded: list[int] = []

    def work(attempt: Attempt) -> Outcome:
        table.cancel(attempt.lease.job)
        return Outcome(
            {"a": 1}, lambda: pytest.fail("expected no publication of a cancelled job"), lambda: discarded.append(1)
        )

    job = attempted(work)
    assert (job.state, job.result, discarded) == ("cancelled", None, [1])


def test_a_failed_write_of_a_log_line_does_not_end_the_attempt(attempted, monkeypatch):
    report = JobTable.report

    def work(attempt: Attempt) -> Outcome:
        monkeypatch.setattr(JobTable, "report", unavailable)
        attempt.log("training")
        attempt.heartbeat.beat()
        monkeypatch.setattr(JobTable, "report", report)
        return Outcome({"a": 1})

    job = attempted(work)
    assert (job.state, job.attempt, job.losses) == ("succeeded", 1, 0)


def test_the_end_of_a_job_is_recorded_when_the_database_answers_again(attempted, monkeypatch):
    finish, refusals, published = JobTable.finish, iter([True, True]), []

    def finish_late(*arguments: Any, **options: Any) -> None:
        if next(refusals, False):
            unavailable()
        finish(*arguments, **options)

    monkeypatch.setattr(JobTable, "finish", finish_late)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    job = attempted(lambda _: Outcome({"a": 1}, lambda: published.append(1)))
    assert (job.state, published) == ("succeeded", [1])


def test_an_attempt_that_ends_during_an_outage_does_not_count_as_lost(table, settings, monkeypatch):
    """The lease expires before the database answers again, so the reconciler finds it."""
    settings = settings.model_copy(update={"lease_s": 0.5})
    renew = JobTable.renew

    def work(attempt: Attempt) -> Outcome:
        monkeypatch.setattr(JobTable, "renew", unavailable)
        return STOPPED

    job, _ = table.submit(TrainSpec(run="r"), "cpu")
    attempt_job(settings, job.id, ME, work, shutting_down=lambda: True)
    monkeypatch.setattr(JobTable, "renew", renew)
    assert artifacts.was_released(settings.jobs, job.id, 1)
    with writing(table._engine) as connection:
        connection.execute(JOBS.update().values(lease_until=0.0))
    released = lambda job, attempt: artifacts.was_released(settings.jobs, job, attempt)  # noqa: E731 - as the service has it
    assert JobTable(table._engine, lease_s=30, released=released).expire() == [job.id]
    assert (table.get(job.id).state, table.get(job.id).losses) == ("queued", 0)


def test_a_missing_or_empty_data_folder_is_reported(settings, tmp_path):
    assert data_problem(settings.model_copy(update={"data": tmp_path / "none"})) == (
        f"there is no data folder {tmp_path / 'none'}; set CHIRON_DATA to its path"
    )
    (tmp_path / "empty").mkdir()
    assert "is empty; set CHIRON_DATA" in str(data_problem(settings.model_copy(update={"data": tmp_path / "empty"})))
    (tmp_path / "empty" / "hands").mkdir()
    assert data_problem(settings.model_copy(update={"data": tmp_path / "empty"})) is None
