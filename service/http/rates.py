"""A limit on requests a minute for each key, or for each client without one, counted on Redis where there is one.

Counting is done by the library `limits` (a moving window). Where Redis does not answer, requests pass and are counted in memory:
a limit protects the service, and its store must not be able to stop it.
"""

import logging
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.prefix import route_path
from service.http.problems import Problem, respond
from service.http.security import caller_of, is_open

log = logging.getLogger("chiron.limits")
RETRY_STORE_S = 5.0  # after a failure of Redis, the time until the next attempt
TIMEOUT_S = 0.25  # longest wait for Redis in a request


class LimitRate:
    """Pure ASGI middleware that answers 429 once a caller has sent more than its requests a minute. A WebSocket is one request.

    Every answer to a limited caller has the fields RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset (seconds).
    """

    def __init__(self, app: ASGIApp, per_minute: int | None, redis_url: str | None) -> None:
        self.app, self.per_minute = app, per_minute
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        self._shared = MovingWindowRateLimiter(_redis(redis_url)) if redis_url else None
        self._shared_again = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_open(route_path(scope)):
            return await self.app(scope, receive, send)
        caller = caller_of(scope)
        amount = caller.per_minute or self.per_minute
        if amount is None:
            return await self.app(scope, receive, send)
        allowed, remaining, reset_s = await self._count(RateLimitItemPerMinute(amount), caller.identity)
        fields = {
            "ratelimit-limit": str(amount),
            "ratelimit-remaining": str(max(0, remaining)),
            "ratelimit-reset": str(max(1, round(reset_s))),
        }
        if not allowed:
            problem = Problem(
                "too-many-requests",
                f"{caller.label} may send {amount} requests a minute; wait {fields['ratelimit-reset']} s",
                headers={**fields, "retry-after": fields["ratelimit-reset"]},
            )
            return await respond(problem, scope)(scope, receive, send)

        async def send_with_fields(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in fields.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_fields)

    async def _count(self, item: RateLimitItemPerMinute, identity: str) -> tuple[bool, int, float]:
        """Count one request; return whether it is allowed, how many remain, and the seconds until one more is."""
        if self._shared is not None and time.monotonic() >= self._shared_again:
            try:
                return await _hit(self._shared, item, identity)
            except StorageError as error:
                self._shared_again = time.monotonic() + RETRY_STORE_S
                log.warning("requests are counted in memory, Redis does not answer: %s", error)
        return await _hit(self._memory, item, identity)


async def _hit(
    limiter: MovingWindowRateLimiter, item: RateLimitItemPerMinute, identity: str
) -> tuple[bool, int, float]:
    allowed = await limiter.hit(item, identity)
    window = await limiter.get_window_stats(item, identity)
    return allowed, window.remaining, window.reset_time - time.time()


def _redis(url: str) -> Storage:
    storage = storage_from_string(
        f"async+{url.replace('redis+socket://', 'redis+unix://')}",  # Celery's name of a socket's scheme, and that of limits
        implementation="redispy",
        wrap_exceptions=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )
    assert isinstance(storage, Storage), "an async+redis URL has an asynchronous storage"
    return storage
