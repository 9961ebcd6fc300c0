"""Tests of limits on bytes and streams: what does not fit is refused at once."""

import asyncio

import pytest
from waiting import PATIENCE_S

from service.http.limits import ByteBudget, Concurrency, LimitedStream
from service.http.problems import Problem


def test_requests_share_a_byte_budget_and_release_their_reservations():
    budget = ByteBudget(10)
    with budget.reserve() as first:
        first.grow(6)
        with budget.reserve() as second:
            second.grow(4)
            with pytest.raises(Problem, match="overloaded") as refused, budget.reserve() as third:
                third.grow(1)
            assert int(refused.value.headers["retry-after"]) >= 1
            first.shrink(2)
            with budget.reserve() as fourth:
                fourth.grow(4)
                with pytest.raises(Problem, match="overloaded"):
                    fourth.require(1)
        assert budget.free == 8
    assert budget.free == 10


def test_a_stream_occupies_its_slot_before_its_first_byte():
    """Many streams can be accepted before one of them sends its first byte; the limit must apply to them."""

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
        done, pending = await asyncio.wait(streams, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        assert len(pending) == limit.open == 2
        with pytest.raises(Problem, match="expected at most 2 streams at a time, and 2 are open"):
            done.pop().result()
        proceed.set()
        await asyncio.gather(*pending)
        assert limit.open == 0

    asyncio.run(run())


def test_a_broken_stream_releases_its_slot():
    limit = Concurrency(1, "streams")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.hold():
            raise ZeroDivisionError
    assert limit.open == 0
