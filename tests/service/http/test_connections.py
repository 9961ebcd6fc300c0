"""Tests of the limit on a client's connections and of the timeout for request headers."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from uvicorn.server import ServerState
from waiting import PATIENCE_S

from service.http.connections import Clients, limited

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def answer(scope, receive, send) -> None:
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    echo = [(name, value) for name, value in scope["headers"] if name == b"x-echo"]
    await send({"type": f"{kind}.response.start", "status": 204, "headers": echo})
    await send({"type": f"{kind}.response.body", "body": b""})


def serve(
    scenario: Callable[[Callable[[], Awaitable]], Awaitable[None]],
    *,
    limit: int = 9,
    header_s: float = PATIENCE_S,
    trusted=(),
):
    """Serve on a free port while `scenario` runs; `scenario` gets a function that opens a connection."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        config, connect = uvicorn.Config(answer, log_config=None), limited(limit, trusted, header_s)
        config.load()
        server = await loop.create_server(
            lambda: connect(config=config, server_state=ServerState(), app_state={}, _loop=loop), "127.0.0.1", 0
        )
        port, writers = server.sockets[0].getsockname()[1], []

        async def open_connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            return reader, writer

        async with asyncio.timeout(PATIENCE_S), server:
            try:
                await scenario(open_connection)
            finally:
                for writer in writers:
                    writer.close()
                await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    asyncio.run(run())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(REQUEST)
    return await reader.readuntil(b"\r\n\r\n")


def test_a_client_with_too_many_connections_is_refused_until_it_closes_one():
    async def scenario(connect) -> None:
        connections = [await connect() for _ in range(2)]
        assert all([b"204" in await ask(*connection) for connection in connections])
        reader, writer = await connect()
        response = await reader.read()
        assert response.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in response
        assert b"2 connections of this client are open" in response
        writer.close()
        connections[0][1].close()
        await connections[0][1].wait_closed()
        while True:  # the server notices the closed connection at an unknown time
            reader, writer = await connect()
            writer.write(REQUEST)
            if b"204" in await reader.readline():
                return
            writer.close()

    serve(scenario, limit=2)


def test_trusted_proxies_have_no_limit():
    async def scenario(connect) -> None:
        for _ in range(4):
            assert b"204" in await ask(*await connect())

    serve(scenario, limit=2, trusted=("127.0.0.0/8",))


def test_connections_without_complete_headers_are_closed_after_the_timeout():
    async def scenario(connect) -> None:
        silent, _ = await connect()
        slow, writer = await connect()
        writer.write(REQUEST[:20])
        assert await silent.read() == b""
        assert await slow.read() == b""
        assert b"204" in await ask(*await connect())

    serve(scenario, header_s=0.1)


def test_a_closed_connection_no_longer_counts():
    clients = Clients(1, ())
    one, other = "192.0.2.1", "2001:db8::1"
    assert clients.enter(one)
    assert not clients.enter(one)
    assert clients.enter(other)
    clients.leave(one)
    assert clients.enter(one)
    for client in (one, other):
        clients.leave(client)
    assert not clients.open


def test_a_closed_websocket_no_longer_counts():
    upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    upgrade += b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"

    async def scenario(connect) -> None:
        answered = 0
        while answered < 3:  # one more than the limit; the server notices a closed connection at an unknown time
            reader, writer = await connect()
            writer.write(upgrade)
            answered += b"204" in await reader.readline()
            writer.close()

    serve(scenario, limit=2)


def answer_of(request: bytes) -> bytes:
    """Return what the server answers to bytes before it closes the connection."""
    answers: list[bytes] = []

    async def scenario(connect) -> None:
        reader, writer = await connect()
        writer.write(request)
        answers.append(await reader.read())

    serve(scenario)
    return answers[0]


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed-http"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"a" * 400_000, 431, "head-too-large"),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n",
            400,
            "malformed-http",
        ),
    ],
)
def test_what_is_no_request_gets_a_problem_and_the_end_of_the_connection(request_, status, kind):
    head, _, body = answer_of(request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == (f"/problems/{kind}", status)
    assert "expected" in problem["detail"]


def test_white_space_around_a_header_is_none_of_it():
    head = answer_of(b"GET / HTTP/1.1\r\nhost: x\r\nx-echo: \t a b \t\r\nconnection: close\r\n\r\n")
    assert b"\r\nx-echo: a b\r\n" in head
