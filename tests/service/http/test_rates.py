"""The limit on requests a minute: counted for each caller, shared over processes by Redis, and never in the way when Redis is away."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.keys import add_key
from service.jobs.queue.broker import EmbeddedBroker
from service.settings import Settings

from ..exchange import problem_of


def served(bundles, tmp_path, **settings) -> TestClient:
    return TestClient(create_app(Settings(bundles=bundles, keys_file=tmp_path / "keys.json", **settings)))


def test_one_more_than_the_limit_is_refused_and_told_when_to_come_again(bundles, tmp_path):
    with served(bundles, tmp_path, requests_per_minute=3) as client:
        answers = [client.get("/joints") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert "3 requests a minute" in problem_of(answers[3], "too-many-requests")["detail"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[0].headers["ratelimit-limit"] == "3"


def test_health_is_never_limited(bundles, tmp_path):
    with served(bundles, tmp_path, requests_per_minute=1) as client:
        assert [client.get("/healthz").status_code for _ in range(3)] == [200] * 3


def test_without_a_limit_nothing_is_counted(bundles, tmp_path):
    with served(bundles, tmp_path) as client:
        assert "ratelimit-limit" not in client.get("/joints").headers


def test_each_key_has_its_own_count_and_may_have_its_own_limit(bundles, tmp_path):
    path = tmp_path / "keys.json"
    few, many = add_key(path, "few", ("infer",), per_minute=1), add_key(path, "many", ("infer",))
    with served(bundles, tmp_path, requests_per_minute=3) as client:
        codes = [
            client.get("/joints", headers={"x-api-key": key}).status_code for key in (few, many, few, many, many, many)
        ]
    assert codes == [200, 200, 429, 200, 200, 429]


def test_a_wrong_key_does_not_use_up_anybody_s_requests(bundles, tmp_path):
    key = add_key(tmp_path / "keys.json", "one", ("infer",))
    with served(bundles, tmp_path, requests_per_minute=1) as client:
        for _ in range(5):
            problem_of(client.get("/joints", headers={"x-api-key": "wrong"}), "unauthorized")
        assert client.get("/joints", headers={"x-api-key": key}).status_code == 200


def test_two_processes_count_together_on_redis(bundles, tmp_path):
    broker = EmbeddedBroker(Settings(state=tmp_path / "state"))
    broker.ensure_running()
    try:
        settings = {"requests_per_minute": 3, "redis_url": broker.url}
        with served(bundles, tmp_path, **settings) as first, served(bundles, tmp_path, **settings) as second:
            codes = [client.get("/joints").status_code for client in (first, second, first, second, first)]
    finally:
        broker.stop()
    assert codes == [200, 200, 200, 429, 429]


def test_while_redis_is_away_requests_pass_and_are_counted_here(bundles, tmp_path, caplog):
    away = "redis://127.0.0.1:1/0"  # nothing listens on this port
    with served(bundles, tmp_path, requests_per_minute=2, redis_url=away) as client:
        codes = [client.get("/joints").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert "Redis does not answer" in caplog.text


@pytest.mark.parametrize("amount", [0, -1])
def test_a_limit_is_at_least_one(amount):
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Settings(requests_per_minute=amount)
