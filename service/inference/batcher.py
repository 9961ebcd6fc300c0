"""Micro-batching in front of one predictor, without a time window: what queues while it is busy forms the next batch.

A time window would only add latency. Items of one shape share a bucket, so that nothing is padded. The queue is bounded
by the time it would take, and an item that waited past its deadline is not computed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from models.contract.symmetry import Tensors
from service.http.limits import SMOOTHING
from service.http.problems import QueueFull

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
        slots: int,
        max_batch: int,
        max_queue: int,
        deadline_s: float,
        item_s: float,
        observer: Observer,
    ) -> None:
        """Make at most `slots` concurrent calls of `run`, of at most `max_batch` items each.

        `item_s` is the first estimate of an item's seconds.
        """
        self.slots, self.max_batch, self.max_queue, self.deadline_s = slots, max_batch, max_queue, deadline_s
        self._run, self._observer = run, observer
        self._item_s = item_s
        self._free = slots
        self._buckets: dict[tuple, deque[_Waiting]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="predict")

    @property
    def queued(self) -> int:
        """Count the waiting items; a counter kept beside the queue could drift from it."""
        return sum(map(len, self._buckets.values()))

    @property
    def expected_wait_s(self) -> float:
        """Estimate the seconds until a new item would be computed."""
        return self.queued * self._item_s / self.slots

    async def submit(self, item: Tensors, deadline: float | None = None) -> dict[str, np.ndarray]:
        """Return the answer to one item; raise QueueFull, or what `run` raised on this item.

        An item that is not begun before `deadline`, a time of time.monotonic(), is refused; default: in `deadline_s`.
        """
        wait, now = self.expected_wait_s, time.monotonic()
        deadline = now + self.deadline_s if deadline is None else deadline
        if now + wait > deadline or self.queued >= self.max_queue:
            self._observer.rejected()
            raise QueueFull(f"{self.queued} requests are waiting, for about {wait:.1f} s", wait)
        bucket = tuple((name, tensor.shape) for name, tensor in item.items())
        future = asyncio.get_running_loop().create_future()
        self._buckets.setdefault(bucket, deque()).append(_Waiting(item, future, deadline))
        self._pump()
        return await future

    async def close(self) -> None:
        """Wait until nothing is queued or running, then stop the threads."""
        await self._idle.wait()
        self._pool.shutdown()

    def _pump(self) -> None:
        while self._free and self._buckets:
            bucket = min(self._buckets, key=lambda key: self._buckets[key][0].since)
            batch = self._take(bucket)
            if not batch:
                continue
            self._free -= 1
            start = time.monotonic()
            running = asyncio.get_running_loop().run_in_executor(self._pool, self._compute, [w.item for w in batch])
            running.add_done_callback(partial(self._finish, batch, [start - waiting.since for waiting in batch]))
        if self._buckets or self._free < self.slots:
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
                head.future.set_exception(QueueFull(f"not computed within {self.deadline_s:g} s", self.expected_wait_s))
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
        self._free += 1
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
        self._pump()
