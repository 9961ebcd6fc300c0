"""The Celery application: it carries job ids from the API to workers and nothing else.

A duplicate, late or lost message does no harm: see service/jobs/table.py and service/jobs/queue/reconciler.py.
"""

import json
import logging
import math
import time
import uuid
from collections.abc import Sequence

from billiard.util import get_logger as get_billiard_logger
from celery import Celery
from celery.signals import setup_logging
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from service.jobs.queue.broker import url_of
from service.jobs.queue.transport import register_transport
from service.jobs.records import Message, Queue
from service.settings import Settings
from service.telemetry.logs import log_json_lines

log = logging.getLogger("chiron.queues")
TASK = "chiron.job"
SENT_AT = "chiron_sent_at"  # the header with the time at which the database marked the job as sent
VISIBILITY_S = 7 * 24 * 3600  # above every time limit, so that the broker never redelivers the message of a running job
PAGE = 500  # messages sent at a time
LOOK = 8  # messages at a queue's head that are looked at, as some may not be ours
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

    def send(self, messages: Sequence[Message]) -> bool:
        """Send jobs to their queues, PAGE at a time, and return whether the broker has accepted all; if not, it may have some.

        After a broker did not answer, nothing is sent for some seconds: most requests do not wait for it then.
        """
        began = time.monotonic()
        if began < self._again_at:
            return False
        try:
            with self._app.producer_or_acquire() as producer, producer.batch(PAGE):
                for message in messages:
                    self._app.send_task(
                        TASK,
                        args=[message.job],
                        queue=message.queue,
                        task_id=f"{message.job}.{uuid.uuid4().hex}",
                        headers={SENT_AT: message.sent_at},
                        producer=producer,
                        retry=False,
                    )
        except (KombuError, OperationalError, RedisError, OSError) as error:
            log.warning("%d jobs could not be sent, the first is %s: %s", len(messages), messages[0].job, error)
            self._pause(began)
            return False
        return True

    def head_sent_at(self, queue: Queue) -> float | None:
        """Return when the job at the head of a queue of the broker was marked as sent; infinity if none is there.

        Return None if the broker does not answer, or did not a moment ago.
        """
        began = time.monotonic()
        if began < self._again_at:
            return None
        try:
            with self._app.connection_or_acquire() as connection:
                redis = connection.default_channel.client  # pyright: ignore[reportAttributeAccessIssue] - Redis' channel has one
                head = redis.lrange(queue, -LOOK, -1)  # messages are added at the left
        except (KombuError, OperationalError, RedisError, OSError):
            self._pause(began)
            return None
        times = (_sent_at(message) for message in reversed(head))
        unknown = 0.0 if len(head) == LOOK else math.inf
        return next((time for time in times if time is not None), unknown)

    def close(self) -> None:
        """Close the connections."""
        self._app.close()

    def _pause(self, began: float) -> None:
        """Ask the broker nothing for a time in proportion to how long it did not answer."""
        self._again_at = (failed_at := time.monotonic()) + PAUSE_FACTOR * (failed_at - began)


def _sent_at(message: bytes) -> float | None:
    """Return the time that a message carries: 0 for one of an older version, None for an entry that is no message of ours."""
    try:
        headers = json.loads(message)["headers"]
        return float(headers.get(SENT_AT, 0.0)) if headers["task"] == TASK else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
