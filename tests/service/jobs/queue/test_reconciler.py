"""Tests of the reconciler: it sends lost jobs again, costs nothing while jobs wait, and survives failing rounds."""

import json
import time
from dataclasses import replace

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from sqlalchemy import event, update

from models.contract.spec import TrainSpec
from service.jobs.database import writing
from service.jobs.delivery import Deliveries
from service.jobs.queue import celery_app, reconciler
from service.jobs.queue.broker import socket_of
from service.jobs.queue.reconciler import Reconciler
from service.jobs.records import Message
from service.jobs.schema import JOBS

SPEC = TrainSpec(run="r")


@pytest.fixture
def deliveries(table) -> Deliveries:
    return Deliveries(table._engine)


@pytest.fixture
def redis(settings, broker):
    broker.ensure_running()
    with Redis(unix_socket_path=str(socket_of(settings))) as redis:
        yield redis


def queued(redis: Redis) -> list[str]:
    """Return the ids of the jobs in the queue `cpu`, those that are delivered first in front."""
    messages = [json.loads(message) for message in reversed(redis.lrange("cpu", 0, -1))]
    return [message["headers"]["id"].partition(".")[0] for message in messages]


def send(table, sender, count: int, *, ago_s: float = 100.0) -> list[str]:
    """Submit and send jobs three seconds after another, the last of them `ago_s` ago; return their ids."""
    messages = [Message.of(table.submit(SPEC, "cpu")[0]) for _ in range(count)]
    for number, message in enumerate(messages):
        sent_at = message.sent_at - ago_s - 3 * (count - number)
        with writing(table._engine) as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == message.job).values(sent_at=sent_at))
        assert sender.send([replace(message, sent_at=sent_at)])
    return [message.job for message in messages]


def test_a_job_submitted_while_the_broker_is_down_is_sent_later(broker, table, deliveries, sender, monkeypatch):
    monkeypatch.setattr(celery_app, "PAUSE_FACTOR", 0)
    message = Message.of(table.submit(SPEC, "cpu")[0])
    assert not sender.send([message])
    assert sender.head_sent_at("cpu") is None
    deliveries.withdraw([message])
    rounds = Reconciler(table, deliveries, sender, resend_s=60)
    rounds.run_once()
    assert table.get(message.job).sent_at is None
    broker.ensure_running()
    rounds.run_once()
    assert table.get(message.job).sent_at == sender.head_sent_at("cpu") != message.sent_at


def test_the_broker_tells_when_the_job_at_the_head_of_a_queue_was_sent(redis, table, sender):
    assert sender.head_sent_at("cpu") == float("inf")
    jobs = send(table, sender, 2)
    assert sender.head_sent_at("cpu") == table.get(jobs[0]).sent_at
    redis.rpush("cpu", b"not a message", b"[]")
    assert sender.head_sent_at("cpu") == table.get(jobs[0]).sent_at
    redis.rpush("cpu", *[b"not a message"] * celery_app.LOOK)
    assert sender.head_sent_at("cpu") == 0, "expected nothing to be missing while the head is unknown"
    redis.flushall()
    redis.rpush("cpu", json.dumps({"headers": {"task": celery_app.TASK, "id": f"{jobs[0]}.1"}}))
    assert sender.head_sent_at("cpu") == 0, "expected nothing to be missing while the head is of an older version"


def test_only_jobs_that_the_broker_has_lost_are_resent(redis, table, deliveries, sender):
    jobs = send(table, sender, 4)
    table.cancel(jobs[3])
    Reconciler(table, deliveries, sender, resend_s=0).run_once()
    assert queued(redis) == jobs, "expected no lost or duplicate job"
    redis.rpop("cpu", 2)
    Reconciler(table, deliveries, sender, resend_s=0).run_once()
    assert queued(redis) == [*jobs[2:], *jobs[:2]], "expected the jobs whose messages are gone to be sent again"
    redis.flushall()
    redis.lpush("cpu", b"not a message")
    with writing(table._engine) as connection:
        connection.execute(update(JOBS).values(sent_at=JOBS.c.created_at - 100))
    Reconciler(table, deliveries, sender, resend_s=0).run_once()
    redis.rpop("cpu")
    assert sorted(queued(redis)) == sorted(jobs[:3]), "expected all but the cancelled job"


