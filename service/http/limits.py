"""Limits on work and memory: a thread pool that refuses work it cannot begin in time, and a byte budget for uploads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.http.problems import Problem, QueueFull

P = ParamSpec("P")
T = TypeVar("T")

SMOOTHING = 0.1  # weight of the newest call in an exponential moving average of seconds


class ThreadPool:
    """A bounded pool of threads for work that would block the event loop."""

    def __init__(self, threads: int, *, max_queue: int, deadline_s: float, name: str) -> None:
        self.threads, self.max_queue, self.deadline_s = threads, max_queue, deadline_s
        self.waiting = 0  # calls that are queued or running
        self._call_s = 0.0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until a new call would begin, from the duration of recent calls."""
        return max(0, self.waiting - self.threads + 1) * self._call_s / self.threads

    def admit(self) -> None:
        """Raise QueueFull if a new call would not begin before the deadline, or if the queue has no place left."""
        wait = self.expected_wait_s
        if wait > self.deadline_s or self.waiting >= self.max_queue:
            raise QueueFull(f"{self.waiting} calls are waiting, for about {wait:.1f} s", wait)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return function(*args, **kwargs), computed in a thread of the pool."""

        def timed() -> T:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._call_s += SMOOTHING * (time.perf_counter() - start - self._call_s)

        self.waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        running.add_done_callback(self._done)
        return await running

    def close(self) -> None:
        """Wait for the running calls, then stop the threads."""
        self._pool.shutdown()

    def _done(self, running: asyncio.Future) -> None:
        self.waiting -= 1


class ByteBudget:
    """A limit on the bytes of uploads in memory, shared by all requests."""

    def __init__(self, size: int) -> None:
        self.free = size

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves bytes and raises the problem overloaded; release them all on exit."""
        reserved = 0

        def take(count: int) -> None:
            nonlocal reserved
            if count > self.free:
                raise Problem("overloaded", "the memory for uploads is in use", headers={"retry-after": "2"})
            self.free -= count
            reserved += count

        try:
            yield take
        finally:
            self.free += reserved


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
