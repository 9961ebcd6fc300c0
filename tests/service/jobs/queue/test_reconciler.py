"""Tests of the reconciler: it resends lost jobs and survives failing rounds."""

import time

from kombu.exceptions import OperationalError
from redis import Redis
from sqlalchemy import update

from models.contract.spec import TrainSpec
from service.jobs.database import now, writing
from service.jobs.queue import celery_app
from service.jobs.queue.broker import socket_of
from service.jobs.queue.reconciler import Reconciler
from service.jobs.schema import JOBS

SPEC = TrainSpec(run="r")


def test_a_job_submitted_while_the_broker_is_down_is_sent_later(settings, broker, table, sender, monkeypatch):
    monkeypatch.setattr("service.jobs.table.SUBMIT_GRACE_S", -1)
    monkeypatch.setattr(celery_app, "PAUSE_FACTOR", 0)
    job, _ = table.submit(SPEC, "cpu")
    assert not sender.send(job)
    assert sender.queued("cpu") is None
    reconciler = Reconciler(table, sender, resend_s=60)
    reconciler.run_once()
    assert table.get(job.id).sent_at is None
    broker.ensure_running()
    reconciler.run_once()
    assert table.get(job.id).sent_at is not None
    assert sender.queued("cpu") == {job.id}


def test_only_jobs_that_the_broker_has_lost_are_resent(settings, broker, table, sender):
    broker.ensure_running()
    jobs = [table.submit(SPEC, "cpu")[0] for _ in range(3)]
    for job in jobs:
        assert sender.send(job)
        table.mark_sent(job.id)
    table.cancel(jobs[2].id)
    reconciler = Reconciler(table, sender, resend_s=-1)
    reconciler.run_once()
    with Redis(unix_socket_path=str(socket_of(settings))) as redis:
        assert redis.llen("cpu") == 3, "expected no lost or duplicate job"
        redis.flushall()
        redis.lpush("cpu", b"not a message")
        reconciler.run_once()
        assert redis.llen("cpu") == 3
    assert sender.queued("cpu") == {jobs[0].id, jobs[1].id, ""}, "expected the cancelled job not to be resent"


def test_a_failing_round_does_not_raise(table, sender, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(sender._app, "send_task", fail)
    monkeypatch.setattr("service.jobs.table.SUBMIT_GRACE_S", -1)
    table.submit(SPEC, "cpu")
    Reconciler(table, sender, resend_s=0).run_once()
    monkeypatch.setattr(table, "expire", fail)
    Reconciler(table, sender, resend_s=0).run_once()


def test_a_slowly_failing_broker_is_not_retried_at_once(table, sender, monkeypatch):
    attempts: list[int] = []

    def fail_slowly(*_: object, **__: object) -> None:
        attempts.append(1)
        time.sleep(0.01)
        raise OperationalError("no answer")

    monkeypatch.setattr(celery_app, "PAUSE_FACTOR", 1e6)
    monkeypatch.setattr(sender._app, "send_task", fail_slowly)
    job, _ = table.submit(SPEC, "cpu")
    assert [sender.send(job) for _ in range(3)] == [False] * 3
    assert attempts == [1]


def test_the_queue_is_not_read_again_for_jobs_that_are_in_it(broker, table, sender, monkeypatch):
    broker.ensure_running()
    for _ in range(3):
        job, _ = table.submit(SPEC, "cpu")
        assert sender.send(job)
        table.mark_sent(job.id)
    reads: list[str] = []
    queued = sender.queued
    monkeypatch.setattr(sender, "queued", lambda queue: (reads.append(queue), queued(queue))[1])
    with writing(table._engine) as connection:
        connection.execute(update(JOBS).values(sent_at=now() - 100))
    for _ in range(5):
        Reconciler(table, sender, resend_s=60).run_once()
    assert reads == ["cpu"]


def test_a_long_queue_is_read_in_pages(settings, broker, sender, table, monkeypatch):
    monkeypatch.setattr(celery_app, "PAGE", 2)
    broker.ensure_running()
    jobs = [table.submit(SPEC, "cpu")[0] for _ in range(5)]
    assert all(sender.send(job) for job in jobs)
    assert sender.queued("cpu") == {job.id for job in jobs}
