"""The threads that run models on one device: more threads than CPUs would only delay the event loop.

A thread takes its next batch itself, and does not wait until the event loop has seen the last one.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

NICENESS = 5  # of a thread that computes: the event loop gets the CPU first


class Queue(Protocol):
    """The queue of one model. Its properties and `take` are used while the lock of the slots is held."""

    @property
    def queued(self) -> int:
        """Count the waiting items."""
        ...

    @property
    def oldest(self) -> float:
        """Return the arrival time of the oldest waiting item, as time.monotonic() gives it."""
        ...

    @property
    def backlog_s(self) -> float:
        """Estimate the seconds that the waiting items will take, one run at a time."""
        ...

    def take(self) -> Callable[[], None] | None:
        """Remove a batch of items and return the call that computes it, or None if nobody waits for these any longer."""
        ...


class _Shared:
    """The state of the threads, which does not refer to the slots: a model that nobody serves any longer is freed with its threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queues: dict[Queue, None] = {}  # those with waiting items
        self.calls: SimpleQueue[bool] = SimpleQueue()  # True for each item that has come, False to end a thread


class Slots:
    """A limited number of concurrent runs, shared by the queues of several models; the oldest item is computed first.

    Whoever changes a queue holds `lock` meanwhile.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._shared = _Shared()
        self.lock = self._shared.lock
        self._threads = [
            threading.Thread(target=_serve, args=(self._shared,), name=f"predict_{number}", daemon=True)
            for number in range(count)
        ]
        self._stop = weakref.finalize(self, _stop, self._shared, count)
        for thread in self._threads:
            thread.start()

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until an item that came now would be computed. The lock must be held."""
        return sum(queue.backlog_s for queue in self._shared.queues) / self.count

    def enter(self, queue: Queue, items: int) -> None:
        """Note that a queue has so many new items, which free threads take at once. The lock must be held."""
        self._shared.queues[queue] = None
        for _ in range(items):
            self._shared.calls.put(True)

    def close(self) -> None:
        """Wait for the running calls, then stop the threads."""
        self._stop()
        for thread in self._threads:
            thread.join()


def _serve(shared: _Shared) -> None:
    """Compute batch after batch, each of the queue whose item is oldest. An item that went with others leaves a call that finds nothing."""
    _yield_the_cpu()
    while shared.calls.get():
        compute = None
        with shared.lock:
            if shared.queues:
                queue = min(shared.queues, key=lambda queue: queue.oldest)
                compute = queue.take()
                if not queue.queued:
                    del shared.queues[queue]
                del queue
        if compute is not None:
            compute()
        del compute  # its model may be replaced while this thread waits


def _stop(shared: _Shared, count: int) -> None:
    for _ in range(count):
        shared.calls.put(False)


def _yield_the_cpu() -> None:
    """Lower the priority of this thread. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox that forbids it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
