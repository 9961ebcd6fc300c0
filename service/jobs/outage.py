"""Logging of outages: one line when something stops working, one when it works again, none in between."""

import logging


class Outage:
    """An outage of one service, which is looked at again and again."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        """Watch an outage; `name` is the subject of the line that reports its end."""
        self._log, self._name = log, name
        self._reason: str | None = None

    def report(self, error: Exception) -> None:
        """Log the error unless it is the one that was logged last."""
        reason = str(error)
        if reason != self._reason:
            self._log.error("%s", reason)
        self._reason = reason

    def end(self) -> None:
        """Log the end of the outage if there was one."""
        if self._reason is not None:
            self._log.info("%s works again", self._name)
        self._reason = None
