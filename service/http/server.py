"""The uvicorn server of `chiron serve`, and the shutdown signal that it shares with the application."""

import asyncio
import signal
from types import FrameType

import uvicorn


class Shutdown:
    """Whether the process has been asked to stop; event streams end and /readyz fails once it has."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> bool:
        """Announce the shutdown; return whether this call was the first."""
        first, self.begun = not self.begun, True
        return first


class Server(uvicorn.Server):
    """A server that announces its shutdown `drain_s` seconds before it closes its port, so that a load balancer can react."""

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown, drain_s: float) -> None:
        super().__init__(config)
        self.shutdown_signal, self.drain_s = shutdown, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Announce the shutdown, then stop; a second signal stops at once."""
        first = self.shutdown_signal.begin()
        if sig != signal.SIGTERM or not first or not self.drain_s:
            return super().handle_exit(sig, frame)
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self.drain_s, super().handle_exit, sig, frame)  # wakes the loop
