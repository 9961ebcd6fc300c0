"""Tests of the request pipeline under load: memory limits, stalled bodies, large bodies, and timeouts."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from waiting import PATIENCE_S

from service.app import create_app
from service.http.problems import QueueFull
from service.inference.batcher import Batcher
from service.settings import Settings
from service.tasks import walk
from service.tasks.endpoint import DECODE_ON_LOOP
from service.tasks.memory import ARRIVING, SHORT

from ..exchange import CLOUD, FACE_URL, NPY, npy, problem_of
from ..exchange import HANDS_URL as URL

BODY = json.dumps({"fps": 30, "past": moving_hands(40, hands=1).tolist(), "model": "hands-thirty"}).encode()
COST = ARRIVING * len(BODY) + SHORT
LARGE = BODY + b" " * DECODE_ON_LOOP
Post = Callable[..., Coroutine[Any, Any, tuple[int, dict[str, str], Any]]]


async def chunks(*parts: bytes | asyncio.Event) -> AsyncIterator[bytes]:
    """Yield the parts of a body, and wait at each event."""
    for part in parts:
        if isinstance(part, asyncio.Event):
            await part.wait()
        else:
            yield part


def serve(bundles: Path, act: Callable[[Post], Awaitable[None]], **settings: Any) -> None:
    """Run the application while `act` runs; `act` gets a function that posts a body in chunks."""
    app = create_app(Settings(bundles=bundles, **settings))

    async def post(body: AsyncIterator[bytes], **headers: str) -> tuple[int, dict[str, str], Any]:
        answer: dict[str, Any] = {"body": b""}

        async def receive() -> dict[str, Any]:
            chunk = await anext(body, None)
            return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.update(status=message["status"], headers={k.decode(): v.decode() for k, v in message["headers"]})
            else:
                answer["body"] += message.get("body", b"")

        fields = {"host": "localhost", "content-type": "application/json", **headers}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": URL,
            "raw_path": URL.encode(), "query_string": b"", "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1),
            "server": ("localhost", 80), "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }  # fmt: skip
        await app(scope, receive, send)
        return answer["status"], answer["headers"], orjson.loads(answer["body"])

    async def run() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
            await act(post)

    asyncio.run(run())


async def stalled(body: bytes, begun: asyncio.Event, rest: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield a body but for its last ten bytes, set `begun`, and yield these once `rest` is set."""
    yield body[:-10]
    begun.set()
    await rest.wait()
    yield body[-10:]


def test_a_request_over_the_memory_limit_is_refused_while_others_are_answered(bundles):
    async def act(post: Post) -> None:
        begun, rest = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(post(stalled(BODY, begun, rest)))
        await begun.wait()
        for announced in ({}, {"content-length": str(len(BODY))}):
            status, headers, problem = await post(chunks(BODY), **announced)
            assert (status, problem["type"]) == (503, "/problems/overloaded")
            assert int(headers["retry-after"]) >= 1
        assert not first.done()
        rest.set()
        assert (await first)[0] == 200
        assert (await post(chunks(BODY)))[0] == 200

    serve(bundles, act, max_memory_bytes=int(1.01 * COST))


def test_a_request_larger_than_all_memory_is_too_large(bundles):
    async def act(post: Post) -> None:
        status, _, problem = await post(chunks(BODY), **{"content-length": str(len(BODY))})
        assert (status, problem["type"]) == (413, "/problems/body-too-large")

    serve(bundles, act, max_memory_bytes=COST - ARRIVING)


def test_a_client_at_its_limit_of_requests_in_flight_gets_429(bundles):
    async def act(post: Post) -> None:
        rest = asyncio.Event()
        first = asyncio.create_task(post(chunks(BODY[:-10], rest, BODY[-10:])))
        await asyncio.sleep(0)
        status, headers, problem = await post(chunks(BODY))
        assert (status, problem["type"]) == (429, "/problems/too-many-requests")
        assert headers["ratelimit-limit"] == "1"
        rest.set()
        assert (await first)[0] == 200
        assert (await post(chunks(BODY)))[0] == 200

    serve(bundles, act, max_requests_in_flight=1)


def test_a_request_is_refused_before_its_body_is_read_while_every_model_is_full(bundles, monkeypatch):
    def refuse(*_: object) -> None:
        raise QueueFull("9 requests are waiting, for about 12.0 s", 12.0)

    async def act(post: Post) -> None:
        monkeypatch.setattr(Batcher, "admit", refuse)
        status, headers, problem = await post(chunks(asyncio.Event()))  # it never comes
        assert (status, problem["type"]) == (503, "/problems/overloaded")
        assert int(headers["retry-after"]) >= 1

    serve(bundles, act)


def test_a_stalled_body_is_answered_with_408_and_its_memory_is_released(bundles):
    async def act(post: Post) -> None:
        status, headers, problem = await post(chunks(BODY[:-10], asyncio.Event()))
        assert (status, problem["type"]) == (408, "/problems/request-timeout")
        assert headers["connection"] == "close"
        assert f"got {len(BODY) - 10} bytes" in problem["detail"]
        assert (await post(chunks(BODY)))[0] == 200

    serve(bundles, act, body_pause_s=0.2, max_memory_bytes=COST)


