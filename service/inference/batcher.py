"""Micro-batching in front of one predictor, without a time window: what queues while it is busy forms the next batch.

A time window would only add latency. Items of one shape share a bucket, so that nothing is padded. The queue is bounded
by the time it would take, and an item that waited past its deadline is not computed. Further items of a request that has
begun take turns with those of new requests: they neither wait behind all of these nor keep them out.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from models.contract.symmetry import Tensors
from service.http.problems import QueueFull
from service.inference.slots import Slots

Run = Callable[[Tensors], Tensors]
Answer = dict[str, np.ndarray] | Exception
RECENT = 15  # batches whose lower median is the estimate of an item's seconds


class Observer(Protocol):
    """The interface that receives the figures of each batch and counts each rejected item."""

    def batch(self, items: int, queue_s: list[float], compute_s: float) -> None: ...
    def rejected(self) -> None: ...


@dataclass(slots=True)
class _Waiting:
    item: Tensors
    future: asyncio.Future[dict[str, np.ndarray]]
    deadline: float  # a time of time.monotonic()
    since: float


class Batcher:
    """A queue of items without a batch axis; `submit` returns an item's answer, without a batch axis.

    The event loop adds items, and a thread of the slots takes them: size and deadlines are decided when a batch is begun. The lock of
    the slots guards the queue. Answers come back to the event loop once a batch.
    """

    def __init__(
        self,
        run: Run,
        *,
        slots: Slots,
        max_batch: int,
        max_queue: int,
        deadline_s: float,
        item_s: float,
        observer: Observer,
    ) -> None:
        """Call `run` while there is a free slot, with at most `max_batch` items each time.

        `item_s` is the first estimate of an item's seconds.
        """
        self.max_batch, self.max_queue, self.deadline_s = max_batch, max_queue, deadline_s
        self._run, self._slots, self._observer = run, slots, observer
        self._recent = deque([item_s], maxlen=RECENT)  # seconds an item of the last batches
        self._item_s = item_s
        self._queued = 0
        self._buckets: dict[tuple, deque[_Waiting]] = {}  # by whether the request has begun, and by shape
        self._begun = False  # whether the last batch was of requests that had begun
        self._unanswered = 0  # items that are queued or running
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Count the waiting items."""
        return self._queued

    @property
    def together(self) -> int:
        """Return how many items the slots compute at a time."""
        return self.max_batch * self._slots.count

    @property
    def oldest(self) -> float:
        """Return when the item came that waits longest, a time of time.monotonic(). The lock must be held."""
        return min(bucket[0].since for bucket in self._buckets.values())

    @property
    def backlog_s(self) -> float:
        """Estimate the seconds that the waiting items will take, one run at a time."""
        return self._queued * self._item_s

    def admit(self, deadline: float | None = None) -> None:
        """Raise QueueFull if an item that came now would not be begun before `deadline`; default: in `deadline_s`."""
        with self._slots.lock:
            wait = self._slots.expected_wait_s
        patience = self.deadline_s if deadline is None else deadline - time.monotonic()
        if wait > patience or self._queued >= self.max_queue:
            self._observer.rejected()
            if patience <= 0:
                raise QueueFull(
                    f"not ready for the model within {self.deadline_s:g} s, since the machine is busy", wait
                )
            if wait <= patience:
                raise QueueFull(f"{self._queued} requests are waiting, of at most {self.max_queue}", wait)
            raise QueueFull(f"{self._queued} requests are waiting, for about {wait:.1f} s", wait)

    async def submit(
        self, item: Tensors, deadline: float | None = None, *, begun: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the answer to one item; raise QueueFull, or what `run` raised on this item.

        An item that is not begun before `deadline`, a time of time.monotonic(), is refused; default: in `deadline_s`. If its request
        has `begun` with an item before, it is never refused.
        """
        (answer,) = self.enter([item], deadline, begun=begun)
        return await answer

    def enter(
        self, items: Sequence[Tensors], deadline: float | None = None, *, begun: bool = False
    ) -> list[asyncio.Future[dict[str, np.ndarray]]]:
        """Queue items and return their answers to come; `submit` says what they raise. Raises QueueFull."""
        now, loop = time.monotonic(), asyncio.get_running_loop()
        if begun:
            deadline = math.inf
        else:
            self.admit(deadline)
            deadline = now + self.deadline_s if deadline is None else deadline
        entered = [_Waiting(item, loop.create_future(), deadline, now) for item in items]
        self._unanswered += len(entered)
        self._idle.clear()
        with self._slots.lock:
            for waiting in entered:
                shapes = (begun, *((name, tensor.shape) for name, tensor in waiting.item.items()))
                self._buckets.setdefault(shapes, deque()).append(waiting)
            self._queued += len(entered)
            self._slots.enter(self, len(entered))
        return [waiting.future for waiting in entered]

    async def close(self) -> None:
        """Wait until nothing is queued or running."""
        await self._idle.wait()

    def take(self) -> Callable[[], None] | None:
        """Remove the next batch and return the call that computes it, or None. A thread of the slots calls this with the lock held.

        Items that nobody waits for and those past their deadline are not computed. The other slots get their share of the items.
        """
        most = min(self.max_batch, -(-self._queued // self._slots.count))
        fair = [key for key in self._buckets if key[0] is not self._begun] or self._buckets
        shapes = min(fair, key=lambda key: self._buckets[key][0].since)
        waiting, batch, late, now = self._buckets[shapes], [], [], time.monotonic()
        while waiting and len(batch) < most:
            head = waiting.popleft()
            (late if head.future.done() or now > head.deadline else batch).append(head)
        self._queued -= len(batch) + len(late)
        if not waiting:
            del self._buckets[shapes]
        if late:
            _on_loop(late, self._refuse, late, self._slots.expected_wait_s)
        if not batch:
            return None
        self._begun = shapes[0]
        return partial(self._compute, batch, [now - one.since for one in batch])

    def _compute(self, batch: list[_Waiting], queue_s: list[float]) -> None:
        """Compute a batch in a thread of the slots."""
        start = time.perf_counter()
        answers = self._answers([waiting.item for waiting in batch])
        _on_loop(batch, self._finish, batch, answers, queue_s, time.perf_counter() - start)

    def _answers(self, items: list[Tensors]) -> list[Answer]:
        """Return the answers to a batch. If it fails, run it again item by item, so that only the item that caused it fails."""
        try:
            return self._run_together(items)
        except Exception as error:  # any error of the graph is the answer to its item
            return [error] if len(items) == 1 else [self._answers([item])[0] for item in items]

    def _run_together(self, items: list[Tensors]) -> list[Answer]:
        if len(items) == 1:
            outputs = self._run({name: tensor[None] for name, tensor in items[0].items()})
        else:
            outputs = self._run({name: np.stack([item[name] for item in items]) for name in items[0]})
        return [{name: tensor[index] for name, tensor in outputs.items()} for index in range(len(items))]

    def _finish(self, batch: list[_Waiting], answers: list[Answer], queue_s: list[float], seconds: float) -> None:
        """Hand out a batch's answers, on the event loop."""
        self._recent.append(seconds / len(batch))
        self._item_s = sorted(self._recent)[
            (len(self._recent) - 1) // 2
        ]  # one batch that a stall held up does not move it
        self._observer.batch(len(batch), queue_s, seconds)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.future.done():
                continue
            if isinstance(answer, Exception):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
        self._answered(len(batch))

    def _refuse(self, late: list[_Waiting], wait_s: float) -> None:
        """Refuse the items past their deadline, on the event loop; those of cancelled requests are only forgotten."""
        for waiting in late:
            if not waiting.future.done():
                self._observer.rejected()
                waiting.future.set_exception(QueueFull(f"not computed within {self.deadline_s:g} s", wait_s))
        self._answered(len(late))

    def _answered(self, count: int) -> None:
        self._unanswered -= count
        if not self._unanswered:
            self._idle.set()


def _on_loop(batch: list[_Waiting], function: Callable[..., None], *args: Any) -> None:
    """Call a function on the event loop that waits for a batch."""
    with suppress(RuntimeError):  # the loop has ended, and nobody waits any longer
        batch[0].future.get_loop().call_soon_threadsafe(function, *args)


async def submit(batcher: Batcher, items: Sequence[Tensors], deadline: float | None) -> list[Tensors]:
    """Return the outputs for the items: as many at a time as the slots compute together, so that other requests come in between.

    The first of them must begin before the deadline, a time of time.monotonic(); None for a request that has begun before.
    Raises QueueFull.
    """
    if len(items) == 1:
        return [await batcher.submit(items[0], deadline, begun=deadline is None)]
    outputs: list[Tensors] = []
    for start in range(0, len(items), batcher.together):
        together = items[start : start + batcher.together]
        outputs += await asyncio.gather(*batcher.enter(together, deadline, begun=deadline is None))
        deadline = None
    return outputs
