"""The heartbeat of a job: renews its lease, carries what it says to the job table, and learns when it has to stop.

A job is asked to stop first. One that does not within the grace is ended from here, together with its process: what it
had checkpointed before stays.
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
from service.jobs.table import JobTable, Lease, LostLease
from service.jobs.workers import WorkerTable

log = logging.getLogger("chiron.heart")
Reason = Literal["cancelled", "released", "lost"]
BEAT_S = 1.0
GRACE_S: dict[Reason, float] = {"cancelled": 2.0, "released": 20.0, "lost": 20.0}


class Heart:
    """Beats in a thread while it is entered. `stop` is what a training loop asks."""

    def __init__(self, table: JobTable, workers: WorkerTable, lease: Lease, lease_s: float) -> None:
        self._table, self._workers, self._lease, self._lease_s = table, workers, lease, lease_s
        self._parent = os.getppid()
        self._beat_s = min(BEAT_S, lease_s / 5)
        self._over = threading.Event()
        self._beating = threading.Lock()  # held while a beat writes, and by who ends the job
        self._metrics: deque[dict[str, Any]] = deque()
        self._progress: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self.reason: Reason | None = None
        self._asked = 0.0  # when the reason came up

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def stop(self) -> bool:
        """Whether the job has to stop."""
        return self.reason is not None

    def progress(self, said: dict[str, Any]) -> None:
        """How far it is: the newest counts."""
        self._progress = said

    def metrics(self, said: dict[str, Any]) -> None:
        """Measured values: every one is kept."""
        self._metrics.append(said)

    def beat(self) -> None:
        """Say what there is to say, and look whether to stop. Raises LostLease, StoreUnavailable."""
        with self._beating:
            progress, self._progress = self._progress, None
            state = self._table.renew(self._lease, progress=progress)
            while self._metrics:
                state = self._table.renew(self._lease, metrics=self._metrics[0])
                self._metrics.popleft()
        if state == "cancelling":
            self._ask("cancelled")
        elif self.reason is None and (os.getppid() != self._parent or self._workers.stopping(self._lease.worker)):
            self._ask("released")

    def _ask(self, reason: Reason) -> None:
        if reason != self.reason:
            self._asked, self.reason = time.monotonic(), reason

    def _run(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(self._beat_s):
            try:
                self.beat()
                renewed = time.monotonic()
            except LostLease:
                self._ask("lost")
            except StoreUnavailable:
                if time.monotonic() - renewed > self._lease_s:
                    self._ask("lost")
            except Exception as error:  # whatever it is, the next beat comes
                log.error("a beat failed", exc_info=error)
            if self.reason is not None and time.monotonic() - self._asked >= GRACE_S[self.reason]:
                self._end(self.reason)

    def _end(self, reason: Reason) -> None:
        """The job did not stop: end it here, and the process that it keeps busy."""
        with self._beating:
            if self._over.is_set():
                return
            try:
                if reason == "cancelled":
                    self._table.finish(self._lease, "cancelled")
                elif reason == "released":
                    self._table.release(self._lease)
            except (LostLease, StoreUnavailable) as error:
                log.warning("%s", error)
            os.kill(os.getpid(), signal.SIGKILL)
