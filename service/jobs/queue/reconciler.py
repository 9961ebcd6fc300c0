"""What makes the job table and the broker agree again, whatever either has forgotten.

Jobs whose worker is lost are queued again; jobs that wait and that the broker does not know, because it was down when they
came, or was emptied since, are sent again. A job that is sent twice is run once.
"""

import logging

from service.jobs.database import StoreUnavailable
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.jobs.queue.celery_app import Sender
from service.jobs.table import JobTable

log = logging.getLogger("chiron.reconciler")


class Reconciler:
    """`look` puts right what is wrong; every process that serves does so, and they do not hinder each other."""

    def __init__(
        self, table: JobTable, sender: Sender, *, resend_s: float, broker: EmbeddedBroker | None = None
    ) -> None:
        self._table, self._sender, self._resend_s, self._broker = table, sender, resend_s, broker

    def look(self) -> None:
        """One round. What fails is logged and tried again in the next."""
        try:
            if self._broker is not None:
                self._broker.keep()
            for job in self._table.expire():
                log.warning("job %s lost its worker", job)
            self._send()
        except (StoreUnavailable, NoBroker) as error:
            log.error("%s", error)
        except Exception as error:  # whatever it is, the next round comes
            log.error("a round failed", exc_info=error)

    def _send(self) -> None:
        waiting: dict[str, set[str] | None] = {}
        for job in self._table.unsent(self._resend_s):
            if job.sent_at is not None:
                if job.queue not in waiting:
                    waiting[job.queue] = self._sender.waiting(job.queue)
                known = waiting[job.queue]
                if known is None or job.id in known:
                    continue
            if not self._sender.send(job):
                return  # the broker is away: so will it be for the others
            self._table.sent(job.id)
