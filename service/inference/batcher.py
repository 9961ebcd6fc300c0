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
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from models.contract.symmetry import Tensors
from service.http.problems import QueueFull
from service.http.work_queue import SMOOTHING
from service.inference.slots import Slots

Run = Callable[[Tensors], Tensors]
Answer = dict[str, np.ndarray] | Exception


class Observer(Protocol):
    """The interface that receives the figures of each batch and counts each rejected item."""

    def batch(self, items: int, queue_s: list[float], compute_s: float) -> None: ...
    def rejected(self) -> None: ...


@dataclass
class _Waiting:
    item: Tensors
    future: asyncio.Future
    deadline: float  # a time of time.monotonic()
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """A queue of items without a batch axis; `submit` returns an item's answer, without a batch axis."""

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
        self._item_s = item_s
        self._running = 0
        self._buckets: dict[tuple, deque[_Waiting]] = {}  # by whether the request has begun, and by shape
        self._begun = False  # whether the last batch was of requests that had begun
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Count the waiting items; a counter kept beside the queue could drift from it."""
        return sum(map(len, self._buckets.values()))

    @property
    def oldest(self) -> float:
        """Return when the item came that waits longest, a time of time.monotonic()."""
        return min(bucket[0].since for bucket in self._buckets.values())

    @property
    def backlog_s(self) -> float:
        """Estimate the seconds that the waiting items will take, one run at a time."""
        return self.queued * self._item_s

    def admit(self, deadline: float | None = None) -> None:
        """Raise QueueFull if an item that came now would not be begun before `deadline`; default: in `deadline_s`."""
        wait, now = self._slots.expected_wait_s, time.monotonic()
        if now + wait > (now + self.deadline_s if deadline is None else deadline) or self.queued >= self.max_queue:
            self._observer.rejected()
            raise QueueFull(f"{self.queued} requests are waiting, for about {wait:.1f} s", wait)

    async def submit(
        self, item: Tensors, deadline: float | None = None, *, begun: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the answer to one item; raise QueueFull, or what `run` raised on this item.

        An item that is not begun before `deadline`, a time of time.monotonic(), is refused; default: in `deadline_s`. If its request
        has `begun` with an item before, it is never refused.
        """
        if begun:
            deadline = math.inf
        else:
            self.admit(deadline)
            deadline = time.monotonic() + self.deadline_s if deadline is None else deadline
        bucket = (begun, *((name, tensor.shape) for name, tensor in item.items()))
        future = asyncio.get_running_loop().create_future()
        self._buckets.setdefault(bucket, deque()).append(_Waiting(item, future, deadline))
        self._slots.enter(self)
        self._note_idle()
        return await future

    async def close(self) -> None:
        """Wait until nothing is queued or running."""
        await self._idle.wait()

    def start(self) -> None:
        """Start the next run, unless no item is left that anybody waits for."""
        batch: list[_Waiting] = []
        while self._buckets and not batch:
            fair = [key for key in self._buckets if key[0] is not self._begun] or self._buckets
            bucket = min(fair, key=lambda key: self._buckets[key][0].since)
            batch = self._take(bucket)
            self._begun = bucket[0]
        if not self._buckets:
            self._slots.leave(self)
        if batch:
            self._running += 1
            now = time.monotonic()
            running = asyncio.wrap_future(self._slots.run(self._compute, [waiting.item for waiting in batch]))
            running.add_done_callback(partial(self._finish, batch, [now - waiting.since for waiting in batch]))
        self._note_idle()

    def _note_idle(self) -> None:
        if self._buckets or self._running:
            self._idle.clear()
        else:
            self._idle.set()

    def _take(self, bucket: tuple) -> list[_Waiting]:
        """Take up to max_batch items of the bucket, oldest first; drop abandoned items and those past their deadline."""
        waiting, batch, now = self._buckets[bucket], [], time.monotonic()
        while waiting and len(batch) < self.max_batch:
            head = waiting.popleft()
            if head.future.done():
                continue
            if now > head.deadline:
                self._observer.rejected()
                head.future.set_exception(
                    QueueFull(f"not computed within {self.deadline_s:g} s", self._slots.expected_wait_s)
                )
                continue
            batch.append(head)
        if not waiting:
            del self._buckets[bucket]
        return batch

    def _compute(self, items: list[Tensors]) -> tuple[list[Answer], float]:
        """Compute a batch in a thread of the pool; return the answers and their seconds.

        A batch that fails is run again item by item, so that only the item that caused it fails.
        """
        start = time.perf_counter()
        try:
            answers = self._run_together(items)
        except Exception as error:  # any error of the graph is the answer to its item
            answers: list[Answer] = [error] if len(items) == 1 else [self._compute([item])[0][0] for item in items]
        return answers, time.perf_counter() - start

    def _run_together(self, items: list[Tensors]) -> list[Answer]:
        outputs = self._run({name: np.stack([item[name] for item in items]) for name in items[0]})
        return [{name: tensor[index] for name, tensor in outputs.items()} for index in range(len(items))]

    def _finish(self, batch: list[_Waiting], queue_s: list[float], done: asyncio.Future) -> None:
        self._running -= 1
        answers, seconds = done.result()
        self._item_s += SMOOTHING * (seconds / len(batch) - self._item_s)
        self._observer.batch(len(batch), queue_s, seconds)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.future.done():
                continue
            if isinstance(answer, Exception):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
        self._slots.release()
        self._note_idle()


async def submit(batcher: Batcher, items: Sequence[Tensors], deadline: float | None) -> list[Tensors]:
    """Return the outputs for the items: as many at a time as fit into a batch, so that other requests come in between.

    The first batch must begin before the deadline, a time of time.monotonic(); None for a request that has begun before.
    Raises QueueFull.
    """
    outputs: list[Tensors] = []
    for start in range(0, len(items), batcher.max_batch):
        batch = items[start : start + batcher.max_batch]
        begun = deadline is None
        outputs += await asyncio.gather(*(batcher.submit(item, deadline, begun=begun) for item in batch))
        deadline = None
    return outputs
