"""Kombu's Redis transport, mended in two places, in which it stops a worker or ends it.

A message that could not be acknowledged keeps its worker from the next one. With one message at a time, a worker that runs a
job listens to nothing, so that it does not see the broker die. If the broker is still away when the job ends, the
acknowledgement fails, the message stays counted as being worked on, and the worker waits for ever, connected to nobody. Here
its place is given back; the worker then listens, sees that the connection is gone, and makes another. The message itself may
come again: a job that is over is not run twice (service/jobs/table.py).

What is in a queue and is no message at all ends the worker. Here it is dropped.
"""

import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

log = logging.getLogger("chiron.transport")


class QoS(redis.QoS):
    """What is being worked on, and has not been acknowledged."""

    def ack(self, delivery_tag: str) -> None:
        """Raises the connection's errors, and then the broker has not heard of it."""
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Raises the connection's errors, and then the broker has not heard of it."""
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """With what is worked on counted as above, and with nothing but messages."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        held: Any = self.qos._delivered
        before = set(held)
        try:
            return super()._brpop_read(**options)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.error("dropped what is no message: %s", error)
            for tag in set(held) - before:
                self.qos.reject(tag)
            raise Empty from error


class Transport(redis.Transport):
    """With channels as above."""

    Channel = Channel


def mend() -> None:
    """Have redis:// and rediss:// URLs mean this transport. Call it before anything is connected."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
