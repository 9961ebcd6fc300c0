"""Tests of `chiron serve` as a subprocess: requests over a socket, broken clients, and graceful shutdown."""

import http.client
import json
import math
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2
import numpy as np
import pytest
import schemathesis
from hand_motion import moving_hands
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import positive_data_acceptance
from typer.testing import CliRunner
from waiting import PATIENCE_S, get, post, until
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.client import connect

from models.motion.hands import resample
from models.skeletons.skeleton import LEFT_RIGHT
from service.cli import app
from service.http.limits import MAX_MESSAGE_BYTES
from training.tasks.hands.npz import read_hands

from .conftest import MAX_BODY
from .exchange import HANDS_URL as URL
from .exchange import NPY, npy, problem_of
from .tasks.hands.test_errors import JSON_ERRORS

pytestmark = pytest.mark.long(25)

BODY = {"fps": 30, "past": moving_hands(30, hands=2).tolist()}


@dataclass
class Running:
    process: subprocess.Popen
    url: str
    port: int
    log: IO[str]  # a file: a full pipe would block the server


STARTED: list[Running] = []


@pytest.fixture(autouse=True)
def no_server_outlives_a_test() -> Iterator[None]:
    """Kill the servers that a failed test left running."""
    before = len(STARTED)
    yield
    for running in STARTED[before:]:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        running.log.close()
    del STARTED[before:]


def start(bundles, **environment: str) -> Running:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - owned by the returned value
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(bundles)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=log,
    )
    running = Running(process, f"http://127.0.0.1:{port}", port, log)
    STARTED.append(running)

    def ready() -> bool | None:
        if process.poll() is not None:
            raise AssertionError(f"expected the server to become ready, got {log_of(running)}")
        try:
            return True if get(f"{running.url}/readyz").status_code == 200 else None
        except httpx2.ConnectError:
            return None

    until("a ready server", ready)
    return running


def stop(running: Running) -> str:
    """Send SIGTERM; return the log of the ended process."""
    running.process.send_signal(signal.SIGTERM)
    return log_of(running)


def log_of(running: Running) -> str:
    """Wait until the process has ended; return its log."""
    running.process.wait(PATIENCE_S)
    with running.log as log:
        log.seek(0)
        return log.read()


@pytest.fixture(scope="module")
def server(bundles) -> Iterator[Running]:
    running = start(bundles, CHIRON_MAX_BODY_BYTES=str(MAX_BODY), CHIRON_DEFAULT_MODEL="hands-thirty")
    yield running
    log = stop(running)
    assert running.process.returncode == 0
    for line in log.rstrip("\n").split("\n"):
        json.loads(line)


def test_a_forecast_is_served_over_a_socket_after_sighup(server):
    server.process.send_signal(signal.SIGHUP)  # sent when a terminal is closed
    response = post(server.url + URL, json=BODY)
    assert response.status_code == 200
    assert len(response.json()["future"]) == 30


def raw(port: int, request: bytes) -> bytes:
    """Send bytes and return all that the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize("path", ["/healthz", "/nothing"])
def test_a_get_is_answered_after_a_head_on_the_same_connection(server, path):
    lines = b" %s HTTP/1.1\r\nhost: localhost\r\n" % path.encode()
    head, _, rest = raw(server.port, b"HEAD" + lines + b"\r\nGET" + lines + b"connection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert rest.startswith(head.split(b"\r\n")[0])
    (length,) = re.findall(rb"content-length: (\d+)", head)
    assert len(rest.partition(b"\r\n\r\n")[2]) == int(length)


def test_a_forecast_is_served_to_a_client_that_offers_http_2(server):
    body = json.dumps(BODY).encode()
    head = (
        f"POST {URL} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAAP__\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    assert raw(server.port, head.encode() + body).startswith(b"HTTP/1.1 200")


def resident(pid: int) -> int:
    """Return the bytes of memory that a process and its descendants have."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return pages * resource.getpagesize() + sum(map(resident, children))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only glibc has the setting")
def test_the_memory_of_large_uploads_is_returned_once_they_are_answered(server):
    rng = np.random.default_rng(0)

    def upload(count: int) -> None:
        body = npy(rng.normal(scale=0.05, size=(count, 3)).astype("<f4"))
        answer = post(f"{server.url}/landmarks/face?units=m", content=body, headers={"content-type": NPY})
        assert answer.status_code == 200

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(upload, [2_000] * 16))  # starts the processes, and imports what they need
        before = resident(server.process.pid)
        list(clients.map(upload, [500_000, 1_000_000] * 8))
    assert resident(server.process.pid) - before < 30_000_000


