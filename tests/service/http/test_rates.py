"""Tests of the limit on requests a minute: counts per caller, sharing through Redis, and the fallback without Redis."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.keys import add_key
from service.jobs.queue.broker import EmbeddedBroker
from service.settings import Settings

from ..exchange import problem_of, refusal_of


def client_of(bundles, tmp_path, **settings) -> TestClient:
    return TestClient(create_app(Settings(bundles=bundles, keys_file=tmp_path / "keys.json", **settings)))


def test_a_request_over_the_limit_is_refused_with_retry_after(bundles, tmp_path):
    with client_of(bundles, tmp_path, requests_per_minute=3) as client:
        answers = [client.get("/joints") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert "3 requests a minute" in problem_of(answers[3], "too-many-requests")["detail"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[0].headers["ratelimit-limit"] == "3"


def test_a_websocket_counts_as_a_request(bundles, tmp_path):
    with client_of(bundles, tmp_path, requests_per_minute=2) as client:
        refusal_of(client, "/nothing", "not-found")
        assert client.get("/joints").headers["ratelimit-remaining"] == "0"
        refusal_of(client, "/nothing", "too-many-requests")


def test_health_is_never_limited(bundles, tmp_path):
    with client_of(bundles, tmp_path, requests_per_minute=1) as client:
        assert [client.get("/healthz").status_code for _ in range(3)] == [200] * 3


def test_requests_are_not_counted_without_a_limit(bundles, tmp_path):
    with client_of(bundles, tmp_path) as client:
        assert "ratelimit-limit" not in client.get("/joints").headers


def test_each_key_has_its_own_count_and_limit(bundles, tmp_path):
    path = tmp_path / "keys.json"
    few, many = add_key(path, "few", ("infer",), per_minute=1), add_key(path, "many", ("infer",))
    with client_of(bundles, tmp_path, requests_per_minute=3) as client:
        codes = [
            client.get("/joints", headers={"x-api-key": key}).status_code for key in (few, many, few, many, many, many)
        ]
    assert codes == [200, 200, 429, 200, 200, 429]


def test_requests_with_a_wrong_key_are_not_counted(bundles, tmp_path):
    key = add_key(tmp_path / "keys.json", "one", ("infer",))
    with client_of(bundles, tmp_path, requests_per_minute=1) as client:
        for _ in range(5):
            problem_of(client.get("/joints", headers={"x-api-key": "wrong"}), "unauthorized")
        assert client.get("/joints", headers={"x-api-key": key}).status_code == 200


def test_two_processes_share_their_counts_through_redis(bundles, tmp_path):
    broker = EmbeddedBroker(Settings(state=tmp_path / "state"))
    broker.ensure_running()
    try:
        settings = {"requests_per_minute": 3, "redis_url": broker.url}
        with client_of(bundles, tmp_path, **settings) as first, client_of(bundles, tmp_path, **settings) as second:
            codes = [client.get("/joints").status_code for client in (first, second, first, second, first)]
    finally:
        broker.stop()
    assert codes == [200, 200, 200, 429, 429]


def test_requests_are_counted_locally_while_redis_is_unreachable(bundles, tmp_path, caplog):
    unreachable = "redis://127.0.0.1:1/0"  # nothing listens on this port
    with client_of(bundles, tmp_path, requests_per_minute=2, redis_url=unreachable) as client:
        codes = [client.get("/joints").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert "Redis does not answer" in caplog.text


@pytest.mark.parametrize("amount", [0, -1])
def test_a_limit_is_at_least_one(amount):
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Settings(requests_per_minute=amount)
