"""Errors of a call: a problem that the service answers with, an answer that never came, and a job that failed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


class ChironError(Exception):
    """An error of a call to the service."""


class Unreachable(ChironError):
    """A request without an answer: no connection, a connection that broke, or a timeout."""


class JobFailed(ChironError):
    """A job that ended as failed or cancelled; the message has the reason."""


@dataclass(frozen=True)
class Fault:
    """A fault in a request: a JSON pointer into its body, or ?name for a parameter of its query, and what was expected there."""

    pointer: str
    detail: str


class Problem(ChironError):
    """An RFC 9457 problem, as the service answers with; its subclasses are its statuses.

    `kind` is stable, such as "too-few-frames"; docs/service.md lists them. `detail` says what was expected and what came. `faults` point
    into the request. `request_id` finds it in the service's log. `retry_after` is in seconds, if the service named a time. `index` is that
    of the item, in a batch.
    """

    def __init__(self, document: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.kind = str(document.get("type", "about:blank")).rpartition("/")[2]
        self.title = str(document.get("title", ""))
        self.status = int(document.get("status", 0))
        self.detail = str(document.get("detail", ""))
        self.faults = tuple(msgspec.convert(document.get("errors", ()), tuple[Fault, ...]))
        self.request_id = str(document.get("instance", "")).rpartition(":")[2]
        self.index: int | None = document.get("index")
        self.retry_after = retry_after
        super().__init__(f"{self.kind} ({self.status}): {self.detail}")

    @staticmethod
    def of(document: Mapping[str, Any], *, retry_after: float | None = None) -> "Problem":
        """Return the problem of a document, as the subclass of its status."""
        return BY_STATUS.get(int(document.get("status", 0)), Problem)(document, retry_after=retry_after)


class BadRequest(Problem):
    """400: the body or the file cannot be read."""


class Unauthorized(Problem):
    """401: the service needs a valid API key."""


class Forbidden(Problem):
    """403: the key lacks the scope, or the origin is foreign."""


class NotFound(Problem):
    """404: no such path, model, version, job, file or data set."""


class Conflict(Problem):
    """409: the state of a job, a model or a data set does not allow this."""


class TooLarge(Problem):
    """413: the body, the scan, the clip or the batch is beyond a limit."""


class UnsupportedMedia(Problem):
    """415: the format of the body is not known."""


class InvalidRequest(Problem):
    """422: a field is invalid, or what was sent is implausible; `faults` point at it."""


class TooManyRequests(Problem):
    """429: the caller has sent more than it may; `retry_after` says when to go on."""


class ServiceFailed(Problem):
    """500: a fault of the service; report the `request_id`."""


class Unavailable(Problem):
    """503: the service is full, not ready, or without its job table."""


BY_STATUS: dict[int, type[Problem]] = {
    400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 413: TooLarge, 415: UnsupportedMedia,
    422: InvalidRequest, 429: TooManyRequests, 500: ServiceFailed, 503: Unavailable,
}  # fmt: skip


def problem_of(status: int, headers: Mapping[str, str], content: bytes) -> Problem:
    """Return the problem of an answer with an error status; one that is no problem document is a proxy's."""
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
        msgspec.convert(document.get("errors", ()), tuple[Fault, ...])
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = {"detail": content[:200].decode(errors="replace")}
    try:
        after = float(headers.get("retry-after", "nan"))
    except ValueError:  # a date, which the service does not send
        after = math.nan
    return Problem.of({**document, "status": status}, retry_after=None if math.isnan(after) else after)
