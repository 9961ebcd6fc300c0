"""The heartbeat of a running job: renews its lease, sends its reports to the job table, and learns when it has to stop.

A job is first asked to stop. If it does not stop within the grace period, the heartbeat ends the job and kills its process. Its checkpoints
remain.
"""

import logging
import os
import signal
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Literal, Self

from service.jobs.database import StoreUnavailable
from service.jobs.records import Lease, LostLease
from service.jobs.table import JobTable
from service.jobs.workers import WorkerTable

log = logging.getLogger("chiron.heartbeat")
StopReason = Literal["cancelled", "released", "lost"]
INTERVAL_S = 1.0
GRACE_S: dict[StopReason, float] = {"cancelled": 2.0, "released": 20.0, "lost": 20.0}


class Heartbeat:
    """A thread that beats while the context is entered. The training loop polls `should_stop`."""

    def __init__(self, table: JobTable, workers: WorkerTable, lease: Lease, lease_s: float) -> None:
        self._table, self._workers, self._lease, self._lease_s = table, workers, lease, lease_s
        self._parent = os.getppid()
        self._interval_s = min(INTERVAL_S, lease_s / 5)
        self._closing = threading.Event()
        self._beating = threading.Lock()  # held while a beat writes, and by whoever ends the job
        self._metrics: deque[dict[str, Any]] = deque()
        self._progress: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.stop_reason: StopReason | None = None
        self._stop_requested_at = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def should_stop(self) -> bool:
        """Return whether the job has to stop."""
        return self.stop_reason is not None

    def report_progress(self, progress: dict[str, Any]) -> None:
        """Replace the progress that the next beat sends."""
        self._progress = progress

    def report_metrics(self, metrics: dict[str, Any]) -> None:
        """Append measured values; the next beat sends all of them."""
        self._metrics.append(metrics)

    def beat(self) -> None:
        """Send the reports, and learn whether the job has to stop. Raises LostLease, StoreUnavailable."""
        with self._beating:
            progress, self._progress = self._progress, None
            state = self._table.renew(self._lease, progress=progress)
            while self._metrics:
                state = self._table.renew(self._lease, metrics=self._metrics[0])
                self._metrics.popleft()
        if state == "cancelling":
            self._request_stop("cancelled")
        elif self.stop_reason is None and (
            os.getppid() != self._parent or self._workers.stop_requested(self._lease.worker)
        ):
            self._request_stop("released")

    def _request_stop(self, reason: StopReason) -> None:
        if reason != self.stop_reason:
            self._stop_requested_at, self.stop_reason = time.monotonic(), reason

    def _run(self) -> None:
        renewed_at = time.monotonic()
        while not self._closing.wait(self._interval_s):
            try:
                self.beat()
                renewed_at = time.monotonic()
            except LostLease:
                self._request_stop("lost")
            except StoreUnavailable:
                if time.monotonic() - renewed_at > self._lease_s:
                    self._request_stop("lost")
            except Exception as error:  # an unexpected error must not end the thread
                log.error("a beat failed", exc_info=error)
            if self.stop_reason is not None and time.monotonic() - self._stop_requested_at >= GRACE_S[self.stop_reason]:
                self._kill(self.stop_reason)

    def _kill(self, reason: StopReason) -> None:
        """End a job that has not stopped in time, and kill its process."""
        with self._beating:
            if self._closing.is_set():
                return
            try:
                if reason == "cancelled":
                    self._table.finish(self._lease, "cancelled")
                elif reason == "released":
                    self._table.release(self._lease)
            except (LostLease, StoreUnavailable) as error:
                log.warning("%s", error)
            os.kill(os.getpid(), signal.SIGKILL)
