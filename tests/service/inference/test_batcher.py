"""Tests of micro-batching: no time window, one shape per batch, independent items, and refusals before the deadline."""

import asyncio
import threading
import time

import numpy as np
import pytest
from hand_motion import moving_hands
from waiting import PATIENCE_S

from models.contract.bundle import read_bundle
from models.contract.symmetry import Tensors
from service.http.problems import QueueFull
from service.inference.batcher import Batcher
from service.inference.predictor import Predictor
from service.inference.slots import Slots


class Recorder:
    """An observer that records batch sizes and counts refusals."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.refusals = 0

    def batch(self, items: int, queue_s: list[float], compute_s: float) -> None:
        assert len(queue_s) == items
        assert min(*queue_s, compute_s, 0) == 0
        self.sizes.append(items)

    def rejected(self) -> None:
        self.refusals += 1


def batcher(run, recorder: Recorder | None = None, **options) -> Batcher:
    defaults = {"slots": 1, "max_batch": 4, "max_queue": 100, "deadline_s": PATIENCE_S, "item_s": 0.0}
    options = defaults | options
    slots = options.pop("slots")
    shared = slots if isinstance(slots, Slots) else Slots(slots)
    return Batcher(run, slots=shared, observer=recorder or Recorder(), **options)


def doubled(tensors: Tensors) -> dict[str, np.ndarray]:
    return {"y": 2 * tensors["x"]}


def slowly(tensors: Tensors) -> dict[str, np.ndarray]:
    time.sleep(0.02)
    return doubled(tensors)


class Gated:
    """A run that doubles once it is let through, and records the first number of each item."""

    def __init__(self) -> None:
        self.computed: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self._begun, self._gate = threading.Event(), threading.Event()

    def __call__(self, tensors: Tensors) -> dict[str, np.ndarray]:
        self._begun.set()
        assert self._gate.wait(PATIENCE_S)
        self.computed += tensors["x"][:, 0].astype(int).tolist()
        self.shapes.append(tensors["x"].shape)
        return doubled(tensors)

    async def occupied(self, front: Batcher, value: float = 0) -> asyncio.Task:
        """Submit an item and wait until it is being computed, so that later ones queue."""
        task = asyncio.create_task(front.submit(item(value), time.monotonic() + PATIENCE_S))
        assert await asyncio.to_thread(self._begun.wait, PATIENCE_S)
        return task

    def open(self) -> None:
        self._gate.set()

    def close(self) -> None:
        self._begun.clear()
        self._gate.clear()


def item(value: float, size: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.full(size, value)}


def test_an_item_uses_a_free_slot_at_once_and_later_items_form_the_next_batch():
    recorder, gated = Recorder(), Gated()

    async def run() -> None:
        front = batcher(gated, recorder)
        first = await gated.occupied(front)
        later = [asyncio.create_task(front.submit(item(i))) for i in range(1, 6)]
        await asyncio.sleep(0)
        gated.open()
        answers = await asyncio.gather(first, *later)
        assert [answer["y"][0] for answer in answers] == [0, 2, 4, 6, 8, 10]
        await front.close()

    asyncio.run(run())
    assert recorder.sizes == [1, 4, 1]


def test_a_thread_takes_its_next_batch_without_the_event_loop():
    computed = threading.Semaphore(0)

    def counted(tensors: Tensors) -> dict[str, np.ndarray]:
        computed.release()
        return doubled(tensors)

    async def run() -> None:
        front = batcher(counted, max_batch=1)
        tasks = [asyncio.create_task(front.submit(item(i))) for i in range(5)]
        await asyncio.sleep(0)  # all are queued, and the loop is held until all are computed
        assert all(computed.acquire(timeout=PATIENCE_S) for _ in tasks)
        assert [answer["y"][0] for answer in await asyncio.gather(*tasks)] == [0, 2, 4, 6, 8]

    asyncio.run(run())


def test_a_batch_leaves_their_share_to_the_other_slots():
    recorder, together = Recorder(), threading.Barrier(2)

    def meet(tensors: Tensors) -> dict[str, np.ndarray]:
        together.wait(PATIENCE_S)
        return doubled(tensors)

    async def run() -> None:
        front = batcher(meet, recorder, slots=2, max_batch=8)
        await asyncio.gather(*(front.submit(item(i)) for i in range(2)))

    asyncio.run(run())
    assert recorder.sizes == [1, 1]


def test_one_batch_that_a_stall_held_up_does_not_change_the_expected_wait():
    gated, slots = Gated(), Slots(1)

    async def run() -> None:
        front = batcher(gated, slots=slots, max_batch=1, item_s=1e-3)
        stalled = await gated.occupied(front)
        await asyncio.sleep(0.3)
        gated.open()
        await stalled
        gated.close()
        tasks = [await gated.occupied(front), *(asyncio.create_task(front.submit(item(i))) for i in range(10))]
        await asyncio.sleep(0)
        assert slots.expected_wait_s == pytest.approx(10e-3)
        gated.open()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_an_item_past_the_deadline_of_its_request_is_refused_and_not_computed():
    async def run() -> None:
        front = batcher(slowly)
        with pytest.raises(QueueFull):
            await front.submit(item(1), time.monotonic() - 1)
        assert (await front.submit(item(2), time.monotonic() + 60))["y"][0] == 4
        await front.close()

    asyncio.run(run())


def test_items_of_different_shape_never_share_a_batch():
    gated = Gated()

    async def run() -> None:
        front = batcher(gated)
        first = await gated.occupied(front)
        tasks = [asyncio.create_task(front.submit(item(i, size=2 + i % 2))) for i in range(7)]
        await asyncio.sleep(0)
        gated.open()
        await asyncio.gather(first, *tasks)

    asyncio.run(run())
    assert sorted(gated.shapes) == [(1, 3), (3, 3), (4, 2)]


@pytest.mark.parametrize("max_batch", [1, 3, 8])
def test_batching_does_not_change_the_answers_of_a_graph(bundles, max_batch):
    predictor = Predictor(read_bundle(bundles / "hands-thirty"))
    items = [{"past": moving_hands(30, 1 + i % 2, seed=i).astype(np.float32)} for i in range(20)]
    alone = [predictor.run({"past": i["past"][None]})["future"][0] for i in items]
    recorder = Recorder()

    async def run() -> None:
        front = batcher(predictor.run, recorder, max_batch=max_batch)
        together = await asyncio.gather(*(front.submit(i) for i in items))
        for answer, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(answer["future"], expected, atol=1e-6, rtol=0)

    asyncio.run(run())
    assert max(recorder.sizes) == max_batch
    assert sum(recorder.sizes) == 20


def test_a_failing_item_does_not_fail_the_rest_of_its_batch():
    def fails_on_three(tensors: Tensors) -> dict[str, np.ndarray]:
        if (tensors["x"] == 3).any():
            raise ValueError("three")
        return slowly(tensors)

    async def run() -> None:
        front = batcher(fails_on_three, max_batch=8)
        answers = await asyncio.gather(*(front.submit(item(i)) for i in range(6)), return_exceptions=True)
        assert isinstance(answers[3], ValueError)
        assert [a["y"][0] for a in answers if isinstance(a, dict)] == [0, 2, 4, 8, 10]
        assert (await front.submit(item(1)))["y"][0] == 2

    asyncio.run(run())


def test_a_queue_longer_than_the_deadline_allows_is_full():
    recorder = Recorder()

    async def run() -> None:
        front = batcher(slowly, recorder, max_batch=1, item_s=1.0, deadline_s=2.5)
        answers = await asyncio.gather(*(front.submit(item(i)) for i in range(20)), return_exceptions=True)
        refused = [a for a in answers if isinstance(a, QueueFull)]
        assert recorder.refusals == len(refused) > 10
        assert all(1 <= a.retry_after <= 8 for a in refused)
        assert not isinstance(await front.submit(item(1)), QueueFull)  # the queue recovers at once

    asyncio.run(run())


def test_the_queue_length_is_bounded_for_any_estimated_wait():
    gated = Gated()

    async def run() -> None:
        front = batcher(gated, max_batch=1, max_queue=3)
        first = await gated.occupied(front)
        tasks = [asyncio.create_task(front.submit(item(i))) for i in range(9)]
        await asyncio.sleep(0)
        gated.open()
        answers = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert sum(isinstance(a, QueueFull) for a in answers) == 9 - 3

    asyncio.run(run())


def test_an_item_past_its_deadline_is_not_computed():
    gated = Gated()

    async def run() -> None:
        front = batcher(gated, deadline_s=0.1)
        first = await gated.occupied(front)
        tasks = [asyncio.create_task(front.submit(item(i))) for i in range(3)]
        await asyncio.sleep(0.2)
        gated.open()
        answers = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [type(a) for a in answers] == [dict, QueueFull, QueueFull, QueueFull]
        await front.close()

    asyncio.run(run())
    assert gated.computed == [0]


def test_an_item_is_not_computed_after_its_caller_is_cancelled():
    gated = Gated()

    async def run() -> None:
        front = batcher(gated)
        tasks = [await gated.occupied(front), *(asyncio.create_task(front.submit(item(i))) for i in (1, 2, 3))]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        gated.open()
        await asyncio.gather(*tasks, return_exceptions=True)
        await front.close()

    asyncio.run(run())
    assert gated.computed == [0, 1, 3]


def test_later_items_of_a_request_take_turns_with_new_requests_and_are_never_refused():
    gated = Gated()

    async def run() -> None:
        front = batcher(gated, max_batch=1, max_queue=4)
        first = await gated.occupied(front)
        new = [asyncio.create_task(front.submit(item(i))) for i in (1, 2, 3, 4)]
        await asyncio.sleep(0)
        further = [asyncio.create_task(front.submit(item(i), begun=True)) for i in (10, 11)]
        await asyncio.sleep(0)
        gated.open()
        await asyncio.gather(first, *new, *further)

    asyncio.run(run())
    assert gated.computed == [0, 10, 1, 11, 2, 3, 4]


def test_models_that_share_slots_compute_the_oldest_item_first():
    running, most, computed, gate = 0, 0, [], threading.Event()

    def counted(tensors: Tensors) -> dict[str, np.ndarray]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gate.wait(PATIENCE_S)
        computed.append(int(tensors["x"][0, 0]))
        running -= 1
        return doubled(tensors)

    async def run() -> None:
        slots = Slots(1)
        one, other = (batcher(counted, slots=slots, max_batch=1, item_s=2.0) for _ in range(2))
        tasks = []
        for number, front in enumerate((one, one, other, one, other)):
            tasks.append(asyncio.create_task(front.submit(item(number))))
            await asyncio.sleep(0.001)
        assert slots.expected_wait_s == 4 * 2.0
        with pytest.raises(QueueFull, match="2 requests are waiting, for about 8"):
            other.admit(time.monotonic() + 7)
        gate.set()
        await asyncio.gather(*tasks)
        assert slots.expected_wait_s == 0

    asyncio.run(run())
    assert most == 1
    assert computed == [0, 1, 2, 3, 4]


def test_an_item_whose_deadline_has_passed_is_refused_with_that_reason():
    async def run() -> None:
        front = batcher(doubled, slots=Slots(1), max_batch=1)
        with pytest.raises(QueueFull, match="not ready for the model within"):
            front.admit(time.monotonic() - 1)

    asyncio.run(run())


def test_closing_finishes_the_queued_items():
    async def run() -> None:
        front = batcher(slowly)
        tasks = [asyncio.create_task(front.submit(item(i))) for i in range(9)]
        await asyncio.sleep(0)
        await front.close()
        async with asyncio.timeout(PATIENCE_S):  # all threads have ended
            await asyncio.gather(*tasks)

    asyncio.run(run())
