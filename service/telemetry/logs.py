"""Logs: an id and a line of JSON for each request, and every other record as a line of JSON too."""

import asyncio
import logging
import re
import time
import uuid
from contextlib import suppress

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.metrics import Metrics

log = logging.getLogger("chiron.access")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TOGETHER_S, MOST_TOGETHER = (
    0.1,
    256,
)  # lines of requests that are written together: the time of the first, and their number


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


class Together(logging.StreamHandler):
    """A handler that writes the lines of several requests at a time. Every other record is written at once, with the lines before it."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or keep the line of a request for TOGETHER_S."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # as every handler of the library: an error of the log must not stop what is logged
            return self.handleError(record)
        if record.name != log.name or len(self._lines) == MOST_TOGETHER:
            self.flush()
        elif len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(TOGETHER_S, self.flush)
            except RuntimeError:  # no event loop would write it later
                self.flush()

    def flush(self) -> None:
        """Write what is kept; the library calls this at the end of the process too."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            with suppress(OSError, ValueError):  # the stream is closed, and there is nowhere to say so
                if lines:
                    self.stream.write("\n".join((*lines, "")))
                super().flush()
        finally:
            self.release()


def log_json_lines(level: int = logging.INFO, *, requests: bool = True) -> None:
    """Send every logger's records to standard error as lines of JSON, with or without one for each of the `requests`."""
    handler = Together()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    log.setLevel(logging.NOTSET if requests else logging.WARNING)
