"""Tests that requests answered ahead of the router get what the router would have answered."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands

from service.app import create_app
from service.http.direct import AnswerDirectly
from service.settings import Settings

PAST = moving_hands(30, hands=2)
CLIP = {"fps": 30, "past": PAST.tolist()}
JSON, MSGPACK = {"content-type": "application/json"}, {"content-type": "application/msgpack"}
PACKED = {"fps": 30, "past": PAST.astype("<f4").tobytes(), "shape": PAST.shape}


def body_of(**changed: object) -> bytes:
    return msgspec.json.encode({**CLIP, **changed})


CASES = {
    "json": ("POST", "/forecast/hands", body_of(), JSON),
    "msgpack": (
        "POST",
        "/forecast/hands",
        msgspec.msgpack.encode(PACKED),
        {**MSGPACK, "accept": "application/msgpack"},
    ),
    "many": ("POST", "/forecast/hands:batch", msgspec.json.encode({"items": [CLIP, {"fps": 30}]}), JSON),
    "another endpoint": ("POST", "/poses/lift", b"{}", JSON),
    "no body": ("POST", "/forecast/hands", b"", JSON),
    "malformed": ("POST", "/forecast/hands", b"{", JSON),
    "wrong media type": ("POST", "/forecast/hands", b"x", {"content-type": "text/plain"}),
    "wrong accept": ("POST", "/forecast/hands", body_of(), {**JSON, "accept": "text/plain"}),
    "wrong coding": ("POST", "/forecast/hands", body_of(), {**JSON, "content-encoding": "br"}),
    "unknown model": ("POST", "/forecast/hands", body_of(model="none"), JSON),
    "implausible": ("POST", "/forecast/hands", body_of(units="mm"), JSON),
    "query": ("POST", "/forecast/hands?fps=30", body_of(), JSON),
    "too large": ("POST", "/forecast/hands", b" " * 2_000_000, JSON),
    "get": ("GET", "/forecast/hands", b"", {}),
    "head": ("HEAD", "/forecast/hands", b"", {}),
    "delete": ("DELETE", "/forecast/hands", b"", {}),
    "options": ("OPTIONS", "/forecast/hands", b"", {}),
    "unknown path": ("POST", "/forecast/hand", body_of(), JSON),
    "slash": ("POST", "/forecast/hands/", body_of(), JSON),
}


class PassedOn:
    """An application without the way past the router."""

    def __init__(self, app, **_) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def routed(settings: Settings) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.app.AnswerDirectly", PassedOn)
        app = create_app(settings)
    assert not any(entry.cls is AnswerDirectly for entry in app.user_middleware)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("case", CASES)
def test_an_answer_ahead_of_the_router_is_that_of_the_router(client, routed, case: str):
    method, path, content, headers = CASES[case]
    one, other = (
        each.request(method, path, content=content, headers={**headers, "x-request-id": "a"})
        for each in (client, routed)
    )
    assert (one.status_code, one.headers, one.content) == (other.status_code, other.headers, other.content)


def test_a_good_and_a_bad_request_are_among_the_cases(client):
    statuses = {
        name: client.request(method, path, content=content, headers=headers).status_code
        for name, (method, path, content, headers) in CASES.items()
    }
    assert statuses["json"] == statuses["msgpack"] == statuses["many"] == 200
    assert {400, 404, 405, 406, 413, 415, 422} <= set(statuses.values())


def test_an_unexpected_error_is_a_500_on_both_ways(client, routed, monkeypatch):
    monkeypatch.setattr("service.tasks.pipeline.accepted", lambda *_: 1 / 0)
    answers = [each.post("/forecast/hands", content=b"", headers={"x-request-id": "a"}) for each in (client, routed)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].json() == answers[1].json()


def test_openapi_and_the_route_of_the_metrics_are_the_same(client, routed):
    assert client.get("/openapi.json").json() == routed.get("/openapi.json").json()
    for each in (client, routed):
        each.post("/forecast/hands", content=body_of(), headers=JSON)
        assert 'chiron_requests_total{method="POST",route="/forecast/hands",status="200"}' in each.get("/metrics").text


def test_a_path_under_a_prefix_is_answered_directly_too(bundles: Path, monkeypatch):
    answered: list[str] = []
    ahead = AnswerDirectly.__call__

    async def noted(self, scope, receive, send) -> None:
        await ahead(self, scope, receive, send)
        if scope["type"] == "http" and "router" not in scope:  # which the router adds
            answered.append(scope["route"].path)

    monkeypatch.setattr(AnswerDirectly, "__call__", noted)
    with TestClient(create_app(Settings(bundles=bundles, root_path="/chiron"))) as client:
        for path in ("/chiron/forecast/hands", "/forecast/hands"):
            answer = client.post(path, content=body_of(), headers=JSON)
            assert answer.status_code == 200
            assert np.isfinite(answer.json()["future"]).all()
    assert answered == ["/forecast/hands"] * 2
