"""Prometheus metrics of jobs, workers and the state folder's disk."""

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from service.jobs.workers import Worker

MEASURED_QUEUES = ("cpu", "gpu")  # have values even if no worker listens to them


class JobMetrics:
    """The gauges of one app."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(name, documentation, labels, registry=registry)

        self._jobs = gauge("chiron_jobs", "Jobs in the table", "state", "queue")
        self._workers = gauge("chiron_workers", "Workers connected", "queue")
        self._failed_starts = gauge(
            "chiron_worker_failed_starts",
            "Child processes of connected workers that failed to start, in a row",
            "queue",
        )
        self._problems = gauge("chiron_worker_problems", "Connected workers that report a problem", "queue")
        self._disk_bytes = gauge("chiron_disk_bytes", "Bytes in the state folder", "folder")
        self._disk_free_bytes = gauge("chiron_disk_free_bytes", "Free bytes on the state folder's disk")

    def set_jobs(self, counts: Mapping[tuple[str, str], int], workers: Iterable[Worker]) -> None:
        """Set the number of jobs per (state, queue), and what the connected workers report."""
        connected, failed_starts, problems = Counter[str](), Counter[str](), Counter[str]()
        for worker in workers:
            for queue in worker.queues:
                connected[queue] += 1
                failed_starts[queue] += worker.failed_starts
                problems[queue] += worker.problem is not None
        self._jobs.clear()
        for (state, queue), count in counts.items():
            self._jobs.labels(state, queue).set(count)
        for gauge, values in (
            (self._workers, connected),
            (self._failed_starts, failed_starts),
            (self._problems, problems),
        ):
            gauge.clear()
            for queue in {*MEASURED_QUEUES, *connected}:
                gauge.labels(queue).set(values[queue])

    def set_disk(self, sizes: Mapping[str, int]) -> None:
        """Set the bytes of the state folder's parts."""
        for folder, size in sizes.items():
            self._disk_bytes.labels(folder).set(size)

    def set_free(self, size: int) -> None:
        """Set the free bytes on the disk."""
        self._disk_free_bytes.set(size)
