"""Tests of the queue in front of threads and processes: work runs, or is refused before its queue is too long."""

import asyncio
import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from waiting import PATIENCE_S

from service.http.problems import QueueFull
from service.http.work_queue import WorkQueue


def threads(places: int = 1, **options) -> WorkQueue:
    options = {"max_queue": 100, "deadline_s": PATIENCE_S, "each": 1} | options
    return WorkQueue(places, lambda: ThreadPoolExecutor(1), **options)


async def call(pool: WorkQueue, function, *args, deadline: float | None = None):
    async with pool.place(deadline) as place:
        return await place.run(function, *args)


def test_a_function_runs_in_a_thread_and_its_result_or_error_is_returned():
    async def run() -> None:
        pool = threads()
        assert await call(pool, divmod, 7, 2) == (3, 1)
        assert await call(pool, threading.current_thread) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            await call(pool, divmod, 1, 0)
        await asyncio.sleep(0)
        assert pool.waiting == 0
        pool.close()

    asyncio.run(run())


def test_at_most_one_function_per_thread_runs_at_a_time():
    running, most = 0, 0

    def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.005)
        running -= 1

    async def run() -> None:
        pool = threads(2)
        await asyncio.gather(*(call(pool, count) for _ in range(12)))
        pool.close()

    asyncio.run(run())
    assert most == 2


def test_work_is_refused_while_the_queue_is_longer_than_the_deadline_allows():
    async def run() -> None:
        pool, gate = threads(), threading.Event()
        for _ in range(20):
            await call(pool, time.sleep, 0.01)
        running = [asyncio.create_task(call(pool, gate.wait)) for _ in range(9)]
        await asyncio.sleep(0)
        pool.deadline_s = 0.02  # for those that come now
        with pytest.raises(QueueFull, match="9 calls are waiting") as refused:
            pool.admit()
        assert 1 <= refused.value.retry_after <= 8
        gate.set()
        await asyncio.gather(*running)
        await asyncio.sleep(0)
        pool.admit()
        pool.close()

    asyncio.run(run())


def test_the_queue_length_is_bounded_even_for_short_calls():
    async def run() -> None:
        pool, gate = threads(max_queue=3), threading.Event()
        running = [asyncio.create_task(call(pool, gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            pool.admit()
        gate.set()
        await asyncio.gather(*running)
        pool.close()

    asyncio.run(run())


def test_a_request_without_a_slot_at_its_deadline_is_refused_and_not_computed():
    async def run() -> None:
        pool, gate, computed = threads(), threading.Event(), []
        running = asyncio.create_task(call(pool, gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="not begun"):
            await call(pool, computed.append, 1, deadline=time.monotonic() + 0.01)
        gate.set()
        await running
        await call(pool, computed.append, 2)
        assert computed == [2]
        assert pool.waiting == 0
        pool.close()

    asyncio.run(run())


def test_a_request_with_a_slot_does_not_wait_for_later_requests():
    async def run() -> None:
        pool = threads()
        async with pool.place() as place:
            later = [asyncio.create_task(call(pool, divmod, 9, 4)) for _ in range(3)]
            await asyncio.sleep(0)
            assert await place.run(divmod, 7, 2) == (3, 1)
            assert not any(task.done() for task in later)
        assert await asyncio.gather(*later) == [(2, 1)] * 3
        pool.close()

    asyncio.run(run())


def test_one_worker_computes_all_calls_of_a_request():
    async def run() -> None:
        pool = threads(2, each=2)
        async with pool.place() as first, pool.place() as second:
            threads_of = [[await place.run(threading.get_ident) for _ in range(3)] for place in (first, second)]
        assert [len(set(idents)) for idents in threads_of] == [1, 1]
        assert threads_of[0][0] != threads_of[1][0]
        pool.close()

    asyncio.run(run())


def test_a_dead_process_fails_only_its_own_requests_and_is_replaced():
    async def run() -> None:
        context = multiprocessing.get_context("forkserver")
        pool = WorkQueue(1, lambda: ProcessPoolExecutor(1, mp_context=context), max_queue=9, deadline_s=60.0)
        async with pool.place() as other:
            with pytest.raises(QueueFull, match="has died"):
                await call(pool, os._exit, 1)
            with pytest.raises(QueueFull, match="has died"):  # what was kept for this request is lost, too
                await other.run(divmod, 7, 2)
        assert await call(pool, divmod, 7, 2) == (3, 1)
        pool.close()

    asyncio.run(run())