def test_an_endless_body_is_answered_with_408(bundles):
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.001)

    async def act(post: Post) -> None:
        assert (await post(trickle()))[0] == 408

    serve(bundles, act, body_pause_s=PATIENCE_S, body_s=0.2)


@pytest.fixture(scope="module")
def processes(bundles) -> Iterator[TestClient]:
    """Return a client of an application that handles large bodies in a process, and small ones as `client` does."""
    with TestClient(create_app(Settings(bundles=bundles, decoders=1)), raise_server_exceptions=False) as client:
        yield client


def test_a_large_body_gets_the_same_answer_from_another_process(processes, monkeypatch):
    headers = {"content-type": "application/json"}
    answer = processes.post(URL, content=BODY, headers=headers).json()
    scan, form = npy(CLOUD), {"content-type": NPY}
    monkeypatch.setattr(walk.Walk, "begin", None)  # in this process
    response = processes.post(URL, content=LARGE, headers=headers)
    assert response.status_code == 200, response.text
    assert response.json() == answer
    assert processes.post(FACE_URL, content=scan, headers=form).status_code == 200


def test_a_large_body_gets_the_same_answer_from_a_thread(client):
    headers = {"content-type": "application/json"}
    answers = [client.post(URL, content=content, headers=headers) for content in (BODY, LARGE)]
    assert answers[0].json() == answers[1].json()


def test_an_abandoned_request_is_forgotten_by_its_process(bundles, monkeypatch):
    kept = len(walk._walks)

    async def act(post: Post) -> None:
        begun = asyncio.Event()

        async def never(*_: object, **__: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Batcher, "submit", never)
        request = asyncio.create_task(post(chunks(LARGE)))
        await begun.wait()
        assert len(walk._walks) == kept + 1
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        monkeypatch.undo()
        assert (await post(chunks(LARGE)))[0] == 200  # in the same thread, after the abandoned one

    serve(bundles, act, decoders=0, slots=1)
    assert len(walk._walks) == kept


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        (LARGE.replace(b'"fps"', b'"rate"'), "invalid-request"),
        (LARGE.replace(b"hands-thirty", b"gpt"), "unknown-model"),
        (LARGE.replace(b'"fps": 30', b'"fps": 90'), "too-few-frames"),
    ],
)
def test_a_large_and_a_small_body_get_the_same_problem(processes, changed, kind):
    headers = {"content-type": "application/json"}
    large = problem_of(processes.post(URL, content=changed, headers=headers), kind)
    small = problem_of(processes.post(URL, content=changed.rstrip(), headers=headers), kind)
    assert large["detail"] == small["detail"]
    assert large["errors"] == small["errors"]


PACKED = gzip.compress(BODY)
BOMB = gzip.compress(b" " * (16 << 20))


@pytest.mark.parametrize("headers", [{"content-encoding": "gzip"}, {"content-encoding": "X-GZIP"}, {}], ids=str)
@pytest.mark.parametrize("url", [URL, "/poses/lift"])
def test_a_gzip_body_gets_the_answer_of_its_content(client, url: str, headers: dict[str, str]):
    body = BODY if url == URL else client.get("/models/lift-means/example").content
    sent = {"content-type": "application/json"}
    answer = client.post(url, content=body, headers=sent)
    assert answer.status_code == 200
    assert client.post(url, content=gzip.compress(body), headers=sent | headers).json() == answer.json()


def test_gzip_that_arrives_in_small_parts_is_inflated_as_it_arrives(bundles):
    async def act(post: Post) -> None:
        parts = [PACKED[at : at + 100] for at in range(0, len(PACKED), 100)]
        assert (await post(chunks(*parts), **{"content-encoding": "gzip"}))[0] == 200

    serve(bundles, act)


@pytest.mark.parametrize(
    ("body", "coding", "kind", "says"),
    [
        (BODY, "gzip", "malformed-body", "cannot be inflated"),
        (PACKED[:-9], "gzip", "malformed-body", "cut short"),
        (PACKED[:-9], "identity", "malformed-body", "cut short"),
        (BODY, "br", "unsupported-media-type", "expected gzip or identity, got 'br'"),
        (PACKED, "gzip, gzip", "unsupported-media-type", "expected gzip or identity"),
        (BOMB, "gzip", "body-too-large", "once inflated"),
    ],
)
def test_a_wrong_coding_is_refused_by_name(client, body: bytes, coding: str, kind: str, says: str):
    headers = {"content-type": "application/json", "content-encoding": coding}
    response = client.post(URL, content=body, headers=headers)
    assert says in problem_of(response, kind)["detail"]
    if kind == "unsupported-media-type":
        assert response.headers["accept-encoding"] == "gzip, identity"


def test_the_memory_of_a_gzip_request_is_the_size_of_its_content(bundles):
    async def act(post: Post) -> None:
        begun, rest = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(post(stalled(PACKED, begun, rest), **{"content-encoding": "gzip"}))
        await begun.wait()
        status, _, problem = await post(chunks(PACKED), **{"content-encoding": "gzip"})
        assert (status, problem["type"]) == (503, "/problems/overloaded")
        rest.set()
        assert (await first)[0] == 200

    serve(bundles, act, max_memory_bytes=int(1.01 * COST))
