"""Tests of leases: one worker runs a job at a time, a stale attempt is fenced off, and lost jobs are queued again."""

import contextlib
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from models.contract.spec import TrainSpec
from service.jobs.database import now, writing
from service.jobs.records import LostLease, WrongState
from service.jobs.schema import JOBS
from service.jobs.table import MAX_LOSSES, JobTable

SPEC = TrainSpec(run="hands-eqmotion", seeds=(3,))


def lose(engine, job: str) -> None:
    """Let the lease of a job expire, as for a dead or late worker."""
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(lease_until=now() - 1))


def test_a_job_is_leased_to_one_worker_until_the_lease_expires(table, engine):
    job = table.submit(SPEC, "cpu")[0].id
    first = table.claim(job, "a")
    assert first.attempt == 1
    assert table.claim(job, "b") is None
    lose(engine, job)
    second = table.claim(job, "b")
    assert second.attempt == 2
    assert table.get(job).losses == 1


def test_a_worker_reclaims_the_job_of_its_dead_child_before_the_lease_expires(table):
    job = table.submit(SPEC, "cpu")[0].id
    table.claim(job, "a")
    assert table.claim(job, "a").attempt == 2
    assert table.get(job).losses == 1


@pytest.mark.parametrize("reassigned", [True, False], ids=["another worker has it", "the lease has expired"])
def test_the_writes_of_a_stale_attempt_are_refused(table, engine, reassigned):
    job = table.submit(SPEC, "cpu")[0].id
    stale = table.claim(job, "a")
    lose(engine, job)
    if reassigned:
        table.claim(job, "b")
    before, events, published = table.get(job), table.events(job), []
    for write in (
        lambda: table.renew(stale),
        lambda: table.report(stale, ("log", {"text": "still here"})),
        lambda: table.release(stale),
        lambda: table.finish(stale, "succeeded", result={"bundle": "x"}, publish=lambda: published.append(1)),
        lambda: table.finish(stale, "failed", error={"type": "E"}),
    ):
        with pytest.raises(LostLease, match="attempt 1"):
            write()
    assert (table.get(job), table.events(job), published) == (before, events, [])


def test_a_job_does_not_end_if_its_publication_fails(table):
    job = table.submit(SPEC, "cpu")[0].id
    lease = table.claim(job, "a")

    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        table.finish(lease, "succeeded", result={}, publish=full)
    assert table.get(job).state == "running"
    table.finish(lease, "failed", error={"type": "OSError"})


def test_a_released_job_is_queued_without_counting_a_loss(table):
    job = table.submit(SPEC, "cpu")[0].id
    assert table.release(table.claim(job, "a")) == "queued"
    assert table.get(job).losses == 0
    lease = table.claim(job, "b")
    table.cancel(job)
    assert table.release(lease) == "cancelled"


def test_jobs_with_an_expired_lease_are_queued_or_cancelled(table, engine):
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(3)]
    for job in jobs:
        table.claim(job, "a")
    table.cancel(jobs[1])
    for job in jobs[:2]:
        lose(engine, job)
    assert sorted(table.expire()) == sorted(jobs[:2])
    assert [table.get(job).state for job in jobs] == ["queued", "cancelled", "running"]
    assert table.expire() == []


def test_a_job_that_loses_too_many_workers_fails_and_can_be_retried(table, engine):
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


def test_an_attempt_that_could_not_record_its_release_does_not_count_as_lost(engine):
    released: set[tuple[str, int]] = set()
    table = JobTable(engine, lease_s=60, released=lambda job, attempt: (job, attempt) in released)
    job = table.submit(SPEC, "cpu")[0].id
    for attempt in range(1, MAX_LOSSES + 2):
        table.claim(job, "a")
        released.add((job, attempt))
        lose(engine, job)
        assert table.expire() == [job]
        assert (table.get(job).state, table.get(job).losses) == ("queued", 0)
    table.claim(job, "a")
    lose(engine, job)
    table.expire()
    assert table.get(job).losses == 1, "expected an attempt without a note to count as lost"


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


def test_racing_workers_run_each_job_once_unless_it_is_cancelled(table, url):
    """Three processes receive the same 100 jobs while half of these are cancelled."""
    jobs = [table.submit(SPEC, "cpu")[0].id for _ in range(100)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, f"racer-{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    ids = "\n".join(jobs)
    with ThreadPoolExecutor(4) as pool:
        ran = [pool.submit(racer.communicate, ids) for racer in racers]
        cancelled = []
        for job in jobs[::2]:
            with contextlib.suppress(WrongState):  # the job has already run
                cancelled += [job] if table.cancel(job).state == "cancelled" else []
        outputs = [future.result()[0].split() for future in ran]
    assert all(racer.returncode == 0 for racer in racers)
    counts = Counter(job for output in outputs for job in output)
    final = {job.id: job for job in table.jobs(limit=200)}
    for job in jobs:
        assert final[job].state in ("succeeded", "cancelled"), (
            "expected a job that is cancelled while it runs to succeed"
        )
        assert counts[job] == (1 if final[job].state == "succeeded" else 0)
        assert final[job].attempt == counts[job]
    assert set(cancelled) == {job for job in jobs if final[job].state == "cancelled"}
    assert sum(counts.values()) + len(cancelled) == 100
