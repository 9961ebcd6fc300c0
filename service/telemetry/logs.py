"""Logs: every record as a line of JSON, those of requests written together."""

import asyncio
import logging
import time
from contextlib import suppress

import orjson

ACCESS = "chiron.access"  # the logger of requests

TOGETHER_S, MOST_TOGETHER = (
    0.1,
    256,
)  # lines of requests that are written together: the time of the first, and their number


class JsonLines(logging.Formatter):
    """A formatter of log records as one line of JSON: time (UTC), level, logger, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class Together(logging.StreamHandler):
    """A handler that writes the lines of several requests at a time. Every other record is written at once, with the lines before it."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or keep the line of a request for TOGETHER_S."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # as every handler of the library: an error of the log must not stop what is logged
            return self.handleError(record)
        if record.name != ACCESS or len(self._lines) == MOST_TOGETHER:
            self.flush()
        elif len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(TOGETHER_S, self.flush)
            except RuntimeError:  # no event loop would write it later
                self.flush()

    def flush(self) -> None:
        """Write what is kept; the library calls this at the end of the process too."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            with suppress(OSError, ValueError):  # the stream is closed, and there is nowhere to say so
                if lines:
                    self.stream.write("\n".join((*lines, "")))
                super().flush()
        finally:
            self.release()


def log_json_lines(level: int = logging.INFO, *, requests: bool = True) -> None:
    """Send every logger's records to standard error as lines of JSON, with or without one for each of the `requests`."""
    handler = Together()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger(ACCESS).setLevel(logging.NOTSET if requests else logging.WARNING)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # a line has none of these
