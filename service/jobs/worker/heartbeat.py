"""The heartbeat of a running job: renews its lease, sends its reports to the job table, and learns when it has to stop.

Only the lease is essential. A report that cannot be sent waits for the next beat.

A job is first asked to stop. One that does not stop is ended together with its process, after a time that grows with what it is doing: with
the length of its steps, and much further while it writes a file. Its checkpoints remain.
"""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from service.jobs.database import StoreUnavailable
from service.jobs.outage import Outage
from service.jobs.records import Lease, LostLease
from service.jobs.table import JobTable, Report

log = logging.getLogger("chiron.heartbeat")
StopReason = Literal["cancelled", "released", "lost"]
INTERVAL_S = 1.0
# From the request to the kill, if the job neither polls nor writes. Compose kills a worker 60 s after its SIGTERM.
GRACE_S: dict[StopReason, float] = {"cancelled": 2.5, "released": 45.0, "lost": 20.0}
GRACE_STEPS = 3  # a job that polls gets this many of its longest intervals in addition
ACTIVITY_GRACE_S = 600.0  # for a write; only a file system that hangs takes longer
MAX_PENDING = 10_000  # reports kept while the database does not answer


class Heartbeat:
    """A thread that beats while the context is entered. The training loop polls `should_stop`."""

    def __init__(
        self,
        table: JobTable,
        lease: Lease,
        lease_s: float,
        *,
        shutting_down: Callable[[], bool] = lambda: False,
        on_kill: Callable[[StopReason], None] = lambda reason: None,
        on_outage: Callable[[bool], None] = lambda begins: None,
    ) -> None:
        """Create the heartbeat of an attempt; `shutting_down` tells whether the worker ends.

        `on_kill` records the end of a job whose process is about to be killed. `on_outage` is called when the job table stops answering
        and when it answers again.
        """
        self._table, self._lease, self._lease_s = table, lease, lease_s
        self._shutting_down, self._on_kill, self._on_outage = shutting_down, on_kill, on_outage
        self._interval_s = min(INTERVAL_S, lease_s / 5)
        self._closing = threading.Event()
        self._beating = threading.Lock()  # held while a beat writes, and by whoever ends the job
        self._pending_lock = threading.Lock()
        self._pending: deque[Report] = deque(maxlen=MAX_PENDING)
        self._progress: dict[str, Any] | None = None
        self._outage, self._table_away = Outage(log, "the job table"), False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._activity: str | None = None
        self._activity_lock = threading.Lock()  # no activity begins while the process is about to be killed
        self._polled_at: float | None = None
        self._longest_poll_s = 0.0
        self._stop_requested_at = 0.0
        self.renewed_at = time.monotonic()
        self.stop_reason: StopReason | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    # --- for the job ---

    def should_stop(self) -> bool:
        """Return whether the job has to stop."""
        polled_at = time.monotonic()
        if self._polled_at is not None:
            self._longest_poll_s = max(self._longest_poll_s, polled_at - self._polled_at)
        self._polled_at = polled_at
        return self.stop_reason is not None

    def activity(self, activity: str | None) -> None:
        """Take note of something that must not be interrupted, such as the write of a file; None when it has ended."""
        with self._activity_lock:
            self._activity = activity

    def progress(self, progress: dict[str, Any]) -> None:
        """Replace the progress that the next beat sends."""
        with self._pending_lock:
            self._progress = progress

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Append measured values; the next beat sends all of them."""
        with self._pending_lock:
            self._pending.append(("metrics", metrics))

    def log(self, text: str) -> None:
        """Append a line to the job's log; the next beat sends it."""
        with self._pending_lock:
            self._pending.append(("log", {"text": text, "attempt": self._lease.attempt}))

    # --- beats ---

    def beat(self) -> None:
        """Renew the lease, learn whether the job has to stop, and send the reports. Raises LostLease, StoreUnavailable.

        StoreUnavailable means that the lease was not renewed: reports that cannot be sent are kept without an error.
        """
        with self._beating:
            if self._shutting_down():
                self._request_stop("released")
            state = self._table.renew(self._lease)
            self.renewed_at = time.monotonic()
            if state == "cancelling":
                self._request_stop("cancelled")
            self._send()
        self._set_away(False)
        self._outage.end()

    def _send(self) -> None:
        with self._pending_lock:
            reports, progress = list(self._pending), self._progress
            self._pending.clear()
            self._progress = None
        try:
            if reports or progress is not None:
                last: list[Report] = [] if progress is None else [("progress", progress)]
                self._table.report(self._lease, *reports, *last)
        except StoreUnavailable as error:
            log.warning("reports of job %s wait for the next beat: %s", self._lease.job, error)
            with self._pending_lock:
                self._pending.extendleft(reversed(reports))
                self._progress = self._progress or progress

    def _set_away(self, away: bool) -> None:
        if away != self._table_away:
            self._table_away = away
            self._on_outage(away)

    def _request_stop(self, reason: StopReason) -> None:
        if reason == self.stop_reason or (self.stop_reason is not None and reason == "released"):
            return
        self._stop_requested_at, self.stop_reason = time.monotonic(), reason

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            try:
                self.beat()
            except LostLease:
                self._request_stop("lost")
            except StoreUnavailable as error:
                self._outage.report(error)
                self._set_away(True)
                if time.monotonic() - self.renewed_at > self._lease_s:
                    self._request_stop("lost")
            except Exception as error:  # an unexpected error must not end the thread
                log.error("a beat failed", exc_info=error)
            if self.stop_reason is not None:
                self._kill_if_late(self.stop_reason)

    def _kill_if_late(self, reason: StopReason) -> None:
        """Record the end of a job that has not stopped in time for what it is doing, and kill its process."""
        grace_s = GRACE_S[reason] + GRACE_STEPS * self._longest_poll_s
        with self._activity_lock, self._beating:
            if self._activity is not None:
                grace_s = max(grace_s, ACTIVITY_GRACE_S)
            if self._closing.is_set() or time.monotonic() - self._stop_requested_at < grace_s:
                return
            log.warning("job %s has not stopped in time (%s); its process is killed", self._lease.job, reason)
            self._on_kill(reason)
            os.kill(os.getpid(), signal.SIGKILL)
