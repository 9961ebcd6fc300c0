"""A bounded queue in front of processes or threads, which refuses work that it cannot begin in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor, Executor
from contextlib import asynccontextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from service.http.problems import QueueFull

P = ParamSpec("P")
T = TypeVar("T")

PLACES = 2  # requests for each worker: while one waits for the model, another computes
SMOOTHING = 0.1  # weight of the newest call in an exponential moving average of seconds


class Worker:
    """One thread or process of a WorkQueue, which computes one call at a time; another replaces it if it dies."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self.requests = 0  # number of requests that have a place in it
        self._start, self._starting = start, asyncio.Lock()
        self._executor: Executor | None = None

    async def ready(self) -> Executor:
        """Return the executor; if there is none, start it in a thread, since a process starts slowly."""
        async with self._starting:
            if self._executor is None:
                self._executor = await asyncio.to_thread(self._start)
            return self._executor

    def replace(self, executor: Executor) -> None:
        """Have the next request start another executor, unless `executor` has been replaced already."""
        if self._executor is executor:
            self._executor = None

    def close(self) -> None:
        """Wait for the running calls, then stop."""
        if self._executor is not None:
            self._executor.shutdown()


class Place:
    """The place of a request in a worker: all its calls are computed there."""

    def __init__(self, worker: Worker, executor: Executor) -> None:
        self._worker, self._executor = worker, executor

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return function(*args, **kwargs), computed by the worker; raise QueueFull if its process has died."""
        try:
            return await asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))
        except BrokenExecutor:
            self._worker.replace(self._executor)
            raise QueueFull("the process that read the request has died", 1.0) from None

    def post(self, function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function in the worker without waiting for it."""
        with suppress(RuntimeError):  # the process has died, or is being stopped
            self._executor.submit(function, *args, **kwargs)


class WorkQueue:
    """A bounded queue in front of processes or threads, for requests whose work would block the event loop.

    A request waits once, for a place in one of them, and keeps the place until it is answered. Its later calls therefore do
    not queue behind requests that came later.
    """

    def __init__(
        self, workers: int, start: Callable[[], Executor], *, max_queue: int, deadline_s: float, each: int = PLACES
    ) -> None:
        """Prepare the queue, with places for `each` requests in a worker.

        `start` makes a worker's executor when the first request needs it.
        """
        self.places, self.max_queue, self.deadline_s = each * workers, max_queue, deadline_s
        self.waiting = 0  # requests that wait for a place or have one
        self._mean_s = 0.0
        self._free = asyncio.Semaphore(self.places)
        self._workers = [Worker(start) for _ in range(workers)]

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until a new request would get a place, from the mean time that recent ones kept theirs."""
        return max(0, self.waiting - self.places + 1) * self._mean_s / self.places

    def admit(self) -> None:
        """Raise QueueFull if a new request would not begin before the deadline, or if the queue is too long."""
        wait = self.expected_wait_s
        if wait > self.deadline_s or self.waiting >= self.max_queue:
            raise QueueFull(f"{self.waiting} calls are waiting, for about {wait:.1f} s", wait)

    async def ready(self) -> None:
        """Start the workers that are not running."""
        await asyncio.gather(*(worker.ready() for worker in self._workers))

    @asynccontextmanager
    async def place(self, deadline: float | None = None) -> AsyncIterator[Place]:
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
            start, worker = time.perf_counter(), min(self._workers, key=lambda worker: worker.requests)
            worker.requests += 1
            try:
                yield Place(worker, await worker.ready())
            finally:
                worker.requests -= 1
                self._free.release()
                self._mean_s += SMOOTHING * (time.perf_counter() - start - self._mean_s)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Wait for the running calls, then stop the workers."""
        for worker in self._workers:
            worker.close()
