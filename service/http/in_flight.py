"""A limit on the requests, and on the bytes of their bodies, that each key or client has in flight in this process."""

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import header
from service.http.prefix import route_path
from service.http.problems import Problem, respond
from service.http.security import Caller, caller_of, is_open

RETRY_S = "1"


@dataclass
class Load:
    """The number of unanswered requests of one caller, and the bytes of their bodies: announced, or arrived if those are more."""

    requests: int = 0
    bytes: int = 0


class LimitInFlight:
    """Pure ASGI middleware that answers 429 while a caller has reached its limit of requests or bytes in flight.

    An open WebSocket is a request in flight.

    The only request of a caller is never too large for the limit on bytes: the size of one body has its own limit.
    """

    def __init__(self, app: ASGIApp, requests: int | None, bytes: int | None) -> None:
        self.app, self.requests, self.bytes = app, requests, bytes
        self._loads: dict[str, Load] = {}  # by the caller's identity, while it has requests in flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_open(route_path(scope)):
            return await self.app(scope, receive, send)
        caller = caller_of(scope)
        most = caller.in_flight or self.requests
        if most is None and self.bytes is None:
            return await self.app(scope, receive, send)
        load = self._loads.setdefault(caller.identity, Load())
        length = header(scope, b"content-length")
        counted, arrived = int(length) if length.isdecimal() else 0, 0
        if most is not None and load.requests >= most:
            return await respond(_too_many(caller, most, "requests"), scope)(scope, receive, send)
        if problem := self._too_large(caller, load, counted):
            return await respond(problem, scope)(scope, receive, send)

        async def receive_and_count() -> Message:
            nonlocal counted, arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if (more := arrived - counted) > 0:
                if load.requests > 1 and (problem := self._too_large(caller, load, more)):
                    raise problem
                load.bytes += more
                counted += more
            return message

        load.requests += 1
        load.bytes += counted
        try:
            await self.app(scope, receive_and_count, send)
        finally:
            load.requests -= 1
            load.bytes -= counted
            if not load.requests:
                self._loads.pop(caller.identity, None)

    def _too_large(self, caller: Caller, load: Load, more: int) -> Problem | None:
        """Return the problem if `more` bytes and those of the caller's other requests are beyond the limit."""
        if self.bytes is None or not load.requests or not more or load.bytes + more <= self.bytes:
            return None
        return _too_many(caller, self.bytes, "bytes of bodies")


def _too_many(caller: Caller, limit: int, unit: str) -> Problem:
    detail = f"{caller.label} may have {limit} {unit} in flight; wait for the answers to earlier requests"
    fields = {"ratelimit-limit": str(limit), "ratelimit-remaining": "0", "ratelimit-reset": RETRY_S}
    return Problem("too-many-requests", detail, headers={**fields, "retry-after": RETRY_S})
