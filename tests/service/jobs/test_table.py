"""Tests of the job table: submission, idempotency keys, lists, events, cancellation and retry."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from models.contract.spec import BenchmarkSpec, TrainSpec
from service.jobs.database import writing
from service.jobs.records import KeyReused, Position, UnknownJob, WrongState
from service.jobs.schema import JOBS
from service.jobs.table import JobTable

SPEC = TrainSpec(run="hands-eqmotion", seeds=(3,))


def states(table: JobTable, job: str) -> list[str]:
    """Return the history of a job's states."""
    return [event.data["state"] for event in table.events(job) if event.kind == "state"]


def test_a_submitted_job_is_stored_unchanged(table):
    job, new = table.submit(SPEC, "cpu")
    assert new
    assert (job.state, job.attempt, job.queue, job.kind) == ("queued", 0, "cpu", "train")
    assert TrainSpec.model_validate(job.spec) == SPEC
    assert table.get(job.id) == job
    assert states(table, job.id) == ["queued"]


def test_an_idempotency_key_returns_the_same_job_and_refuses_another_spec(table):
    job, _ = table.submit(SPEC, "cpu", "key")
    again, new = table.submit(SPEC, "cpu", "key")
    assert (again.id, new) == (job.id, False)
    with pytest.raises(KeyReused, match=job.id):
        table.submit(TrainSpec(run="other"), "cpu", "key")
    assert table.submit(SPEC, "cpu", "other key")[1]
    assert len(table.jobs()) == 2


def test_concurrent_submissions_with_one_key_create_one_job(table):
    together = threading.Barrier(8)

    def submit(_: int) -> tuple[str, bool]:
        together.wait()
        job, new = table.submit(SPEC, "cpu", "key")
        return job.id, new

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    assert len({job for job, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1


def test_jobs_are_listed_newest_first_in_pages_and_filtered_by_state_and_kind(table):
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(5)]
    bench = table.submit(BenchmarkSpec(table="hands"), "cpu")[0].id
    table.cancel(jobs[1])
    for cursor in (lambda job: job.id, lambda job: str(job.position)):
        listed, after = [], None
        while page := table.jobs(limit=2, after=after):
            assert len(page) <= 2
            listed += [job.id for job in page]
            after = cursor(page[-1])
        assert sorted(listed) == sorted([*jobs, bench])
        assert listed[0] == bench
    assert [job.id for job in table.jobs(state="cancelled")] == [jobs[1]]
    assert [job.id for job in table.jobs(kind="benchmark")] == [bench]
    for call in (lambda: table.jobs(after="none"), lambda: table.get("none"), lambda: table.cancel("none")):
        with pytest.raises(UnknownJob, match="no job 'none'"):
            call()


def test_a_page_follows_a_place_whose_job_was_removed_and_ends_ties_by_id(table, engine):
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(6)]
    with writing(engine) as connection:
        connection.execute(update(JOBS).values(created_at=1e9 / 3))  # not a short decimal
    first = table.jobs(limit=3)
    table.cancel(first[-1].id)
    table.remove(first[-1].id)
    with pytest.raises(UnknownJob):
        table.jobs(after=first[-1].id)
    rest = table.jobs(after=str(first[-1].position))
    assert [job.id for job in (*first, *rest)] == sorted(jobs, reverse=True)
    table.cancel(rest[-1].id)
    assert [job.id for job in table.jobs(after=str(first[-1].position), state="cancelled")] == [rest[-1].id]


def test_a_place_is_written_and_read_without_loss_and_other_texts_are_none():
    place = Position(1764500000.1234567, "0" * 32)
    assert Position.parse(str(place)) == place
    for text in ("", "0" * 32, "nan-" + "0" * 32, "1e9-" + "0" * 32, f"{place} ", "1.0-" + "g" * 32):
        assert Position.parse(text) is None


def test_events_are_numbered_and_can_be_read_from_any_number(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")
    assert lease
    table.report(lease, ("progress", {"step": 1}), ("metrics", {"loss": 2.0}))
    table.report(lease, ("log", {"text": "hello"}))
    table.finish(lease, "succeeded", result={"bundle": "x"})
    events = table.events(job)
    assert [event.number for event in events] == list(range(1, 7))
    assert [event.kind for event in events] == ["state", "state", "progress", "metrics", "log", "state"]
    assert table.events(job, after=4) == events[4:]
    assert table.get(job).progress == {"step": 1}
    assert table.get(job).metrics == {"loss": 2.0}
    assert table.get(job).result == {"bundle": "x"}


def test_a_queued_job_is_cancelled_at_once_and_never_runs(table):
    job = table.submit(SPEC, "cpu")[0].id
    assert table.cancel(job).state == "cancelled"
    assert table.claim(job, "a") is None
    assert table.cancel(job).state == "cancelled"


def test_a_running_job_is_cancelling_until_it_stops(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")
    assert table.cancel(job).state == "cancelling"
    assert table.cancel(job).state == "cancelling"
    assert table.renew(lease) == "cancelling"
    table.finish(lease, "cancelled")
    assert states(table, job) == ["queued", "running", "cancelling", "cancelled"]


def test_only_unfinished_jobs_can_be_cancelled_and_only_failed_or_cancelled_ones_retried(table):
    job = table.submit(SPEC, "cpu")[0].id
    with pytest.raises(WrongState, match="is queued"):
        table.retry(job)
    table.finish(table.claim(job, "a"), "failed", error={"type": "E", "detail": "d"})
    with pytest.raises(WrongState, match="already failed"):
        table.cancel(job)
    assert table.retry(job).state == "queued"
    assert table.get(job).error is None
    lease = table.claim(job, "a")
    assert lease.attempt == 2
    table.finish(lease, "succeeded")
    with pytest.raises(WrongState, match="is succeeded"):
        table.retry(job)
