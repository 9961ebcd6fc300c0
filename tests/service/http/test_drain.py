"""Tests of refusals of large bodies: every ordinary client sees the answer, over a real socket."""

import asyncio
import http.client
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from waiting import PATIENCE_S

from service.http.drain import DrainBody

from ..exchange import HANDS_URL
from ..test_server import Running, start, stop

MB = 1_000_000
HEADERS = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a server with one bundle, which starts quickly."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "hands-thirty").symlink_to(bundles / "hands-thirty")
    running = start(folder)
    yield running
    stop(running)
    assert running.process.returncode == 0


def pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 65536):
        yield body[at : at + 65536]


def by_urllib(url: str, body: bytes) -> int:
    """Post as urllib does, which sends the whole body before it reads, and asks for the connection to be closed."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, body, HEADERS), timeout=PATIENCE_S)
    with refused.value as answer:
        return answer.code


def by_curl(url: str, body: bytes, *options: str) -> int:
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json", *options]
    result = subprocess.run([*command, "--data-binary", "@-", url], input=body, capture_output=True, check=True)
    return int(result.stdout)


def chunked_and_closed(url: str, body: bytes) -> int:
    """Send a chunked body to its end on a connection that is to be closed, and only then read."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=PATIENCE_S)
    connection.request("POST", HANDS_URL, pieces(body), {**HEADERS, "connection": "close"}, encode_chunked=True)
    with closing(connection):
        return connection.getresponse().status


CLIENTS: dict[str, Callable[[str, bytes], int]] = {
    "httpx": lambda url, body: httpx2.post(url, content=body, headers=HEADERS, timeout=PATIENCE_S).status_code,
    "httpx chunked": lambda url, body: (
        httpx2.post(url, content=pieces(body), headers=HEADERS, timeout=PATIENCE_S).status_code
    ),
    "httpx closing": lambda url, body: (
        httpx2.post(url, content=body, headers={**HEADERS, "connection": "close"}, timeout=PATIENCE_S).status_code
    ),
    "requests": lambda url, body: requests.post(url, data=body, headers=HEADERS, timeout=PATIENCE_S).status_code,
    "requests chunked": lambda url, body: (
        requests.post(url, data=pieces(body), headers=HEADERS, timeout=PATIENCE_S).status_code
    ),
    "urllib": by_urllib,
    "chunked and closed": chunked_and_closed,
    "curl": by_curl,
    "curl closing": lambda url, body: by_curl(url, body, "-H", "connection: close", "-H", "expect:"),
    "curl chunked": lambda url, body: by_curl(url, body, "-H", "transfer-encoding: chunked", "-H", "connection: close"),
}


@pytest.mark.parametrize("size", [10 * MB, 100 * MB])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sees_that_its_body_is_too_large(server: Running, name: str, size: int):
    if name.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("needs curl")
    assert CLIENTS[name](server.url + HANDS_URL, b" " * size) == 413


def test_a_client_that_never_sends_its_body_gets_the_answer_at_once(server: Running):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        head = (
            f"POST {HANDS_URL} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
        )
        connection.sendall(f"{head}content-length: {10**12}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def drained(most_bytes: int, most_s: float, parts: int) -> tuple[int, list[dict[str, Any]]]:
    """Refuse a body of `parts` bytes, which then stalls, without reading it; return how many were discarded, and what was sent."""
    taken, sent = 0, []

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == parts:
            await asyncio.Event().wait()
        taken += 1
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"connection", b"close"), (b"content-length", b"99")]
    scope = {"type": "http", "http_version": "1.1", "headers": headers}
    asyncio.run(DrainBody(refuse, most_bytes, most_s)(scope, receive, send))  # pyright: ignore[reportArgumentType] - plain dicts
    return taken, sent


def test_what_is_discarded_has_a_limit_of_bytes_and_of_time():
    assert drained(5, PATIENCE_S, 9)[0] == 5
    taken, sent = drained(100, 0.05, 9)
    assert taken == 9
    assert [message.get("more_body") for message in sent] == [None, True, None]
