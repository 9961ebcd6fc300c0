"""Tests of the limit on requests and bytes in flight, which are counted for each caller until the answer."""

import asyncio
from typing import Any

import pytest

from service.http.in_flight import LimitInFlight
from service.http.problems import Problem
from service.http.security import Caller

ONE, OTHER = (Caller(f"key:{name}", f"the key {name!r}", name) for name in ("one", "other"))


class Service:
    """A limited application whose requests read their bodies, then wait for `gate`."""

    def __init__(self, **limits: int | None) -> None:
        self.gate = asyncio.Event()
        self.limited = LimitInFlight(self.answer, **{"requests": None, "bytes": None, **limits})

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def post(self, caller: Caller, *chunks: bytes, announced: int | None = None, path: str = "/x") -> Any:
        """Return the status and headers of the answer."""
        start, parts = {}, list(chunks) or [b""]

        async def receive() -> Any:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            start.update(message if message["type"] == "http.response.start" else {})

        length = [] if announced is None else [(b"content-length", str(announced).encode())]
        scope = {"type": "http", "path": path, "root_path": "", "headers": length, "caller": caller}
        await self.limited(scope, receive, send)
        return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}

    async def waiting(self, *requests: Any) -> list[asyncio.Task]:
        """Start requests, and return once each has reached its end or the gate."""
        tasks = [asyncio.create_task(request) for request in requests]
        for _ in range(10):
            await asyncio.sleep(0)
        return tasks

    async def statuses(self, *tasks: asyncio.Task) -> list[int]:
        self.gate.set()
        return [status for status, _ in await asyncio.gather(*tasks)]


def test_requests_beyond_the_limit_of_a_caller_get_429_until_an_earlier_one_is_answered():
    async def run() -> None:
        service = Service(requests=2)
        first = await service.waiting(service.post(ONE), service.post(ONE), service.post(OTHER))
        status, headers = await service.post(ONE)
        assert status == 429
        assert (headers["ratelimit-limit"], headers["ratelimit-remaining"], headers["retry-after"]) == ("2", "0", "1")
        assert await service.statuses(*first) == [200] * 3
        assert (await service.post(ONE))[0] == 200
        assert not service.limited._loads

    asyncio.run(run())


def test_a_key_may_have_its_own_limit():
    async def run() -> None:
        service, many = Service(requests=1), Caller("key:many", "the key 'many'", "many", in_flight=3)
        assert await service.statuses(*await service.waiting(*(service.post(many) for _ in range(4)))) == [200] * 3 + [
            429
        ]

    asyncio.run(run())


@pytest.mark.parametrize("announced", [60, None])
def test_bodies_beyond_the_bytes_of_a_caller_get_429_announced_or_not(announced):
    async def run() -> None:
        service = Service(bytes=100)
        first = await service.waiting(
            *(service.post(caller, bytes(60), announced=announced) for caller in (ONE, OTHER))
        )
        if announced:
            assert (await service.post(ONE, bytes(60), announced=announced))[0] == 429
        else:
            with pytest.raises(Problem, match="may have 100 bytes of bodies in flight"):  # the application answers it
                await service.post(ONE, bytes(30), bytes(30))
        small = await service.waiting(service.post(ONE, bytes(40), announced=announced and 40))
        assert await service.statuses(*first, *small) == [200] * 3
        assert not service.limited._loads

    asyncio.run(run())


def test_a_single_body_is_never_too_large_for_the_limit_on_bytes_in_flight():
    async def run() -> None:
        service = Service(bytes=100)
        assert await service.statuses(*await service.waiting(service.post(ONE, bytes(500), announced=500))) == [200]
        assert await service.statuses(*await service.waiting(service.post(ONE, bytes(300), bytes(300)))) == [200]

    asyncio.run(run())


def test_health_is_never_limited():
    async def run() -> None:
        service = Service(requests=1)
        requests = [service.post(ONE), service.post(ONE, path="/healthz")]
        assert await service.statuses(*await service.waiting(*requests)) == [200, 200]

    asyncio.run(run())
