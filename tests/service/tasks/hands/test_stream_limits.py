"""Tests of the stream of hand forecasts: its problems, back-pressure, limits, keys and ends."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from models.contract.bundle import read_bundle
from service.app import create_app
from service.http.keys import add_key, revoke_key
from service.http.limits import MAX_MESSAGE_BYTES
from service.http.problems import KINDS, QueueFull
from service.http.server import Shutdown
from service.settings import Settings
from service.tasks.endpoint import Limits
from service.tasks.hands.stream import socket as stream_socket
from service.tasks.hands.stream.messages import read_settings
from service.tasks.hands.stream.session import Session
from service.tasks.hands.stream.socket import MOST_READ, MOST_UNREAD_BYTES, HandStreams, Stream
from service.telemetry.metrics import Metrics

from ...exchange import refusal_of
from .streams import AT, FPS, URL, answers, assert_same_hands, last_answer, numbered, opened


@pytest.fixture
def pair() -> np.ndarray:
    return moving_hands(34, hands=2)


def spoiled(message: dict[str, Any], value: float) -> dict[str, Any]:
    message["left"][3][1] = value
    return message


@pytest.mark.parametrize(
    ("change", "kind", "pointer"),
    [
        (lambda m: {**m, "left": m["left"][:20]}, "wrong-shape", "/left"),
        (lambda m: {**m, "left": [[0, 0, True]]}, "invalid-request", "/left/0/2"),
        (lambda m: {**m, "left": [None, *m["left"][1:]]}, "invalid-request", "/left/0"),
        (lambda m: {**m, "past": m["left"]}, "invalid-request", "/past"),
        (lambda m: spoiled(m, 1e9), "out-of-range", "/left/3/1"),
        (lambda m: {**m, "timestamp": 1.0}, "invalid-request", "/timestamp"),
        (lambda m: {**m, "number": -1}, "invalid-request", "/number"),
    ],
)
def test_a_bad_frame_is_a_problem_and_the_stream_goes_on(client, pair, change, kind, pointer):
    frames = numbered(pair)
    with opened(client) as stream:
        answers(stream, frames[:32])
        (problem,) = answers(stream, [change(numbered(pair)[32])])
        answer = answers(stream, frames[32:])[-1]
    assert (problem["kind"], problem["type"]) == ("problem", f"/problems/{kind}")
    assert problem["status"] == KINDS[kind].status
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert_same_hands(answer, last_answer(client, frames))


def test_points_that_no_hand_has_are_a_problem_until_they_are_right(client, pair):
    with opened(client) as stream:
        received = answers(stream, numbered(pair * 1000))
    assert received[-1]["type"] == "/problems/implausible"
    assert "mm" in received[-1]["detail"]


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ("{", "malformed-body"),
        ('{"at": [0.1]}', "invalid-request"),
        ('{"fps": 90, "at": [7]}', "invalid-request"),
        ('{"fps": 90, "hand": "left"}', "invalid-request"),
        ('{"fps": 90, "hands": ["right", "left"]}', "invalid-request"),
        ('{"fps": 500}', "invalid-request"),
        ('{"fps": 90, "joints": "feet"}', "unknown-joints"),
        ('{"fps": 90, "model": "nobody"}', "unknown-model"),
        ('{"fps": 90, "shape": [21, 3]}', "wrong-shape"),
        (b"\xc1", "malformed-body"),
        (" " * (MAX_MESSAGE_BYTES + 1), "body-too-large"),
    ],
)
def test_bad_settings_end_the_stream_with_a_problem(client, first, kind):
    with client.websocket_connect(URL) as stream:
        (stream.send_bytes if isinstance(first, bytes) else stream.send_text)(first)
        message = stream.receive()
        problem = json.loads(message["text"]) if "text" in message else msgspec.msgpack.decode(message["bytes"])
        closed = stream.receive()
    assert (problem["kind"], problem["type"]) == ("problem", f"/problems/{kind}")
    code = 1009 if kind == "body-too-large" else 1008
    assert (closed["type"], closed["code"]) == ("websocket.close", code)
    assert closed["reason"].startswith(kind)


class FakeSocket:
    """A connection whose client has sent messages, and whose answers are kept."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.scope: dict[str, Any] = {"type": "websocket"}
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.put(*messages)

    def put(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._received.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def receive(self) -> dict[str, Any]:
        return await self._received.get()

    async def emptied(self) -> None:
        """Wait until all messages were received."""
        while not self._received.empty():
            await asyncio.sleep(0)

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.put_nowait(message)

    async def answer(self) -> dict[str, Any]:
        return json.loads((await self.sent.get())["text"])


def streams_of(bundles: Path, **settings: Any) -> HandStreams:
    """Return the streams of one model, which computes nothing."""
    model = SimpleNamespace(bundle=read_bundle(bundles / "hands-thirty"), batcher=None)
    models: Any = SimpleNamespace(get=lambda *_: model)
    return HandStreams(models, Metrics(), Settings(**settings), Shutdown())


@pytest.mark.parametrize("count", [4, 2 * MOST_READ + 1])
def test_the_newest_frame_wins_while_a_forecast_is_computed_and_of_many_some_are_read(bundles, monkeypatch, count):
    pair = moving_hands(30 + count, hands=2)

    async def run() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        computing, gate = asyncio.Event(), asyncio.Event()

        async def slow(batcher: Any, items: Any, deadline: float) -> Any:
            computing.set()
            await gate.wait()
            return [{"future": np.zeros((1, 30, 42, 3), np.float32)} for _ in items]

        monkeypatch.setattr(stream_socket, "submit", slow)
        frames, socket, stopping = numbered(pair), FakeSocket({"fps": FPS, "at": AT}), asyncio.Event()
        task = asyncio.create_task(Stream(socket, streams_of(bundles)).run(stopping))  # pyright: ignore[reportArgumentType] - a fake
        await socket.answer()
        for message in frames[:29]:
            socket.put(message)
            await socket.answer()
        socket.put(frames[29])
        await computing.wait()
        socket.put(*frames[30:])
        await socket.emptied()
        gate.set()
        received = [await socket.answer(), await socket.answer()]
        stopping.set()
        await task
        return received, await socket.sent.get()

    received, closed = asyncio.run(run())
    assert [(answer["number"], answer["skipped"]) for answer in received] == [(29, 0), (29 + count, count - 1)]
    assert bool(received[1]["filled_frames"]) is (count > MOST_READ)
    assert (closed["type"], closed["code"]) == ("websocket.close", 1001)


def test_a_stream_goes_on_with_a_promoted_version_from_a_frame_on_and_says_so(bundles, monkeypatch):
    pair = moving_hands(33, hands=2)

    async def compute(batcher: Any, items: Any, deadline: float) -> Any:
        return [{"future": np.full((1, 30, 42, 3), batcher, np.float32)} for _ in items]

    async def run() -> list[dict[str, Any]]:
        streams = streams_of(bundles)
        models: Any = streams.models
        serving = models.get()
        versions = {
            number: SimpleNamespace(
                bundle=SimpleNamespace(meta=serving.bundle.meta.model_copy(update={"name": f"version-{number}"})),
                batcher=float(number),  # what `compute` answers
            )
            for number in ("1", "2")
        }
        current = ["1"]
        models.get = lambda *_: versions[current[0]]
        monkeypatch.setattr(stream_socket, "submit", compute)
        frames, socket, stopping = numbered(pair), FakeSocket({"fps": FPS, "at": AT}), asyncio.Event()
        task = asyncio.create_task(Stream(socket, streams).run(stopping))  # pyright: ignore[reportArgumentType] - a fake
        received = [await socket.answer()]
        for number, message in enumerate(frames):
            if number == 31:
                current[0] = "2"
            socket.put(message)
            received += [await socket.answer() for _ in range(2 if number == 31 else 1)]
        stopping.set()
        await task
        return received

    first, *waiting, before, before_too, ready, after, after_too = asyncio.run(run())
    assert [answer["kind"] for answer in waiting] == ["waiting"] * 29
    assert (first["model"]["name"], ready["model"]["name"]) == ("version-1", "version-2")
    assert [answer["kind"] for answer in (before, before_too, ready, after, after_too)] == (
        ["forecast", "forecast", "ready", "forecast", "forecast"]
    )
    assert (after["number"], after_too["number"]) == (31, 32)  # no frame is lost
    moved = np.subtract(after["left"], before_too["left"])
    np.testing.assert_allclose(moved.mean(), 1, atol=0.1)  # the new version's answers


@pytest.mark.parametrize("padding", [0, 60_000])
def test_unread_messages_take_a_bounded_memory_and_the_newest_are_kept(bundles, padding):
    async def run() -> tuple[int, list[str]]:
        messages = [{"number": number, "padding": "x" * padding} for number in range(1000)]
        session = Session(
            read_settings('{"fps": 30}'), read_bundle(bundles / "hands-thirty").meta, Limits(0, gap_s=0.25)
        )
        socket = FakeSocket(*messages)
        stream = Stream(socket, streams_of(bundles))  # pyright: ignore[reportArgumentType] - a fake
        keeping = asyncio.create_task(stream._keep_frames(session))
        await socket.emptied()
        keeping.cancel()
        return session.capacity, [str(message) for message, _ in stream._unread]

    capacity, unread = asyncio.run(run())
    most = min(capacity, MOST_UNREAD_BYTES // (padding + 30))
    assert 0.9 * most < len(unread) <= most
    assert json.loads(unread[-1])["number"] == 999


def test_a_silent_client_is_closed_with_a_reason(bundles):
    async def run() -> dict[str, Any]:
        socket = FakeSocket({"fps": FPS, "at": AT})
        await Stream(socket, streams_of(bundles, stream_idle_s=0.05)).run(asyncio.Event())  # pyright: ignore[reportArgumentType] - a fake
        await socket.answer()
        assert (await socket.answer())["type"] == "/problems/request-timeout"
        return await socket.sent.get()

    closed = asyncio.run(run())
    assert (closed["code"], closed["reason"].partition(":")[0]) == (1008, "request-timeout")


def test_a_full_service_is_a_problem_with_a_time_to_wait_and_the_stream_goes_on(client, pair, monkeypatch):
    async def full(*_: Any) -> Any:
        raise QueueFull("9 requests are waiting", 1.0)

    with opened(client) as stream:
        answers(stream, numbered(pair)[:29])
        with monkeypatch.context() as patched:
            patched.setattr(stream_socket, "submit", full)
            (problem,) = answers(stream, numbered(pair)[29:30])
        (answer,) = answers(stream, numbered(pair)[30:31])
    assert (problem["type"], problem["number"], problem["retry_after"] >= 1) == ("/problems/overloaded", 29, True)
    assert answer["kind"] == "forecast"


@pytest.fixture(scope="module")
def guarded(bundles, tmp_path_factory):
    """Return a client of a server under a prefix with room for one stream, its file of keys, and a key."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    secret = add_key(path, "tracker", ("infer",))
    settings = Settings(
        bundles=bundles, keys_file=path, max_streams=1, root_path="/chiron", default_model="hands-thirty"
    )
    with TestClient(create_app(settings)) as client:
        yield client, path, secret


def test_a_stream_needs_a_key_and_there_are_as_many_as_the_operator_allows(guarded):
    client, _, secret = guarded
    headers = {"authorization": f"Bearer {secret}"}
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(URL):
        pass
    assert refused.value.status_code == 401
    with client.websocket_connect(f"/chiron{URL}", headers=headers) as stream:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(URL, headers=headers):
            pass
        assert refused.value.status_code == 503
        assert "at most 1 streams" in refused.value.json()["detail"]
        stream.send_json({"fps": FPS})
        assert stream.receive_json()["kind"] == "ready"
        stream.send_json({"number": -1})
        assert stream.receive_json()["type"] == "/chiron/problems/invalid-request"
    with client.websocket_connect(URL, subprotocols=["chiron", f"chiron.key.{secret}"]) as stream:
        assert stream.accepted_subprotocol == "chiron"


def test_a_stream_is_closed_when_its_key_is_revoked(guarded, monkeypatch):
    monkeypatch.setattr("service.http.keys.RELOAD_S", -1.0)
    monkeypatch.setattr("service.http.security.RECHECK_S", -1.0)
    client, path, secret = guarded
    with client.websocket_connect(URL, headers={"x-api-key": secret}) as stream:
        stream.send_json({"fps": FPS})
        assert stream.receive_json()["kind"] == "ready"
        revoke_key(path, "tracker")
        stream.send_json({"number": 1})
        with pytest.raises(WebSocketDisconnect) as closed:
            stream.receive_json()
    assert (closed.value.code, "revoked" in closed.value.reason) == (1008, True)


def test_streams_are_closed_at_a_shutdown_and_no_more_are_opened(bundles):
    app = create_app(Settings(bundles=bundles))
    with TestClient(app) as client, client.websocket_connect(URL) as stream:
        stream.send_json({"fps": FPS})
        stream.receive_json()
        app.state.shutdown.begin()
        with pytest.raises(WebSocketDisconnect) as closed:
            stream.receive_json()
        assert closed.value.code == 1001
        refusal_of(client, URL, "not-ready")


def test_streams_and_their_frames_are_counted(client, pair):
    def samples() -> dict[str, float]:
        counted = defaultdict[str, float](
            float
        )  # a plain GET of the address counts as a request, too, with another status
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                if sample.labels.get("route") == URL and "le" not in sample.labels:
                    counted[f"{sample.name} {sample.labels.get('outcome', '')}".strip()] += sample.value
        return counted

    before = samples()
    with opened(client) as stream:
        answers(stream, [*numbered(pair)[:31], {"number": -1}])
        assert samples()["chiron_streams"] == before["chiron_streams"] + 1
        stream.send_json(numbered(pair)[0])
        answers(stream, numbered(pair)[31:32])
    after = samples()
    grown = {name: after[name] - before[name] for name in after}
    outcomes = {name.partition(" ")[2]: count for name, count in grown.items() if "frames_total" in name}
    assert outcomes == {"waiting": 29, "answered": 3, "late": 1, "refused": 1, "skipped": 0}
    assert grown["chiron_stream_seconds_count"] == 3
    assert grown["chiron_requests_total"] == 1
