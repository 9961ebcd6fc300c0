"""The limits on threads, bytes and streams: work runs, and is refused before a queue is too long."""

import asyncio
import threading
import time

import pytest

from service.http.limits import Concurrency, LimitedStream, ThreadPool
from service.http.problems import Problem, QueueFull


def threads(**options) -> ThreadPool:
    return ThreadPool(**({"threads": 1, "max_queue": 100, "deadline_s": 5.0, "name": "test"} | options))


def test_a_function_runs_in_a_thread_and_its_result_or_error_comes_back():
    async def run() -> None:
        pool = threads()
        assert await pool.run(divmod, 7, 2) == (3, 1)
        assert await pool.run(threading.current_thread) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 1, 0)
        await asyncio.sleep(0)
        assert pool.waiting == 0
        pool.close()

    asyncio.run(run())


def test_no_more_functions_run_at_a_time_than_there_are_threads():
    running, most = 0, 0

    def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.005)
        running -= 1

    async def run() -> None:
        pool = threads(threads=2)
        await asyncio.gather(*(pool.run(count) for _ in range(12)))
        pool.close()

    asyncio.run(run())
    assert most == 2


def test_work_that_would_not_begin_in_time_is_refused_until_the_queue_is_shorter():
    async def run() -> None:
        pool, gate = threads(deadline_s=0.02), threading.Event()
        for _ in range(20):
            await pool.run(time.sleep, 0.01)
        running = [asyncio.create_task(pool.run(gate.wait)) for _ in range(9)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="9 calls are waiting") as refused:
            pool.admit()
        assert 1 <= refused.value.retry_after <= 8
        gate.set()
        await asyncio.gather(*running)
        await asyncio.sleep(0)
        pool.admit()
        pool.close()

    asyncio.run(run())


def test_the_queue_length_is_bounded_however_short_the_calls():
    async def run() -> None:
        pool, gate = threads(max_queue=3), threading.Event()
        running = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            pool.admit()
        gate.set()
        await asyncio.gather(*running)
        pool.close()

    asyncio.run(run())


def test_a_stream_occupies_its_place_from_before_its_first_byte():
    """Many streams may be accepted before any sends its first byte: the limit must hold for them, too."""

    async def run() -> None:
        limit, proceed = Concurrency(2, "streams"), asyncio.Event()

        async def content():
            await proceed.wait()
            yield "x"

        async def receive():
            await proceed.wait()
            return {"type": "http.disconnect"}

        async def send(message) -> None: ...

        scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
        streams = [asyncio.create_task(LimitedStream(content(), limit)(scope, receive, send)) for _ in range(3)]
        done, pending = await asyncio.wait(streams, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert len(pending) == limit.open == 2
        with pytest.raises(Problem, match="expected at most 2 streams at a time, and 2 are open"):
            done.pop().result()
        proceed.set()
        await asyncio.gather(*pending)
        assert limit.open == 0

    asyncio.run(run())


def test_a_stream_that_breaks_gives_its_place_back():
    limit = Concurrency(1, "streams")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.hold():
            raise ZeroDivisionError
    assert limit.open == 0
