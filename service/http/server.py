"""The uvicorn server of `chiron serve`, its port, and the shutdown signal that it shares with the application."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

import uvicorn

log = logging.getLogger("chiron")
ACCEPTED_TOGETHER = 16  # connections in one turn of the event loop
FAREWELL_S = 1.0  # within which streams close themselves, before uvicorn closes them with a code of its own


class PortUnavailable(OSError):
    """An address that cannot be listened on."""


class Shutdown:
    """The shutdown signal of the process: streams end and /readyz fails once it has begun."""

    def __init__(self) -> None:
        self.begun = False
        self._listeners: set[Callable[[], object]] = set()

    def begin(self) -> bool:
        """Announce the shutdown; return whether this call was the first. It may come from a signal handler or another thread."""
        first, self.begun = not self.begun, True
        if first:
            for listener in tuple(self._listeners):
                listener()
        return first

    @contextmanager
    def event(self) -> Iterator[asyncio.Event]:
        """Yield an event of the running loop that is set once the shutdown has begun."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        listener = partial(loop.call_soon_threadsafe, event.set)
        self._listeners.add(listener)
        if self.begun:
            event.set()
        try:
            yield event
        finally:
            self._listeners.discard(listener)

    async def heard(self, within_s: float) -> None:
        """Wait until nobody listens to the shutdown any more, at most `within_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._listeners:
                    await asyncio.sleep(0.005)


class Server(uvicorn.Server):
    """A server that announces its shutdown `drain_s` seconds before it closes its port, so that a load balancer can react.

    A clean stop after SIGTERM ends the process with status 0. SIGHUP, which a closed terminal sends, is ignored.
    """

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown, drain_s: float) -> None:
        super().__init__(config)
        self.shutdown_signal, self.drain_s = shutdown, drain_s

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on `sockets` until a signal ends it."""
        sockets = [copy for one in sockets or () for copy in copies(one)]
        signal.signal(
            signal.SIGHUP, lambda *_: log.info("SIGHUP is ignored; promoted versions are served without a reload")
        )
        super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Announce the shutdown, then stop; a second signal stops at once."""
        first = self.shutdown_signal.begin()
        if sig != signal.SIGTERM:
            return super().handle_exit(sig, frame)
        if first and self.drain_s:
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self.drain_s, self._stop)  # wakes the loop
        else:
            self._stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams close themselves, then close the port and finish open requests."""
        self.shutdown_signal.begin()
        await self.shutdown_signal.heard(FAREWELL_S)
        await super().shutdown(sockets)

    def _stop(self) -> None:
        """Close the port and finish open requests. The base class would raise SIGTERM again at the end."""
        self.should_exit = True


def copies(listener: socket.socket, count: int = ACCEPTED_TOGETHER) -> list[socket.socket]:
    """Return a listening socket and copies of it: `count` in all, which accept the same connections.

    libuv, and with it uvloop, accepts one connection of a socket in a turn of the event loop (libuv/libuv#3696). Under load a
    turn takes milliseconds, and new connections would wait for seconds.
    """
    return [listener, *(listener.dup() for _ in range(count - 1))]


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound but refuses connections until a server listens on it; raise PortUnavailable."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:  # re-raised: the socket is not left open
            bound.close()
            raise
    except OSError as error:
        raise PortUnavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from None
    return bound
