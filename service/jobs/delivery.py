"""The queued jobs that the broker does not have: those that were not sent, and those whose message was lost.

Nothing is asked about a job that waits. A queue of the broker is first in, first out, and a message carries the time at which its job was
marked as sent. So if the message at the head of a queue was sent after a job, then the message of that job has left the queue. A job that
is still queued some time later has lost its message, and is sent again. Each look therefore costs a few steps in an index and one message
of the broker, however many jobs wait.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Engine, and_, func, select, update

from service.jobs.database import now, reading, writing
from service.jobs.records import Message, Queue
from service.jobs.schema import JOBS

ORDER_MARGIN_S = (
    2.0  # a job is marked before its message is sent; senders that do both at once may send in another order
)


class Deliveries:
    """The marks of queued jobs. Every method raises StoreUnavailable if the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self) -> tuple[float, list[Queue]]:
        """Return the database's time, and the queues of all queued jobs."""
        queues: list[Queue] = []
        following = select(func.min(JOBS.c.queue)).where(JOBS.c.state == "queued")
        with reading(self._engine) as connection:  # one step in the index a queue; DISTINCT would read all queued jobs
            time = connection.execute(now().select()).scalar_one()
            queue = connection.scalar(following)
            while queue is not None:
                queues.append(queue)
                queue = connection.scalar(following.where(JOBS.c.queue > queue))
        return time, queues

    def take(self, queue: Queue, passed: float | None, limit: int) -> list[Message]:
        """Mark up to `limit` jobs of a queue as sent now and return their messages, those that were sent first in front.

        These are the jobs that were not sent, and those that were sent before the time `passed`. Two processes never get the same job.
        """
        queued = and_(JOBS.c.state == "queued", JOBS.c.queue == queue)
        unsent = and_(queued, JOBS.c.sent_at.is_(None))
        if messages := self._mark(unsent, limit):
            return messages
        return [] if passed is None else self._mark(and_(queued, JOBS.c.sent_at < passed - ORDER_MARGIN_S), limit)

    def withdraw(self, messages: Sequence[Message]) -> None:
        """Record that messages were not sent after all."""
        ids = [message.job for message in messages]
        with writing(self._engine) as connection:
            own = and_(JOBS.c.id.in_(ids), JOBS.c.state == "queued")
            connection.execute(update(JOBS).where(own).values(sent_at=None))

    def _mark(self, wanted: ColumnElement[bool], limit: int) -> list[Message]:
        query = select(JOBS.c.id).where(wanted).order_by(JOBS.c.sent_at, JOBS.c.created_at).limit(limit)
        with reading(self._engine) as connection:
            if connection.scalar(query.limit(1)) is None:
                return []  # mostly; a look must not take the lock of writers
        with writing(self._engine) as connection:
            ids = list(connection.scalars(query.with_for_update(skip_locked=True)))
            marked = update(JOBS).where(JOBS.c.id.in_(ids)).values(sent_at=now())
            rows = connection.execute(marked.returning(JOBS.c.id, JOBS.c.queue, JOBS.c.sent_at))
            messages = {row.id: Message(row.id, row.queue, row.sent_at) for row in rows}
        return [messages[job] for job in ids]
