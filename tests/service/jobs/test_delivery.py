"""Tests of deliveries: which queued jobs are sent, in which order, and never by two processes at once."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from models.contract.spec import TrainSpec
from service.jobs.database import now, writing
from service.jobs.delivery import Deliveries
from service.jobs.records import Message
from service.jobs.schema import JOBS

SPEC = TrainSpec(run="hands-eqmotion")


@pytest.fixture
def deliveries(engine) -> Deliveries:
    return Deliveries(engine)


def age(engine, job: str, seconds: float) -> None:
    """Let a job have been sent so many seconds ago."""
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(sent_at=now() - seconds))


def test_submitted_and_retried_jobs_are_marked_as_sent_until_that_is_withdrawn(table, deliveries):
    job = table.submit(SPEC, "cpu")[0]
    assert deliveries.take("cpu", None, 9) == []
    deliveries.withdraw([Message.of(job)])
    (message,) = deliveries.take("cpu", None, 9)
    assert (message.job, message.queue) == (job.id, "cpu")
    assert message.sent_at == table.get(job.id).sent_at
    table.cancel(job.id)
    deliveries.withdraw([message])
    assert deliveries.take("cpu", math.inf, 9) == [], "expected a cancelled job not to be sent"
    assert table.retry(job.id).sent_at is not None


def test_jobs_are_taken_in_pages_the_oldest_first(table, deliveries, engine):
    jobs = [table.submit(SPEC, "cpu")[0] for _ in range(5)]
    deliveries.withdraw([Message.of(job) for job in jobs])
    pages = [[message.job for message in deliveries.take("cpu", None, 2)] for _ in range(4)]
    ids = [job.id for job in jobs]
    assert pages == [ids[:2], ids[2:4], ids[4:], []]
    for seconds, job in enumerate(ids, start=100):
        age(engine, job, seconds)
    time_now, _ = deliveries.waiting()
    assert [message.job for message in deliveries.take("cpu", time_now, 3)] == ids[:1:-1]


def test_only_jobs_sent_before_the_head_of_their_queue_are_missing(table, deliveries, engine):
    old, young = (table.submit(SPEC, "cpu")[0].id for _ in range(2))
    other = table.submit(SPEC, "gpu.2")[0].id
    age(engine, old, 100)
    age(engine, young, 50)
    age(engine, other, 100)
    time_now, queues = deliveries.waiting()
    assert queues == ["cpu", "gpu.2"]
    assert deliveries.take("cpu", time_now - 100, 9) == [], "expected the job at the head not to be missing"
    assert [message.job for message in deliveries.take("cpu", time_now - 50, 9)] == [old]
    assert deliveries.take("cpu", time_now - 50, 9) == [], "expected a job that was just sent not to be missing"
    table.claim(young, "w")
    assert deliveries.take("cpu", time_now, 9) == []


def test_a_released_job_and_one_with_a_lost_worker_are_sent_again(table, deliveries, engine):
    released, lost = (table.submit(SPEC, "cpu")[0].id for _ in range(2))
    lease = table.claim(released, "a")
    table.claim(lost, "b")
    table.release(lease)
    with writing(engine) as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == lost).values(lease_until=now() - 1))
    table.expire()
    assert {message.job for message in deliveries.take("cpu", None, 9)} == {released, lost}


def test_two_processes_never_take_the_same_job(table, deliveries):
    jobs = [table.submit(SPEC, "cpu")[0] for _ in range(60)]
    deliveries.withdraw([Message.of(job) for job in jobs])
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: deliveries.take("cpu", None, 7), range(40)))
    taken = [message.job for page in pages for message in page]
    assert sorted(taken) == sorted(job.id for job in jobs)
