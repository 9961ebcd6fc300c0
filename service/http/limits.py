"""Limits on work and memory: a queue that refuses work it cannot begin in time, and a budget of bytes for requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.http.problems import Problem, QueueFull

P = ParamSpec("P")
T = TypeVar("T")

SMOOTHING = 0.1  # weight of the newest call in an exponential moving average of seconds


class WorkQueue:
    """A bounded queue in front of threads or processes, for requests whose work would block the event loop.

    A request waits once, for a place, and keeps it until it is answered: what it computes after that does not queue behind
    requests that came later.
    """

    def __init__(self, places: int, start: Callable[[], Executor], *, max_queue: int, deadline_s: float) -> None:
        """Prepare the queue; `start` makes the executor when the first request needs it."""
        self.places, self.max_queue, self.deadline_s = places, max_queue, deadline_s
        self.waiting = 0  # requests that wait for a place or have one
        self._held_s = 0.0
        self._free = asyncio.Semaphore(places)
        self._start, self._starting = start, asyncio.Lock()
        self._executor: Executor | None = None

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until a new request would have a place, from how long recent ones kept theirs."""
        return max(0, self.waiting - self.places + 1) * self._held_s / self.places

    def admit(self) -> None:
        """Raise QueueFull if a new request would not begin before the deadline, or if the queue is too long."""
        wait = self.expected_wait_s
        if wait > self.deadline_s or self.waiting >= self.max_queue:
            raise QueueFull(f"{self.waiting} calls are waiting, for about {wait:.1f} s", wait)

    async def ready(self) -> Executor:
        """Return the executor; if there is none yet, start it in a thread, since processes take seconds to start."""
        async with self._starting:
            if self._executor is None:
                self._executor = await asyncio.to_thread(self._start)
            return self._executor

    @asynccontextmanager
    async def place(self, deadline: float | None = None) -> AsyncIterator[None]:
        """Hold a place; raise QueueFull if none is free before `deadline`, a time of time.monotonic().

        The default is a deadline in `deadline_s`.
        """
        self.waiting += 1
        try:
            try:
                async with asyncio.timeout(self.deadline_s if deadline is None else deadline - time.monotonic()):
                    await self._free.acquire()
            except TimeoutError:
                raise QueueFull(f"not begun within {self.deadline_s:g} s", self.expected_wait_s) from None
            start = time.perf_counter()
            try:
                yield
            finally:
                self._free.release()
                self._held_s += SMOOTHING * (time.perf_counter() - start - self._held_s)
        finally:
            self.waiting -= 1

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return function(*args, **kwargs), computed by the executor; raise QueueFull if its process has died."""
        try:
            executor = await self.ready()
            return await asyncio.wrap_future(executor.submit(function, *args, **kwargs))
        except BrokenExecutor:
            self._executor = None  # the next call starts another one
            raise QueueFull("the process that read the request has died", 1.0) from None

    def close(self) -> None:
        """Wait for the running calls, then stop the executor."""
        if self._executor is not None:
            self._executor.shutdown()


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

    def shrink(self, to: int) -> None:
        """Release the bytes beyond `to`."""
        released = max(0, self.bytes - to)
        self._budget.free += released
        self.bytes -= released


class Concurrency:
    """A limit on how many of something are open at a time."""

    def __init__(self, capacity: int, name: str) -> None:
        """`name` is the plural that error messages use."""
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