def test_a_job_is_missing_only_after_the_head_was_past_it_for_the_resend_time(
    redis, table, deliveries, sender, monkeypatch
):
    clock = [1000.0]
    monkeypatch.setattr(reconciler.time, "monotonic", lambda: clock[0])
    jobs = send(table, sender, 2)
    rounds = Reconciler(table, deliveries, sender, resend_s=30)
    popped = redis.rpop("cpu")
    for clock[0] in (1000.0, 1010.0, 1029.0):
        rounds.run_once()
        assert queued(redis) == jobs[1:], "expected a worker to have time to claim the job"
    redis.rpush("cpu", popped)  # an older state of the broker came back
    clock[0] = 1031.0
    rounds.run_once()
    redis.rpop("cpu")
    for clock[0] in (1035.0, 1060.0):
        rounds.run_once()
        assert queued(redis) == jobs[1:]
    clock[0] = 1066.0
    rounds.run_once()
    assert queued(redis) == [jobs[1], jobs[0]]


def test_a_round_asks_as_much_for_many_waiting_jobs_as_for_few(redis, table, deliveries, sender, monkeypatch):
    asked: list[str] = []
    looks: list[str] = []
    event.listen(table._engine, "before_cursor_execute", lambda _c, _u, text, *_: asked.append(text))
    head_sent_at = sender.head_sent_at
    monkeypatch.setattr(sender, "head_sent_at", lambda queue: (looks.append(queue), head_sent_at(queue))[1])
    rounds = Reconciler(table, deliveries, sender, resend_s=0)
    costs = []
    for count, ago_s in ((2, 1000.0), (30, 100.0)):
        send(table, sender, count, ago_s=ago_s)
        asked.clear()
        looks.clear()
        rounds.run_once()
        costs.append((len(asked), len(looks)))
    assert costs[0] == costs[1]
    assert costs[0][1] == 1


def test_many_jobs_are_sent_in_pages_within_few_transactions(redis, table, deliveries, sender, monkeypatch):
    monkeypatch.setattr(reconciler, "PAGE", 4)
    messages = [Message.of(table.submit(SPEC, "cpu")[0]) for _ in range(18)]
    deliveries.withdraw(messages)
    commits: list[int] = []
    event.listen(table._engine, "commit", lambda _: commits.append(1))
    rounds = Reconciler(table, deliveries, sender, resend_s=60)
    rounds.run_once()
    assert redis.llen("cpu") == 4 * reconciler.PAGES
    assert len(commits) < 18
    rounds.run_once()
    assert queued(redis) == [message.job for message in messages]


def test_a_failing_round_does_not_raise(redis, table, deliveries, sender, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(sender._app, "send_task", fail)
    message = Message.of(table.submit(SPEC, "cpu")[0])
    deliveries.withdraw([message])
    Reconciler(table, deliveries, sender, resend_s=0).run_once()
    assert table.get(message.job).sent_at is None, "expected a job that could not be sent to be sent later"
    monkeypatch.setattr(table, "expire", fail)
    Reconciler(table, deliveries, sender, resend_s=0).run_once()


def test_a_slowly_failing_broker_is_not_retried_at_once(table, sender, monkeypatch):
    attempts: list[int] = []

    def fail_slowly(*_: object, **__: object) -> None:
        attempts.append(1)
        time.sleep(0.01)
        raise OperationalError("no answer")

    monkeypatch.setattr(celery_app, "PAUSE_FACTOR", 1e6)
    monkeypatch.setattr(sender._app, "producer_or_acquire", fail_slowly)
    message = Message.of(table.submit(SPEC, "cpu")[0])
    assert [sender.send([message]) for _ in range(3)] == [False] * 3
    assert sender.head_sent_at("cpu") is None
    assert attempts == [1]
