"""Tests of the server process: its port, and its reaction to signals."""

import asyncio
import contextlib
import signal
import socket

import pytest
import uvicorn
import uvloop
from typer.testing import CliRunner
from waiting import PATIENCE_S

from service import cli
from service.http.server import PortUnavailable, Server, Shutdown, bind, copies


@pytest.fixture
def occupied():
    """Return a port that is already in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_an_occupied_port_is_refused(occupied):
    with pytest.raises(PortUnavailable, match=f"cannot listen on 127.0.0.1:{occupied}: Address already in use"):
        bind("127.0.0.1", occupied)


def test_an_occupied_port_is_reported_before_models_are_loaded(occupied, monkeypatch):
    def run(*_: object, **__: object) -> None:
        raise AssertionError("expected the command to end before it loads models")

    monkeypatch.setattr(Server, "run", run)
    result = CliRunner().invoke(cli.app, ["serve", "--port", str(occupied)])
    assert result.exit_code == 2
    assert "Address already in use" in " ".join(result.output.replace("│", " ").split())


def test_a_bound_port_refuses_connections_until_the_server_listens():
    with bind("127.0.0.1", 0) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname())


def test_connections_that_wait_are_accepted_together():
    accepted = 0

    class Counted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1

    async def turns() -> int:
        with contextlib.ExitStack() as stack:
            loop, listeners = asyncio.get_running_loop(), copies(bind("127.0.0.1", 0), 8)
            for listener in listeners:
                stack.callback((await loop.create_server(Counted, sock=listener)).close)
            for _ in range(32):
                stack.enter_context(socket.create_connection(listeners[0].getsockname()))
            number = 0
            while accepted < 32:
                await asyncio.sleep(0)
                number += 1
        return number

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns()) < 16, "one connection in each turn of the event loop takes 32"


def test_a_shutdown_sets_the_events_of_those_who_wait_for_it():
    async def run() -> None:
        shutdown = Shutdown()
        with shutdown.event() as early, shutdown.event() as other:
            await asyncio.to_thread(shutdown.begin)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(early.wait(), other.wait())
        with shutdown.event() as late:
            assert late.is_set()

    asyncio.run(run())


def test_a_server_closes_connections_after_the_streams_have_closed_themselves(monkeypatch):
    order = []

    async def closes(server: uvicorn.Server, sockets: object = None) -> None:
        order.append("connections")

    async def run() -> None:
        server = Server(uvicorn.Config("none"), Shutdown(), drain_s=0)

        async def stream() -> None:
            with server.shutdown_signal.event() as stopping:
                await stopping.wait()
                await asyncio.sleep(0.02)  # the message that closes it
                order.append("stream")

        streaming = asyncio.create_task(stream())
        await asyncio.sleep(0)
        server.handle_exit(signal.SIGTERM, None)
        await server.shutdown()
        await streaming

    monkeypatch.setattr(uvicorn.Server, "shutdown", closes)
    asyncio.run(run())
    assert order == ["stream", "connections"]


def test_a_stream_that_does_not_close_delays_the_shutdown_by_a_second_at_most():
    async def run() -> None:
        shutdown = Shutdown()
        with shutdown.event():
            async with asyncio.timeout(PATIENCE_S):
                await shutdown.heard(0.01)

    asyncio.run(run())


def stops_after(server: Server, *signals: int) -> list[bool]:
    """Deliver signals to a server on a running loop; return whether it stops after each."""

    async def deliver() -> list[bool]:
        states = []
        for number in signals:
            server.handle_exit(number, None)
            states.append(server.should_exit)
        return states

    return asyncio.run(deliver())


def test_sigterm_announces_the_shutdown_and_is_not_raised_again():
    server = Server(uvicorn.Config("none"), Shutdown(), drain_s=0)
    assert stops_after(server, signal.SIGTERM) == [True]
    assert server.shutdown_signal.begun
    assert server._captured_signals == [], (
        "expected no signal to be raised again, since the exit status would be that of the signal"
    )


def test_a_draining_server_stops_at_the_second_signal():
    server = Server(uvicorn.Config("none"), Shutdown(), drain_s=3600)
    assert stops_after(server, signal.SIGTERM, signal.SIGTERM) == [False, True]