@pytest.mark.parametrize("source", ["leap", "manipnet", "humoto"])
def test_a_recorded_clip_is_forecast_at_the_rate_of_its_tracker(server, data_folder, source):
    """The forecast from a first second, in millimetres at the tracker's rate, is compared with the second one.

    The bundle forecasts constant velocity, so the mean error is above 0 and below the distance that a fast hand moves.
    """
    errors = []
    for recording in read_hands(data_folder / "hands", source, "test"):
        clip, fps = recording.clip, round(recording.clip.fps)
        clip = resample(clip, float(fps), max_gap=0.1)  # the frames of leap are irregular
        for start in range(0, len(clip) - 2 * fps, 4 * fps):
            window = clip.between(start, start + 2 * fps)
            visible = [i for i in range(clip.hands) if window.valid[:, i].all()]
            if not visible:
                continue
            sides = {LEFT_RIGHT[i]: (window.joints[: fps + 1, i] * 1000).astype(float).tolist() for i in visible}
            response = post(server.url + URL, json={"fps": fps, "units": "mm", **sides})
            assert response.status_code == 200, response.text
            answer = response.json()
            for i in visible:
                future = np.array(answer[LEFT_RIGHT[i]]) / 1000
                truth = window.joints[fps + 1 :, i]
                assert len(future) == fps
                errors.append(np.linalg.norm(future[: len(truth)] - truth, axis=-1)[: fps // 10].mean())
    assert len(errors) >= 5
    assert 0 < np.mean(errors) < 0.05


def test_concurrent_requests_get_the_same_answer(server):
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda _: post(server.url + URL, json=BODY).text, range(40)))
    assert len(answers) == 1


def test_the_server_survives_clients_that_disconnect(server):
    head = b"POST /forecast/hands HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n"
    for sent in (b"", b"POST", head + b"\r\n{"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(sent)
    assert post(server.url + URL, json=BODY).status_code == 200


def test_a_stream_over_a_socket_answers_and_is_closed_at_a_message_that_is_too_large(server):
    with connect(f"{server.url.replace('http', 'ws')}/forecast/hands/stream") as stream:
        stream.send(json.dumps({"fps": 30, "at": [0.1], "form": "raw"}))
        assert json.loads(stream.recv())["shape"] == [42, 3]
        answer: str | bytes = ""
        for number, points in enumerate(moving_hands(30, hands=2)):
            stream.send(struct.pack("<IId", number, 0, math.nan) + points.astype("<f4").tobytes())
            answer = stream.recv()
        assert isinstance(answer, bytes)
        assert len(answer) == 16 + 42 * 3 * 4
        stream.send(bytes(MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.putrequest("POST", URL)
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["type"] == "/problems/body-too-large"
    connection.close()


@pytest.mark.parametrize("case", ["text", "too large", "1e400", "too few"])
def test_errors_are_problems_over_a_socket(server, case):
    body, kind, _ = JSON_ERRORS[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    problem_of(post(server.url + URL, content=content, headers={"content-type": "application/json"}), kind)


def test_requests_generated_from_the_published_schema_get_documented_answers(server):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = 0
    for operation in schema.get_all_operations():

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
        @given(case=operation.ok().as_strategy())  # pyright: ignore[reportAttributeAccessIssue] - an Err fails the test
        def call(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            # a schema cannot relate the shapes of arrays, so a documented refusal of generated data is correct
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        call()
    assert tried > 50


def test_a_request_in_progress_is_answered_and_a_stream_closed_after_sigterm(bundles):
    running = start(bundles)
    body = json.dumps(BODY).encode()
    head = (
        f"POST {URL} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with (
        connect(f"{running.url.replace('http', 'ws')}/forecast/hands/stream") as stream,
        socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as connection,
    ):
        stream.send(json.dumps({"fps": 30}))
        assert json.loads(stream.recv())["kind"] == "ready"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100"), "expected the application to read the body"
        running.process.send_signal(signal.SIGTERM)
        until("a closed port", lambda: True if port_refuses(running.port) else None)
        with pytest.raises(ConnectionClosedOK) as closed:
            stream.recv()
        connection.sendall(body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert json.loads(response.read())["times"]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    log_of(running)
    assert running.process.returncode == 0


def port_refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_draining_server_is_not_ready_and_still_answers(bundles):
    running = start(bundles, CHIRON_DRAIN_DELAY_S="3600")
    running.process.send_signal(signal.SIGTERM)
    until("a server that is not ready", lambda: True if get(f"{running.url}/readyz").status_code == 503 else None)
    assert post(running.url + URL, json=BODY).status_code == 200
    running.process.send_signal(signal.SIGTERM)  # ends the delay
    log_of(running)
    assert running.process.returncode == 0


def test_a_public_address_without_a_key_is_refused():
    result = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "CHIRON_API_KEYS" in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("url", ["nowhere://versions", "adl://versions"])
def test_a_registry_of_an_unknown_kind_is_reported_at_once(command, url, monkeypatch):
    monkeypatch.setenv("CHIRON_REGISTRY", url)
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "CHIRON_REGISTRY" in re.sub(r"\s+", " ", result.output)


def test_models_lists_the_bundles(bundles):
    result = CliRunner().invoke(app, ["models", "--bundles", str(bundles)])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == sorted(path.name for path in bundles.iterdir())


def test_a_missing_folder_of_bundles_is_an_error(tmp_path):
    assert CliRunner().invoke(app, ["models", "--bundles", str(tmp_path / "none")]).exit_code == 2


def test_a_body_after_another_upgrade_is_said_to_be_lost(server):
    body = json.dumps(BODY).encode()
    head = (
        f"POST {URL} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, close\r\nUpgrade: tls/1.0\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    answer = raw(server.port, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"leave the header Upgrade out" in answer
