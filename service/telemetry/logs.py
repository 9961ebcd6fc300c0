"""Logs: an id and a line of JSON for each request, and every other record as a line of JSON too."""

import logging
import re
import time
import uuid

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.access")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = scope["request_id"] = sent_id if REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        status, size, start, begun = self.failed, 0, time.perf_counter(), None
        closed: dict[str, object] = {}  # of a WebSocket: the code

        async def send_and_measure(message: Message) -> None:
            nonlocal status, size, begun
            part = message["type"].removeprefix("websocket.")
            if part in ("http.response.start", "accept"):
                status, begun = message.get("status", self.switched), time.perf_counter()
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["x-request-id"] = request_id
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
                log.info("request", extra={"fields": {
                    "request_id": request_id,
                    "method": sent_method,
                    "path": scope["path"],
                    "status": status,
                    "bytes": size,
                    "ms": round(seconds * 1e3, 3),
                    "client": (scope.get("client") or ("",))[0],
                    **closed,
                    **({"key": caller.key} if (caller := scope.get("caller")) else {}),
                }})  # fmt: skip


class JsonLines(logging.Formatter):
    """A formatter of log records as one line of JSON: time (UTC), level, logger, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_json_lines(level: int = logging.INFO) -> None:
    """Send every logger's records to standard error as lines of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
