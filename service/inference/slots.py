"""The limit of concurrent runs of models on one device: more threads than CPUs would only delay the event loop."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

NICENESS = 5  # of a thread that computes: the event loop gets the CPU first


class Queue(Protocol):
    """The queue of one model."""

    @property
    def oldest(self) -> float:
        """Return the arrival time of the oldest waiting item, as time.monotonic() gives it."""
        ...

    @property
    def backlog_s(self) -> float:
        """Estimate the seconds that the waiting items will take, one run at a time."""
        ...

    def start(self) -> None:
        """Start the next run, unless no item is left."""
        ...


class Slots:
    """A limited number of concurrent runs, shared by the queues of several models; the oldest item is computed first."""

    def __init__(self, count: int) -> None:
        self.count = self.free = count
        self._queues: dict[Queue, None] = {}  # those with waiting items
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="predict", initializer=_yield_the_cpu)

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until an item that came now would be computed."""
        return sum(queue.backlog_s for queue in self._queues) / self.count

    def enter(self, queue: Queue) -> None:
        """Add a queue that has a new item, and start runs while slots are free."""
        self._queues[queue] = None
        self._start()

    def leave(self, queue: Queue) -> None:
        """Remove a queue that has no item left."""
        self._queues.pop(queue, None)

    def run(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Take a slot and call a function in a thread; `release` must follow."""
        self.free -= 1
        return self._threads.submit(function, *args)

    def release(self) -> None:
        """Free a slot and start the next run."""
        self.free += 1
        self._start()

    def close(self) -> None:
        """Wait for the running calls, then stop the threads."""
        self._threads.shutdown()

    def _start(self) -> None:
        while self.free and self._queues:
            min(self._queues, key=lambda queue: queue.oldest).start()


def _yield_the_cpu() -> None:
    """Lower the priority of this thread. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox that forbids it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
