"""The Celery task: receives the id of a job and runs one attempt at it in a child process of the worker."""

import os
from pathlib import Path
from typing import Any

from celery import shared_task

from service.jobs.queue.celery_app import TASK
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.settings import Settings

# environment variables with which a worker tells its child processes its name, and the path of a file that exists once it shuts down
WORKER_NAME, STOP_FILE = "CHIRON_WORKER_NAME", "CHIRON_WORKER_STOP_FILE"


@shared_task(name=TASK, bind=True, acks_late=True, retry_on_worker_lost=True, max_retries=2)
def job(_: Any, job_id: str) -> None:
    """Run one attempt at a job. Raises StoreUnavailable if it cannot be claimed; the reconciler sends it again."""
    parent, stop_file = os.getppid(), Path(os.environ.get(STOP_FILE, "/nonexistent"))

    def shutting_down() -> bool:
        return os.getppid() != parent or stop_file.exists()

    attempt_job(Settings(), job_id, os.environ.get(WORKER_NAME, "worker"), run_kind, shutting_down)
