"""The Celery task: receives the id of a job and runs one attempt at it in a child process of the worker."""

import os
from typing import Any

from celery import shared_task
from celery.signals import worker_process_init

from service.jobs.queue.celery_app import TASK
from service.jobs.worker.attempt import attempt_job
from service.jobs.worker.kinds import run_kind
from service.settings import Settings
from service.telemetry.logs import log_json_lines

WORKER_NAME = "CHIRON_WORKER_NAME"  # the environment variable that tells a child process its worker's name


@shared_task(name=TASK, bind=True, acks_late=True, retry_on_worker_lost=True, max_retries=2)
def job(_: Any, job_id: str) -> None:
    """Run one attempt at a job."""
    attempt_job(Settings(), job_id, os.environ.get(WORKER_NAME, "worker"), run_kind)


@worker_process_init.connect
def _log_of_child(**_: Any) -> None:
    log_json_lines()
