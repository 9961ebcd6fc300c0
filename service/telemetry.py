"""What the service tells about itself: Prometheus metrics, and one line of JSON in the log for each request."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("chiron.access")
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Metrics:
    """Counters and histograms of one app. Queueing, computing and converting are told apart: one is the model's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "chiron_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "chiron_request_seconds",
            "From the first byte to the last",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stage = Histogram(
            "chiron_stage_seconds",
            "Parts of a request outside the model",
            ["route", "stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        per_model = ["model", "version"]
        self._queue = Histogram(
            "chiron_queue_seconds", "Waiting for a slot", per_model, buckets=SECONDS, registry=self.registry
        )
        self._compute = Histogram(
            "chiron_compute_seconds", "A batch in the model", per_model, buckets=SECONDS, registry=self.registry
        )
        self._batch = Histogram(
            "chiron_batch_items", "Items in a batch", per_model, buckets=BATCHES, registry=self.registry
        )
        self._rejected = Counter(
            "chiron_rejected", "Items turned away: queue full or deadline passed", per_model, registry=self.registry
        )
        self._waiting = Gauge("chiron_queue_items", "Items waiting", per_model, registry=self.registry)
        self._model = Gauge(
            "chiron_model_info", "1 for a model being served", [*per_model, "provider"], registry=self.registry
        )
        self._cost = Gauge(
            "chiron_batch_cost_seconds", "As timed at start", [*per_model, "part"], registry=self.registry
        )

        self._jobs = Gauge("chiron_jobs", "Jobs in the table", ["state", "queue"], registry=self.registry)
        self._workers = Gauge("chiron_workers", "Workers connected", ["queue"], registry=self.registry)

    def jobs(self, jobs: dict[tuple[str, str], int], workers: dict[str, int]) -> None:
        """How many jobs there are by state and queue, and workers by queue."""
        self._jobs.clear()
        self._workers.clear()
        for (state, queue), count in jobs.items():
            self._jobs.labels(state, queue).set(count)
        for queue, count in workers.items():
            self._workers.labels(queue).set(count)

    @contextmanager
    def stage(self, route: str, name: str) -> Iterator[None]:
        """Time a part of a request: decode, read, prepare, encode."""
        start = time.perf_counter()
        yield
        self._stage.labels(route, name).observe(time.perf_counter() - start)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def model(self, name: str, version: str, provider: str, fixed_s: float, item_s: float) -> "ModelMetrics":
        """The metrics of one loaded model."""
        self._model.labels(name, version, provider).set(1)
        self._cost.labels(name, version, "fixed").set(fixed_s)
        self._cost.labels(name, version, "item").set(item_s)
        return ModelMetrics(self, name, version)

    def forget(self, name: str, version: str, provider: str) -> None:
        """A model is no longer served; what it has counted stays."""
        self._model.remove(name, version, provider)
        self._waiting.remove(name, version)  # with it goes the last hold on the batcher

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class ModelMetrics:
    """A batcher's observer."""

    def __init__(self, metrics: Metrics, name: str, version: str) -> None:
        self._queue = metrics._queue.labels(name, version)
        self._compute = metrics._compute.labels(name, version)
        self._items = metrics._batch.labels(name, version)
        self._rejected = metrics._rejected.labels(name, version)
        self._waiting = metrics._waiting.labels(name, version)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Read the queue's length whenever the metrics are read."""
        self._waiting.set_function(length)

    def batch(self, items: int, queue_s: list[float], compute_s: float) -> None:
        self._items.observe(items)
        self._compute.observe(compute_s)
        for seconds in queue_s:
            self._queue.observe(seconds)

    def rejected(self) -> None:
        self._rejected.inc()


class Observe:
    """Pure ASGI middleware: gives each request an id, counts and times it, and logs it.

    A caller's X-Request-ID is kept if it is 1 to 64 letters, digits, dots, dashes or underscores. Paths are logged
    without their query.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = scope["request_id"] = sent_id if REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        status, size, start = 500, 0, time.perf_counter()

        async def send_and_look(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"  # made-up ones make no time series
            self.metrics.request(method, route, status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info("request", extra={"fields": {
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "bytes": size,
                    "ms": round(seconds * 1e3, 3),
                    "client": (scope.get("client") or ("",))[0],
                }})  # fmt: skip


class JsonLines(logging.Formatter):
    """A log record as one line of JSON: time (UTC), level, logger, message, and the record's `fields`."""

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
