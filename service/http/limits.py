"""Threads for the work around a model that would hold up the event loop: a bounded pool that says no in time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from service.http.problems import Problem, QueueFull

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """`run` functions in so many threads. Of requests that have not begun, `admit` takes no more than are done in time."""

    def __init__(self, threads: int, *, max_queue: int, deadline_s: float, name: str) -> None:
        self.threads, self.max_queue, self.deadline_s = threads, max_queue, deadline_s
        self.waiting = 0  # calls that are waiting or running
        self._call_s = 0.0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @property
    def expected_wait_s(self) -> float:
        """Seconds until a call that came now would begin, by what the last ones took."""
        return max(0, self.waiting - self.threads + 1) * self._call_s / self.threads

    def admit(self) -> None:
        """Raises QueueFull if what is there already would take longer than the deadline."""
        wait = self.expected_wait_s
        if wait > self.deadline_s or self.waiting >= self.max_queue:
            raise QueueFull(f"{self.waiting} calls are waiting, for about {wait:.1f} s", wait)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """function(*args, **kwargs), in a thread."""

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
        """Wait for what runs, then stop the threads."""
        self._pool.shutdown()

    def _done(self, running: asyncio.Future) -> None:
        self.waiting -= 1


class Room:
    """How many bytes of uploads are held at a time, by all requests together: what a few may take many may not."""

    def __init__(self, size: int) -> None:
        self.free = size

    @contextmanager
    def lease(self) -> Iterator[Callable[[int], None]]:
        """A function to call before more bytes are kept, which raises the problem overloaded; afterwards all are free."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self.free:
                raise Problem("overloaded", "as many uploads as fit are being read", headers={"retry-after": "2"})
            self.free -= count
            taken += count

        try:
            yield take
        finally:
            self.free += taken


SMOOTHING = 0.1  # weight of the newest batch in the estimate of an item's seconds
