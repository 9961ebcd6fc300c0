"""The reconciler: makes the job table and the broker agree again after either has lost something.

It queues jobs again whose worker was lost. It resends queued jobs that the broker does not have because it was down or was emptied. A job
that is sent twice runs once.
"""

import logging

from service.jobs.database import StoreUnavailable
from service.jobs.outage import Outage
from service.jobs.queue.broker import EmbeddedBroker, NoBroker
from service.jobs.queue.celery_app import Sender
from service.jobs.table import JobTable

log = logging.getLogger("chiron.reconciler")


class Reconciler:
    """A thread that repairs job table and broker in rounds. Every API process runs one; they do not disturb each other."""

    def __init__(
        self, table: JobTable, sender: Sender, *, resend_s: float, broker: EmbeddedBroker | None = None
    ) -> None:
        self._table, self._sender, self._resend_s, self._broker = table, sender, resend_s, broker
        self._outage = Outage(log, "the reconciliation of jobs")

    def run_once(self) -> str | None:
        """Run one round. Errors are logged, and the next round tries again. Return why the job table cannot be used, or None."""
        try:
            if self._broker is not None:
                self._broker.ensure_running()
            for job in self._table.expire():
                log.warning("job %s lost its worker", job)
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
        """Resend unsent jobs. A queue of the broker is read once for all of them, and again for the same jobs after `resend_s`."""
        queued: dict[str, set[str] | None] = {}
        for job in self._table.unsent(self._resend_s):
            if job.sent_at is not None:
                if job.queue not in queued:
                    queued[job.queue] = self._sender.queued(job.queue)
                known = queued[job.queue]
                if known is None:
                    continue
                if job.id in known:
                    self._table.mark_sent(job.id)
                    continue
            if not self._sender.send(job):
                return  # the broker does not answer, so the other jobs would fail too
            self._table.mark_sent(job.id)
