"""Rows of the job table as values, the states of a job, and the errors that the table raises."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
Queue = str  # "cpu" or "gpu"; with the number of devices if a job needs several: "gpu.2"
LEASED: tuple[State, ...] = ("running", "cancelling")
FINISHED: tuple[State, ...] = ("succeeded", "failed", "cancelled")


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
    """A row of the job table. Times are seconds since 1970; `events` is the number of the last event."""

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
