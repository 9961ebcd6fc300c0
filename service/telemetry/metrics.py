"""Prometheus metrics of one application."""

import asyncio
from collections.abc import Callable
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from service.telemetry.histograms import Histogram

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
LAG_INTERVAL_S = 0.1
OUTCOMES = ("answered", "waiting", "skipped", "late", "refused")  # of a frame in a stream
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, histograms and gauges; queueing, computing and converting are measured apart."""

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
            bounds=SECONDS,
            registry=self.registry,
        )
        self._stage = Histogram(
            "chiron_stage_seconds",
            "Parts of a request outside the model",
            ["route", "stage"],
            bounds=SECONDS,
            registry=self.registry,
        )
        self._streams = Gauge("chiron_streams", "Streams that are open", ["route"], registry=self.registry)
        self._frames = Counter(
            "chiron_stream_frames",
            "Frames of streams: answered, waiting for more, skipped for a newer one, late, or refused",
            ["route", "outcome"],
            registry=self.registry,
        )
        self._answered = Histogram(
            "chiron_stream_seconds",
            "From the arrival of a frame to the end of sending its forecast",
            ["route"],
            bounds=SECONDS,
            registry=self.registry,
        )
        self._lag = Histogram(
            "chiron_event_loop_lag_seconds",
            "Time by which the event loop was late for a timer: the least that any answer waits",
            bounds=SECONDS,
            registry=self.registry,
        ).labels()
        per_model = ["model", "version"]
        self._queue = Histogram(
            "chiron_queue_seconds", "Waiting for a slot", per_model, bounds=SECONDS, registry=self.registry
        )
        self._compute = Histogram(
            "chiron_compute_seconds", "A batch in the model", per_model, bounds=SECONDS, registry=self.registry
        )
        self._batch = Histogram(
            "chiron_batch_items", "Items in a batch", per_model, bounds=BATCHES, registry=self.registry
        )
        self._rejected = Counter(
            "chiron_rejected", "Items turned away: queue full or deadline passed", per_model, registry=self.registry
        )
        # Resolved once: methods, routes and statuses are few, and looking a label up takes as long as counting.
        self._requests_of = cache(self._requests.labels)
        self._queues: dict[tuple[str, str], Callable[[], int]] = {}  # Gauge.set_function would keep a model in a cycle
        self._waiting = Gauge("chiron_queue_items", "Items waiting", per_model, registry=self.registry)
        self._model = Gauge(
            "chiron_model_info", "1 for a model being served", [*per_model, "provider"], registry=self.registry
        )
        self._fallback = Gauge(
            "chiron_model_on_cpu_fallback",
            "1 for a model that was to use a GPU and runs on the CPU",
            per_model,
            registry=self.registry,
        )
        self._cost = Gauge(
            "chiron_batch_cost_seconds", "As timed at start", [*per_model, "part"], registry=self.registry
        )

    def observe_stage(self, route: str, name: str, seconds: float) -> None:
        """Time a part of a request: decode, prepare, step or encode."""
        self._stage.labels(route, name).observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and time an answered request."""
        self._requests_of(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stream(self, route: str) -> "StreamMetrics":
        """Return the observer of the streams of a route."""
        return StreamMetrics(self, route)

    async def watch_event_loop(self) -> None:
        """Measure how late the event loop is, ten times a second; never return."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._lag.observe(max(0.0, loop.time() - due))

    def observer(self, name: str, version: str) -> "ModelMetrics":
        """Return the observer of a model's batcher."""
        return ModelMetrics(self, name, version)

    def serve(
        self, name: str, version: str, provider: str, fixed_s: float, item_s: float, *,
        queued: Callable[[], int], fallback: bool,
    ) -> None:  # fmt: skip
        """Show a model that is served from now on; `queued` is called whenever the metrics are read."""
        self._model.labels(name, version, provider).set(1)
        self._fallback.labels(name, version).set(fallback)
        self._cost.labels(name, version, "fixed").set(fixed_s)
        self._cost.labels(name, version, "item").set(item_s)
        self._queues[name, version] = queued

    def forget(self, name: str, version: str, provider: str) -> None:
        """Hide a model that is no longer served, and release its batcher; its counters stay."""
        self._model.remove(name, version, provider)
        self._fallback.remove(name, version)
        self._queues.pop((name, version), None)
        self._waiting.clear()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        for labels, queued in list(self._queues.items()):
            self._waiting.labels(*labels).set(queued())
        return generate_latest(self.registry)


class StreamMetrics:
    """The observer of the streams of a route."""

    def __init__(self, metrics: Metrics, route: str) -> None:
        self._open, self._seconds = metrics._streams.labels(route), metrics._answered.labels(route)
        self._frames = {outcome: metrics._frames.labels(route, outcome) for outcome in OUTCOMES}

    def opened(self, by: int) -> None:
        """Count a stream that begins (1) or ends (-1)."""
        self._open.inc(by)

    def frames(self, outcome: str, count: int = 1) -> None:
        """Count frames by what became of them, one of OUTCOMES."""
        self._frames[outcome].inc(count)

    def answered(self, seconds: float) -> None:
        """Count and time an answered frame."""
        self.frames("answered")
        self._seconds.observe(seconds)


class ModelMetrics:
    """The observer of one model's batcher."""

    def __init__(self, metrics: Metrics, name: str, version: str) -> None:
        self._queue = metrics._queue.labels(name, version)
        self._compute = metrics._compute.labels(name, version)
        self._items = metrics._batch.labels(name, version)
        self._rejected = metrics._rejected.labels(name, version)

    def batch(self, items: int, queue_s: list[float], compute_s: float) -> None:
        """Record a batch: its size, each item's seconds in the queue, and the seconds in the model."""
        self._items.observe(items)
        self._compute.observe(compute_s)
        for seconds in queue_s:
            self._queue.observe(seconds)

    def rejected(self) -> None:
        """Count a rejected item."""
        self._rejected.inc()
