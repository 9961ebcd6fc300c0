"""The job table: states, keys, leases and fences, and that no race makes two of one."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, update

from models.contract.spec import BenchmarkSpec, EvaluateSpec, TrainSpec
from service.jobs.database import (
    StoreUnavailable,
    now,
    open_database,
    reading,
    writing,
)
from service.jobs.records import KeyReused, LostLease, UnknownJob, WrongState
from service.jobs.schema import JOBS, METADATA
from service.jobs.table import MAX_LOSSES, JobTable
from service.jobs.workers import WorkerTable, queue_of, queues_of

SPEC = TrainSpec(run="hands-eqmotion", seeds=(3,))


@pytest.fixture
def url(tmp_path):
    """SQLite; or an empty schema of a PostgreSQL, where CHIRON_TEST_DATABASE_URL names one that may be emptied."""
    if (given := os.environ.get("CHIRON_TEST_DATABASE_URL")) is None:
        return f"sqlite:///{tmp_path / 'deep' / 'jobs.db'}"
    engine = create_engine(given)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop schema public cascade")
        connection.exec_driver_sql("create schema public")
    engine.dispose()
    return given


@pytest.fixture
def engine(url):
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def table(engine) -> JobTable:
    return JobTable(engine, lease_s=60)


def lose(engine, job: str) -> None:
    """The lease of a job has run out: its worker is gone, or is late."""
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(lease_until=now() - 1))


def states(table: JobTable, job: str) -> list[str]:
    return [event.data["state"] for event in table.events(job) if event.kind == "state"]


# --- the database ---


def test_the_tables_are_those_that_the_migrations_make(engine):
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_table_that_no_migration_makes_would_be_seen(engine):
    with writing(engine) as connection:
        connection.exec_driver_sql("drop table workers")
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA)


def test_a_database_that_is_opened_again_keeps_what_it_has(url, table):
    job, _ = table.submit(SPEC, "cpu")
    again = open_database(url)
    assert JobTable(again, lease_s=1).get(job.id) == job
    again.dispose()


def test_many_may_open_a_new_database_at_a_time(url):
    with ThreadPoolExecutor(6) as pool:
        for engine in list(pool.map(lambda _: open_database(url), range(6))):
            engine.dispose()


def test_the_clock_is_the_time(engine):
    with reading(engine) as connection:
        assert abs(connection.execute(now().select()).scalar_one() - time.time()) < 5


def test_a_database_that_fails_says_so(tmp_path):
    (tmp_path / "no.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        open_database(f"sqlite:///{tmp_path / 'no.db'}")


# --- what callers ask for ---


def test_a_job_is_kept_as_it_was_asked_for(table):
    job, new = table.submit(SPEC, "cpu")
    assert new
    assert (job.state, job.attempt, job.queue, job.kind) == ("queued", 0, "cpu", "train")
    assert TrainSpec.model_validate(job.spec) == SPEC
    assert table.get(job.id) == job
    assert states(table, job.id) == ["queued"]


def test_a_key_gives_the_same_job_again_and_refuses_another_spec(table):
    job, _ = table.submit(SPEC, "cpu", "key")
    again, new = table.submit(SPEC, "cpu", "key")
    assert (again.id, new) == (job.id, False)
    with pytest.raises(KeyReused, match=job.id):
        table.submit(TrainSpec(run="other"), "cpu", "key")
    assert table.submit(SPEC, "cpu", "other key")[1]
    assert len(table.jobs()) == 2


def test_one_key_sent_by_many_at_a_time_makes_one_job(table):
    together = threading.Barrier(8)

    def submit(_: int) -> tuple[str, bool]:
        together.wait()
        job, new = table.submit(SPEC, "cpu", "key")
        return job.id, new

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    assert len({job for job, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1


def test_jobs_are_listed_newest_first_by_pages_and_by_what_they_are(table):
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(5)]
    bench = table.submit(BenchmarkSpec(table="hands"), "cpu")[0].id
    table.cancel(jobs[1])
    found, after = [], None
    while page := table.jobs(limit=2, after=after):
        assert len(page) <= 2
        found += [job.id for job in page]
        after = found[-1]
    assert sorted(found) == sorted([*jobs, bench])
    assert found[0] == bench
    assert [job.id for job in table.jobs(state="cancelled")] == [jobs[1]]
    assert [job.id for job in table.jobs(kind="benchmark")] == [bench]
    for ask in (lambda: table.jobs(after="none"), lambda: table.get("none"), lambda: table.cancel("none")):
        with pytest.raises(UnknownJob, match="no job 'none'"):
            ask()


def test_what_happened_is_told_from_any_number_on(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")
    assert lease
    table.renew(lease, progress={"step": 1})
    table.renew(lease, metrics={"loss": 2.0})
    table.log(lease, "hello")
    table.finish(lease, "succeeded", result={"bundle": "x"})
    events = table.events(job)
    assert [event.number for event in events] == list(range(1, 7))
    assert [event.kind for event in events] == ["state", "state", "progress", "metrics", "log", "state"]
    assert table.events(job, after=4) == events[4:]
    assert table.get(job).progress == {"step": 1}
    assert table.get(job).metrics == {"loss": 2.0}
    assert table.get(job).result == {"bundle": "x"}


def test_a_job_that_waits_is_cancelled_at_once_and_never_run(table):
    job = table.submit(SPEC, "cpu")[0].id
    assert table.cancel(job).state == "cancelled"
    assert table.claim(job, "a") is None
    assert table.cancel(job).state == "cancelled"


def test_a_job_that_runs_is_told_to_stop(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")
    assert table.cancel(job).state == "cancelling"
    assert table.cancel(job).state == "cancelling"
    assert table.renew(lease) == "cancelling"
    table.finish(lease, "cancelled")
    assert states(table, job) == ["queued", "running", "cancelling", "cancelled"]


def test_a_job_that_is_over_is_not_cancelled_and_only_one_that_failed_or_was_cancelled_is_retried(table):
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


# --- leases ---


def test_a_job_is_leased_to_one_and_again_when_that_one_is_lost(table, engine):
    job = table.submit(SPEC, "cpu")[0].id
    first = table.claim(job, "a")
    assert first.attempt == 1
    assert table.claim(job, "b") is None
    lose(engine, job)
    second = table.claim(job, "b")
    assert second.attempt == 2
    assert table.get(job).losses == 1


def test_a_worker_whose_child_died_takes_its_own_job_up_without_waiting(table):
    job = table.submit(SPEC, "cpu")[0].id
    table.claim(job, "a")
    assert table.claim(job, "a").attempt == 2
    assert table.get(job).losses == 1


@pytest.mark.parametrize("taken", [True, False], ids=["another has it", "the lease has run out"])
def test_a_stale_attempt_can_change_nothing_and_publish_nothing(table, engine, taken):
    job = table.submit(SPEC, "cpu")[0].id
    stale = table.claim(job, "a")
    lose(engine, job)
    if taken:
        table.claim(job, "b")
    before, events, published = table.get(job), table.events(job), []
    for write in (
        lambda: table.renew(stale, progress={"step": 9}),
        lambda: table.log(stale, "still here"),
        lambda: table.release(stale),
        lambda: table.finish(stale, "succeeded", result={"bundle": "x"}, publish=lambda: published.append(1)),
        lambda: table.finish(stale, "failed", error={"type": "E"}),
    ):
        with pytest.raises(LostLease, match="attempt 1"):
            write()
    assert (table.get(job), table.events(job), published) == (before, events, [])


def test_a_job_that_cannot_be_published_has_not_ended(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")

    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        table.finish(lease, "succeeded", result={}, publish=full)
    assert table.get(job).state == "running"
    table.finish(lease, "failed", error={"type": "OSError"})


def test_what_is_given_back_waits_again_without_counting_as_lost(table):
    job = table.submit(SPEC, "cpu")[0].id
    assert table.release(table.claim(job, "a")) == "queued"
    assert table.get(job).losses == 0
    lease = table.claim(job, "b")
    table.cancel(job)
    assert table.release(lease) == "cancelled"


# --- the reconciler ---


def test_jobs_of_lost_workers_are_queued_again_or_ended(table, engine):
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(3)]
    for job in jobs:
        table.claim(job, "a")
    table.cancel(jobs[1])
    for job in jobs[:2]:
        lose(engine, job)
    assert sorted(table.expire()) == sorted(jobs[:2])
    assert [table.get(job).state for job in jobs] == ["queued", "cancelled", "running"]
    assert table.expire() == []


def test_a_job_that_outlives_too_many_workers_fails_and_may_be_retried(table, engine):
    job = table.submit(SPEC, "cpu")[0].id
    for _ in range(MAX_LOSSES):
        assert table.get(job).state == "queued"
        table.claim(job, "a")
        lose(engine, job)
        table.expire()
    failed = table.get(job)
    assert failed.state == "failed"
    assert "3 workers were lost" in failed.error["detail"]
    assert table.claim(job, "b") is None
    assert table.retry(job).losses == 0
    assert table.claim(job, "b").attempt == MAX_LOSSES + 1


def test_what_the_broker_was_not_told_or_was_told_long_ago_is_known(table, monkeypatch):
    table.submit(SPEC, "cpu")
    assert table.unsent(older_s=60) == [], "who made it is about to send it"
    monkeypatch.setattr("service.jobs.table.SUBMIT_GRACE_S", -1)
    table.cancel(table.jobs()[0].id)
    one, two = (table.submit(SPEC, "cpu")[0].id for _ in range(2))
    table.mark_sent(one)
    assert [job.id for job in table.unsent(older_s=60)] == [two]
    assert [job.id for job in table.unsent(older_s=-1)] == [one, two]
    table.claim(two, "a")
    assert [job.id for job in table.unsent(older_s=60)] == []
    table.release(table.claim(one, "a"))
    assert [job.id for job in table.unsent(older_s=60)] == [one], "what was given back has to be sent again"


RACER = """
import sys
from service.jobs.database import open_database
from service.jobs.table import JobTable
url, name = sys.argv[1:]
table = JobTable(open_database(url), lease_s=60)
for line in sys.stdin:
    lease = table.claim(line.strip(), name)
    if lease:
        table.finish(lease, "succeeded", result={"by": name})
        print(lease.job)
