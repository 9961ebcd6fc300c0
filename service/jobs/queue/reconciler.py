"""The reconciler: makes the job table and the broker agree again after either has lost something.

It queues jobs again whose worker was lost, and sweeps whose trainings have ended. It sends queued jobs that the broker does not have
because it was down or was emptied. A job that is sent twice runs once. A round costs the same for ten queued jobs as for 100,000
(service/jobs/delivery.py).
"""

import logging
import math
import time
from collections import deque

from service.jobs.database import StoreUnavailable
from service.jobs.delivery import Deliveries
from service.jobs.outage import Outage
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.jobs.queue.celery_app import PAGE, Sender
from service.jobs.records import Queue
from service.jobs.table import JobTable

log = logging.getLogger("chiron.reconciler")
PAGES = 4  # sent in one round, so that other work of a round is not late


class Reconciler:
    """A thread that repairs job table and broker in rounds. Every API process runs one; they do not disturb each other."""

    def __init__(
        self,
        table: JobTable,
        deliveries: Deliveries,
        sender: Sender,
        *,
        resend_s: float,
        broker: EmbeddedBroker | None = None,
    ) -> None:
        self._table, self._deliveries, self._sender = table, deliveries, sender
        self._resend_s, self._broker = resend_s, broker
        self._heads: dict[Queue, deque[tuple[float, float]]] = {}
        self._outage = Outage(log, "the reconciliation of jobs")

    def run_once(self) -> str | None:
        """Run one round. Errors are logged, and the next round tries again. Return why the job table cannot be used, or None."""
        try:
            if self._broker is not None:
                self._broker.ensure_running()
            for job in self._table.expire():
                log.warning("job %s lost its worker", job)
            self._table.settle()
            self._resend()
            self._outage.end()
        except StoreUnavailable as error:
            self._outage.report(error)
            return str(error)
        except NoBroker as error:
            self._outage.report(error)
        except Exception as error:  # an unexpected error must not end the thread
            log.error("a round of the reconciler failed", exc_info=error)
        return None

    def _resend(self) -> None:
        """Send the queued jobs that were not sent, and those whose message was lost."""
        time_now, queues = self._deliveries.waiting()
        for queue in queues:
            head = self._sender.head_sent_at(queue)
            if head is None:
                return  # the broker does not answer
            passed = self._passed(queue, time_now if math.isinf(head) else head)
            for _ in range(PAGES):
                messages = self._deliveries.take(queue, passed, PAGE)
                if messages and not self._sender.send(messages):
                    self._deliveries.withdraw(messages)
                    return
                if len(messages) < PAGE:
                    break

    def _passed(self, queue: Queue, head: float) -> float | None:
        """Return a time that the head of a queue was past in all looks of the last `resend_s`, or None if these are too few."""
        looks, now = self._heads.setdefault(queue, deque()), time.monotonic()
        looks.append((now, head))
        while len(looks) > 1 and looks[1][0] <= now - self._resend_s:
            looks.popleft()
        return min(head for _, head in looks) if looks[0][0] <= now - self._resend_s else None
