"""The Celery application: it carries job ids from the API to workers and nothing else.

A duplicate, late or lost message does no harm: see service/jobs/table.py and service/jobs/queue/reconciler.py.
"""

import json
import logging
import time
import uuid

from billiard.util import get_logger as get_billiard_logger
from celery import Celery
from celery.signals import setup_logging
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from service.jobs.queue.broker import url_of
from service.jobs.queue.transport import register_transport
from service.jobs.records import Job, Queue
from service.settings import Settings
from service.telemetry.logs import log_json_lines

log = logging.getLogger("chiron.queues")
TASK = "chiron.job"
VISIBILITY_S = 7 * 24 * 3600  # above every time limit, so that the broker never redelivers the message of a running job
PAGE = 1000  # messages read at a time
SEND_TIMEOUT_S = 3.0  # of a sender, which requests wait for
PAUSE_FACTOR = 3.0  # a sender waits so many times as long as a failed attempt took before it tries again
HARD_LIMIT_DELAY_S = 300.0  # after the soft limit the child process is killed


def celery_app(settings: Settings) -> Celery:
    """Return the Celery application of a worker or of a sender. Raises NoBroker."""
    register_transport()
    app = Celery("chiron", broker=url_of(settings), include=["service.jobs.worker.task"], set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,  # results are in the job table
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_soft_time_limit=settings.job_limit_s,
        task_time_limit=settings.job_limit_s + HARD_LIMIT_DELAY_S,
        task_default_queue="cpu",
        task_create_missing_queues=True,
        task_publish_retry=False,  # the reconciler resends
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="service.jobs.worker.pool:TaskPool",
        worker_proc_alive_timeout=settings.child_start_limit_s,
        worker_pool_start_method="spawn",  # a forked child cannot use CUDA
        worker_max_tasks_per_child=settings.jobs_a_process,
        worker_lost_wait=1.0,
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
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


@setup_logging.connect
def _set_up_logging(**_: object) -> None:
    """Log lines of JSON in workers and their child processes; Celery sets up nothing itself if this signal has a receiver."""
    log_json_lines()
    logging.captureWarnings(True)
    get_billiard_logger().propagate = True  # billiard's own, which writes text otherwise


class Sender:
    """The sending side of the queue."""

    def __init__(self, settings: Settings) -> None:
        """Open the application without connecting. Raises NoBroker."""
        self._app = celery_app(settings)
        timeouts = {"socket_connect_timeout": SEND_TIMEOUT_S, "socket_timeout": SEND_TIMEOUT_S}
        self._app.conf.broker_transport_options |= {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            **timeouts,
        }
        self._again_at = 0.0

    def send(self, job: Job) -> bool:
        """Send a job to its queue and return whether the broker has accepted it.

        After a broker did not answer, nothing is sent for some seconds: most requests do not wait for it then.
        """
        began = time.monotonic()
        if began < self._again_at:
            return False
        try:
            self._app.send_task(
                TASK, args=[job.id], queue=job.queue, task_id=f"{job.id}.{uuid.uuid4().hex}", retry=False
            )
        except (KombuError, OperationalError, RedisError, OSError) as error:
            log.warning("job %s could not be sent: %s", job.id, error)
            self._again_at = (failed_at := time.monotonic()) + PAUSE_FACTOR * (failed_at - began)
            return False
        return True

    def queued(self, queue: Queue) -> set[str] | None:
        """Return the ids of the jobs in a queue of the broker, or None if it does not answer."""
        ids: set[str] = set()
        read = 0
        try:
            with self._app.connection_for_read() as connection:
                redis = connection.default_channel.client  # pyright: ignore[reportAttributeAccessIssue] - Redis' channel has one
                # from the end where messages are added: one that moves because of new ones is read twice, not missed
                while page := redis.lrange(queue, read, read + PAGE - 1):
                    ids.update(_job_of(message) for message in page)
                    read += PAGE
        except (KombuError, OperationalError, RedisError, OSError):
            return None
        return ids

    def close(self) -> None:
        """Close the connections."""
        self._app.close()


def _job_of(message: bytes) -> str:
    try:
        return str(json.loads(message)["headers"]["id"]).partition(".")[0]
    except (ValueError, LookupError, TypeError):
        return ""  # not one of our messages
