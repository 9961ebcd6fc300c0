"""An id, a count, a time and a line of the log for each request."""

import logging
import os
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.headers import header
from service.telemetry.logs import ACCESS
from service.telemetry.metrics import Metrics

log = logging.getLogger(ACCESS)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
ID = b"x-request-id"


class Observe:
    """Pure ASGI middleware that gives each request an id, counts and times it, and logs it.

    It keeps a caller's X-Request-ID of 1 to 64 letters, digits, dots, dashes and underscores. It logs paths without
    their query.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, failed: int, switched: int) -> None:
        """Count a request that raises an unexpected error under the status `failed`, an accepted WebSocket under `switched`."""
        self.app, self.metrics, self.failed, self.switched = app, metrics, failed, switched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        sent_id = header(scope, ID)
        request_id = scope["request_id"] = sent_id if REQUEST_ID.fullmatch(sent_id) else os.urandom(16).hex()
        status, size, start, begun = self.failed, 0, time.perf_counter(), None
        closed: dict[str, object] = {}  # of a WebSocket: the code

        async def send_and_measure(message: Message) -> None:
            nonlocal status, size, begun
            part = message["type"].removeprefix("websocket.")
            if part in ("http.response.start", "accept"):
                status, begun = message.get("status", self.switched), time.perf_counter()
                own = [pair for pair in message.get("headers", ()) if pair[0] != ID]
                message["headers"] = [*own, (ID, request_id.encode())]
            elif part == "send":
                size += len(message.get("bytes") or message.get("text") or b"")
            elif part == "close":
                closed["closed"] = message.get("code")
            elif part == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_and_measure)
        finally:
            seconds, is_socket = time.perf_counter() - start, scope["type"] == "websocket"
            route = getattr(scope.get("route"), "path", "unmatched")
            sent_method = "WEBSOCKET" if is_socket else scope["method"]
            method = (
                sent_method if is_socket or sent_method in METHODS else "other"
            )  # an invented one makes no time series
            until_open = (begun or start + seconds) - start  # a stream may be open for hours
            self.metrics.request(method, route, status, until_open if is_socket else seconds)
            if log.isEnabledFor(logging.INFO):
                record = logging.LogRecord(log.name, logging.INFO, "", 0, "request", (), None)  # looks for no caller
                record.fields = {
                    "request_id": request_id,
                    "method": sent_method,
                    "path": scope["path"],
                    "status": status,
                    "bytes": size,
                    "ms": round(seconds * 1e3, 3),
                    "client": (scope.get("client") or ("",))[0],
                    **closed,
                    **({"key": caller.key} if (caller := scope.get("caller")) else {}),
                }
                log.handle(record)
