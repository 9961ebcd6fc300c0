"""Calls without a network: what to send, when to send it again, and how to read the answer.

An `Action` makes a generator of steps. A client takes each step, a request to send or seconds to wait, sends the reply back, and gets the
result in the end. `Client` and `AsyncClient` differ in how they take a step, and in nothing else.
"""

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chiron_client.problems import Unreachable, problem_of

T = TypeVar("T")
JSON, MSGPACK, NPY, OCTETS, ZIP = (
    "application/json", "application/msgpack", "application/x-npy", "application/octet-stream", "application/zip"
)  # fmt: skip
BACK_OFF_S = 0.25  # before the second try, where the service names no time; doubled before each further one
AGAIN = (429, 503)


@dataclass(frozen=True)
class Request:
    """An HTTP request; `content` that is a path is sent from that file, `files` as a form with the `fields`."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Path | None = None
    files: Sequence[tuple[str, tuple[str, bytes]]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Seconds to wait before the next step."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """An answer to a request; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Lost:
    """A request that got no answer; `sent` is False where no connection was made, so that it may be sent again."""

    error: Exception
    sent: bool


Steps = Generator[Request | Wait, Reply | Lost | None, T]


@dataclass(frozen=True)
class Retries:
    """The number of further tries of a call, and the longest time of waiting for them.

    The service is asked again after 429, 503 and where no connection was made, after the seconds of its Retry-After. `times` is the largest
    number of further tries, and `longest_s` the longest sum of their waits: a call that would wait longer fails at once.
    """

    times: int = 4
    longest_s: float = 30.0

    def steps(self, request: Request, read: Callable[[Reply], T]) -> Steps[T]:
        """Yield the requests and waits of a call; return what `read` makes of the answer. Raises Problem and Unreachable."""
        waited = 0.0
        for number in range(self.times + 1):
            reply = yield request
            if isinstance(reply, Reply) and reply.status < 400:
                return read(reply)
            if isinstance(reply, Reply):
                error = problem_of(reply.status, reply.headers, reply.content)
                again, after = error.status in AGAIN, error.retry_after
            else:
                assert reply is not None, "a request gets a reply"
                error, again, after = Unreachable(str(reply.error) or repr(reply.error)), not reply.sent, None
                error.__cause__ = reply.error
            pause = BACK_OFF_S * 2**number * random.uniform(1.0, 1.5) if after is None else after
            if not again or number == self.times or waited + pause > self.longest_s:
                raise error
            waited += pause
            yield Wait(pause)
        raise AssertionError("the last try returns or raises")


Action = Callable[[Retries], Steps[T]]


def call(request: Request, read: Callable[[Reply], T]) -> Action[T]:
    """Return the action of one request."""
    return lambda retries: retries.steps(request, read)


def get(path: str, read: Callable[[Any], T], **params: object) -> Action[T]:
    """Return the action that reads a document of JSON; parameters that are None are left out."""
    return call(Request("GET", path, query(params)), lambda reply: read(msgspec.json.decode(reply.content)))


def post(path: str, body: Mapping[str, Any] | None, read: Callable[[Any], T], **headers: str) -> Action[T]:
    """Return the action that posts a document of JSON and reads one."""
    content = None if body is None else msgspec.json.encode(body)
    headers = {**headers, **({} if body is None else {"content-type": JSON})}
    request = Request("POST", path, headers=headers, content=content)
    return call(request, lambda reply: read(msgspec.json.decode(reply.content)))


def query(params: Mapping[str, object]) -> dict[str, str]:
    """Return parameters of a query or fields of a form as text, without those that are None."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
        if value is not None
    }