"""


def test_of_workers_that_race_for_many_jobs_one_runs_each_and_none_a_cancelled_one(table, url):
    """Three processes are told of every one of 100 jobs, half of which are cancelled meanwhile."""
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(100)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, f"racer-{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    said = "\n".join(jobs)
    with ThreadPoolExecutor(4) as pool:
        ran = [pool.submit(racer.communicate, said) for racer in racers]
        cancelled = []
        for job in jobs[::2]:
            with contextlib.suppress(WrongState):  # it had been run already
                cancelled += [job] if table.cancel(job).state == "cancelled" else []
        outputs = [done.result()[0].split() for done in ran]
    assert all(racer.returncode == 0 for racer in racers)
    counts = Counter(job for output in outputs for job in output)
    final = {job.id: job for job in table.jobs(limit=200)}
    for job in jobs:
        assert final[job].state in ("succeeded", "cancelled"), "cancelling, a claim ends as succeeded here"
        assert counts[job] == (1 if final[job].state == "succeeded" else 0)
        assert final[job].attempt == counts[job]
    assert set(cancelled) == {job for job in jobs if final[job].state == "cancelled"}
    assert sum(counts.values()) + len(cancelled) == 100


# --- workers ---


def test_workers_are_known_while_they_are_seen_and_by_what_they_run(table, engine):
    workers = WorkerTable(engine, lease_s=60)
    workers.register("a", ("cpu",), "cpu")
    workers.register("b", ("gpu", "cpu"), "cuda")
    WorkerTable(engine, lease_s=-1).register("late", ("cpu",), "cpu")
    job = table.submit(SPEC, "cpu")[0].id
    table.claim(job, "a")
    assert [(w.name, w.queues, w.job, w.stopping) for w in workers.workers()] == [
        ("a", ("cpu",), job, False),
        ("b", ("gpu", "cpu"), None, False),
    ]
    workers.request_stop("a")
    workers.register("a", ("cpu",), "cpu")
    assert workers.stop_requested("a")
    assert not workers.stop_requested("b")
    workers.unregister("b")
    assert [w.name for w in workers.workers()] == ["a"]


@pytest.mark.parametrize(
    ("device", "devices", "there", "wanted"),
    [
        ("auto", 1, {}, "cpu"), ("auto", 1, {"cpu": 1}, "cpu"), ("auto", 1, {"cpu": 1, "gpu": 1}, "gpu"),
        ("cpu", 1, {"gpu": 1}, "cpu"), ("cuda", 1, {"cpu": 1}, "gpu"),
        ("auto", 2, {"gpu": 1}, "cpu.2"), ("auto", 2, {"cpu": 4, "gpu": 3}, "gpu.2"), ("auto", 1, {"gpu": 3}, "gpu"),
        ("cuda", 4, {"gpu": 3}, "gpu.4"), ("cpu", 2, {"gpu": 8}, "cpu.2"),
    ],
)  # fmt: skip
def test_a_job_goes_where_its_devices_are(engine, device, devices, there, wanted):
    workers = WorkerTable(engine, lease_s=60)
    for kind, number in there.items():
        workers.register(kind, queues_of(kind, number), kind)
    assert queue_of(TrainSpec(run="a", device=device, devices=devices), workers.workers()) == wanted


def test_a_table_and_a_measurement_want_one_device(engine):
    assert [queue_of(spec, []) for spec in (BenchmarkSpec(table="a"), EvaluateSpec(run="a"))] == ["cpu", "cpu"]
