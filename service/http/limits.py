"""Limits on memory and streams: a budget of bytes for requests, and a number of streams that are open at a time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.http.problems import Problem

MAX_MESSAGE_BYTES = 64 << 10  # of a WebSocket: ten times two hands in JSON


class ByteBudget:
    """A limit on the memory of requests, shared by all of them: what does not fit is refused at once."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size

    @contextmanager
    def reserve(self) -> "Iterator[Reservation]":
        """Yield an empty reservation, and release it on exit."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.shrink(0)


class Reservation:
    """The part of a budget that one request holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.bytes = budget, 0

    def require(self, count: int) -> None:
        """Raise the problem overloaded unless `count` more bytes are free now."""
        if count > self._budget.free:
            detail = f"expected {count} bytes of memory for this request, got {self._budget.free}; other requests use the rest"
            raise Problem("overloaded", detail, headers={"retry-after": "2"})

    def grow(self, count: int, times: int = 1) -> None:
        """Reserve `times` the `count` of bytes; raise the problem overloaded if they are not free."""
        self.require(times * count)
        self._budget.free -= times * count
        self.bytes += times * count

    def settle(self, to: int) -> None:
        """Hold `to` bytes from now on; raise the problem overloaded if they are more and not free."""
        self.shrink(to)
        self.grow(to - self.bytes)

    def shrink(self, to: int) -> None:
        """Release the bytes beyond `to`."""
        released = max(0, self.bytes - to)
        self._budget.free += released
        self.bytes -= released


class Concurrency:
    """A limit on how many of something are open at a time."""

    def __init__(self, capacity: int, name: str) -> None:
        """Create a limit; `name` is the plural that error messages use."""
        self.capacity, self.name, self.open = capacity, name, 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Occupy a place; raise the problem overloaded if none is free."""
        if self.open >= self.capacity:
            detail = (
                f"expected at most {self.capacity} {self.name} at a time, and {self.open} are open; try again later"
            )
            raise Problem("overloaded", detail, headers={"retry-after": "5"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class LimitedStream(StreamingResponse):
    """A streaming response that occupies a place of `limit` from its first byte to its last, or answers overloaded."""

    def __init__(self, content: AsyncIterator[str], limit: Concurrency, **options: Any) -> None:
        super().__init__(content, **options)
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._limit.hold():
            await super().__call__(scope, receive, send)
