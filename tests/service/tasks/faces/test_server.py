"""Tests of scans over a socket: disconnecting clients, uploads that fill the memory, and requests while a scan is read."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from waiting import PATIENCE_S, post

from models.scans.cloud import Scan
from service.app import create_app
from service.settings import Settings
from service.tasks.faces import prepare
from service.tasks.faces.endpoint import FACE
from service.tasks.memory import ARRIVING

from ...conftest import MAX_SCAN
from ...exchange import CLOUD, NPY, npy, problem_of
from ...exchange import FACE_URL as URL
from ...scans import OCTETS, ply
from ...test_server import Running, start, stop
from .test_errors import END, FILE, FORM_ERRORS, SCAN_ERRORS

LIMIT = 200_000  # bytes of a scan
MEMORY = FACE.memory(NPY).of(LIMIT) + ARRIVING * LIMIT  # suffices for one
FULL = npy(np.resize(CLOUD, (LIMIT // 24 - 100, 3)))


@pytest.fixture(scope="module")
def server(bundles) -> Iterator[Running]:
    running = start(
        bundles, CHIRON_MAX_SCAN_BYTES=str(LIMIT), CHIRON_MAX_MEMORY_BYTES=str(MEMORY), CHIRON_DEADLINE_S="300"
    )
    yield running
    assert "Traceback" not in stop(running)


def upload(server: Running, scan: bytes = npy(CLOUD)) -> httpx2.Response:
    return post(server.url + URL, content=scan, headers={"content-type": NPY})


def head(media: str, length: int) -> bytes:
    return f"POST {URL} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n".encode()


def test_a_scan_and_a_form_are_answered_over_a_socket(server):
    answer = upload(server)
    assert answer.status_code == 200, answer.text
    form = post(server.url + URL, files={"file": ("scan.ply", ply(CLOUD))})
    assert form.json() == answer.json()


@pytest.mark.parametrize("case", ["empty", "one point", "infinity", "zip bomb", "pickle in a .npy", "truncated .ply"])
def test_invalid_scans_get_problems_over_a_socket(server, case):
    body, kind_of_file, kind, _ = SCAN_ERRORS[case]
    headers = {"content-type": OCTETS}
    problem_of(post(server.url + URL, params={"format": kind_of_file}, content=body, headers=headers), kind)


@pytest.mark.parametrize("case", ["two files", "no file", "broken off in the file"])
def test_invalid_forms_get_problems_over_a_socket(server, case):
    body, kind, _ = FORM_ERRORS[case]
    headers = {"content-type": "multipart/form-data; boundary=XX"}
    problem_of(post(server.url + URL, content=body, headers=headers), kind)


def test_a_disconnected_client_releases_its_memory(server):
    form = head("multipart/form-data; boundary=XX", len(FILE + END)) + FILE[:50_000]
    for _ in range(8):  # in total more than the memory
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(form)
    assert upload(server).status_code == 200


def test_a_scan_announced_as_too_large_is_refused_before_it_is_sent(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.putrequest("POST", URL)
    connection.putheader("content-type", "model/ply")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    detail = json.loads(response.read())["detail"]
    connection.close()
    assert detail == f"expected at most {LIMIT} bytes (CHIRON_MAX_SCAN_BYTES); Content-Length announces {10**12}"


def upload_until(server: Running, status: int, scan: bytes) -> httpx2.Response:
    """Upload until the answer has this status, since data of other clients arrives at an unknown time."""
    for _ in range(500):
        if (response := upload(server, scan)).status_code == status:
            return response
    raise AssertionError(f"never answered {status}")


def test_uploads_are_refused_while_others_fill_the_memory(server):
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head(NPY, LIMIT) + bytes(LIMIT - 1000))
        refused = upload_until(server, 503, FULL)
        problem_of(refused, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
    upload_until(server, 200, FULL)


def test_other_requests_are_answered_while_a_scan_is_read(bundles, monkeypatch):
    begun, gate, read_scan = threading.Event(), threading.Event(), prepare.read_scan

    def slowly(*arguments: Any, **options: Any) -> Scan:
        begun.set()
        assert gate.wait(PATIENCE_S)
        return read_scan(*arguments, **options)

    monkeypatch.setattr(prepare, "read_scan", slowly)
    with TestClient(create_app(Settings(bundles=bundles, slots=1, max_scan_bytes=MAX_SCAN))) as client:
        with ThreadPoolExecutor(1) as pool:
            scan = pool.submit(client.post, URL, content=npy(CLOUD), headers={"content-type": NPY})
            assert begun.wait(PATIENCE_S)
            assert client.get("/healthz").status_code == 200
            assert client.get("/models/hands-thirty/example").status_code == 200
            example = client.get("/models/hands-thirty/example").json()
            assert client.post("/forecast/hands", json=example).status_code == 200
            assert not scan.done()
            gate.set()
        assert scan.result().status_code == 200
