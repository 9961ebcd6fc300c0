"""A Redis transport for Kombu with two defects fixed that block or end a worker.

A failed acknowledgement blocks the worker for ever. With a prefetch count of one, a worker that runs a job does not listen, so it does not
notice that the broker has died. If the broker is still down when the job ends, the acknowledgement fails, the message still counts as
unacknowledged, and the worker waits without a connection. Here the message stops counting; the worker then listens, notices the broken
connection and reconnects. The message may be redelivered: a finished job does not run twice (service/jobs/table.py).

An entry of the queue that is not a message ends the worker. Here it is dropped.
"""

import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

log = logging.getLogger("chiron.transport")


class QoS(redis.QoS):
    """The unacknowledged messages of a channel."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message. Raises the connection's errors; the message stops counting as unacknowledged even then."""
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message. Raises the connection's errors; the message stops counting as unacknowledged even then."""
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """A channel with the QoS above that drops entries that are not messages."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        delivered: Any = self.qos._delivered
        before = set(delivered)
        try:
            return super()._brpop_read(**options)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.error("dropped an entry of the queue that is not a message: %s", error)
            for tag in set(delivered) - before:
                self.qos.reject(tag)
            raise Empty from error


class Transport(redis.Transport):
    """The Redis transport with the channel above."""

    Channel = Channel


def register_transport() -> None:
    """Use this transport for redis:// and rediss:// URLs. Call it before the first connection."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
