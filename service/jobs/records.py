"""Rows of the job table as values, the states of a job, and the errors that the table raises."""

import re
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
Queue = str  # "cpu" or "gpu"; with the number of devices if a job needs several: "gpu.2"
LEASED: tuple[State, ...] = ("running", "cancelling")
FINISHED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
UNFINISHED: tuple[State, ...] = ("queued", *LEASED)
POSITION = re.compile(r"(\d{1,12}\.\d{1,9})-([0-9a-f]{32})")


class UnknownJob(LookupError):
    """A job id that is not in the table."""


class WrongState(ValueError):
    """A request that the job's state does not allow."""


class KeyReused(ValueError):
    """An Idempotency-Key that was used before with a different spec."""


class LostLease(Exception):
    """A write by an attempt whose lease has expired or has gone to another worker."""


@dataclass(frozen=True)
class Job:
    """A row of the job table. Times are seconds since 1970; `events` is the number of the last event, `parent` the sweep of a training."""

    id: str
    kind: str
    spec: dict[str, Any]
    queue: Queue
    state: State
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempt: int
    losses: int
    worker: str | None
    lease_until: float | None
    sent_at: float | None
    progress: dict[str, Any] | None
    metrics: dict[str, Any] | None
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    events: int
    parent: str | None = None

    @property
    def position(self) -> "Position":
        """Return the job's place in the list of all jobs."""
        return Position(self.created_at, self.id)


@dataclass(frozen=True)
class Position:
    """A place in the list of jobs, newest first. It stays valid when its job is removed."""

    created_at: float
    id: str

    def __str__(self) -> str:
        return f"{self.created_at!r}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """Return the place that a text names, or None if it has another form."""
        match = POSITION.fullmatch(text)
        return match and cls(float(match[1]), match[2])


@dataclass(frozen=True)
class Message:
    """A job on its way to a worker: its queue, and when the database marked it as sent."""

    job: str
    queue: Queue
    sent_at: float

    @classmethod
    def of(cls, job: Job) -> "Message":
        """Return the message of a job that was just submitted or retried."""
        assert job.sent_at is not None, "expected a job that is marked as sent"
        return cls(job.id, job.queue, job.sent_at)


@dataclass(frozen=True)
class Event:
    """One entry in the history of a job. Numbers start at 1 and only increase."""

    number: int
    at: float
    kind: Literal["state", "progress", "metrics", "log"]
    data: dict[str, Any]


@dataclass(frozen=True)
class Lease:
    """The right of a worker to run one attempt of a job."""

    job: str
    attempt: int
    worker: str
    spec: dict[str, Any]
