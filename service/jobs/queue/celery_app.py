"""Celery as it is used here: it carries the ids of jobs from the API to workers, and knows nothing else about them.

A message that comes twice, or late, or not at all does no harm: see service/jobs/table.py and service/jobs/queue/reconciler.py.
"""

import json
import logging
import uuid

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from service.jobs.queue.broker import url_of
from service.jobs.queue.transport import mend
from service.jobs.table import Job, Queue
from service.settings import Settings

log = logging.getLogger("chiron.queues")
TASK = "chiron.job"
VISIBILITY_S = 7 * 24 * 3600  # above every time limit: the broker must not hand out again what is still being done
AFTER_SOFT_LIMIT_S = 300.0


def celery_app(settings: Settings) -> Celery:
    """The app of a worker, or of who sends to one. Raises NoBroker."""
    mend()
    app = Celery("chiron", broker=url_of(settings), include=["service.jobs.worker.kinds"], set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,  # how a job ends is in the job table
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_soft_time_limit=settings.job_limit_s,
        task_time_limit=settings.job_limit_s + AFTER_SOFT_LIMIT_S,
        task_default_queue="cpu",
        task_create_missing_queues=True,
        task_publish_retry=False,  # the reconciler sends again what could not be sent
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool_start_method="spawn",  # a forked child cannot use CUDA
        worker_max_tasks_per_child=settings.jobs_a_process,
        worker_lost_wait=1.0,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S,
            "socket_connect_timeout": 3,
            "socket_timeout": 10,
        },
    )
    return app


class Sender:
    """Tells workers, through the broker, that there is a job."""

    def __init__(self, settings: Settings) -> None:
        """Raises NoBroker."""
        self._app = celery_app(settings)
        self._app.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0, "interval_step": 0}

    def send(self, job: Job) -> bool:
        """Whether the broker has it."""
        try:
            self._app.send_task(
                TASK, args=[job.id], queue=job.queue, task_id=f"{job.id}.{uuid.uuid4().hex}", retry=False
            )
        except (KombuError, OperationalError, RedisError, OSError) as error:
            log.warning("job %s could not be sent: %s", job.id, error)
            return False
        return True

    def waiting(self, queue: Queue) -> set[str] | None:
        """The ids of jobs that wait in a queue of the broker, None if it does not answer."""
        try:
            with self._app.connection_for_read() as connection:
                messages = connection.default_channel.client.lrange(queue, 0, -1)  # pyright: ignore[reportAttributeAccessIssue] - Redis' channel has one
        except (KombuError, OperationalError, RedisError, OSError):
            return None
        return {_job_of(message) for message in messages}

    def close(self) -> None:
        """Let go of the connections."""
        self._app.close()


def _job_of(message: bytes) -> str:
    try:
        return str(json.loads(message)["headers"]["id"]).partition(".")[0]
    except (ValueError, LookupError, TypeError):
        return ""  # a stranger's
