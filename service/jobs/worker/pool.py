"""Celery's pool of child processes, which counts the children that fail to start.

Celery replaces a child that dies or that does not report within `worker_proc_alive_timeout`, for ever and without telling anyone.
"""

import logging
import os
from typing import Any

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool

CHILD_LOG_LEVEL = "_MP_FORK_LOGLEVEL_"  # with this variable a child writes lines of text until it logs JSON
log = logging.getLogger("chiron.worker")


class StartCounter:
    """The number of child processes that have failed to start since the last that succeeded."""

    def __init__(self) -> None:
        self.failed = 0


STARTS = StartCounter()  # of this process, since Celery constructs the pool and has only one


class CountingPool(AsynPool):
    """A pool that tells STARTS about every child."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._started: set[int] = set()
        super().__init__(*arguments, **options)

    def on_process_alive(self, pid: int) -> None:
        """Take note that a child has reported."""
        self._started.add(pid)
        STARTS.failed = 0
        super().on_process_alive(pid)

    def _create_worker_process(self, i: int) -> Any:
        os.environ.pop(CHILD_LOG_LEVEL, None)
        return super()._create_worker_process(i)

    def _create_process_handlers(self, hub: Any) -> None:
        super()._create_process_handlers(hub)
        on_process_down = self.on_process_down

        def count_and_clean_up(process: Any) -> None:
            if process.pid not in self._started:
                STARTS.failed += 1
                log.error("a child process has ended before it was ready; failed starts in a row: %d", STARTS.failed)
            self._started.discard(process.pid)
            on_process_down(process)

        self.on_process_down = count_and_clean_up


class TaskPool(prefork.TaskPool):
    """The pool to name in Celery's setting `worker_pool`."""

    Pool = CountingPool
