"""The job table: the truth about every job, whatever becomes of workers, of the API and of the broker.

    queued -> running -> succeeded | failed | cancelled
              running -> cancelling -> cancelled                       (asked to stop; the worker has not yet, or ends first)
              running | cancelling -> queued | failed | cancelled      (its worker was lost, or told to stop)
              failed | cancelled -> queued                             (retried)

Who runs a job holds a lease, renewed while it works. Each claim counts `attempt` up, and that number is the fence: every
write of a worker says which attempt it is of, and does nothing once there is a later one, or once the lease is gone.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from models.contract.spec import AnySpec
from service.jobs.database import now, reading, writing
from service.jobs.schema import (
    EVENTS,
    JOBS,
    SUBMISSIONS,
    WORKERS,
)

T = TypeVar("T")
State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
Queue = str  # "cpu" or "gpu", and how many of them a job wants where it is more than one: "gpu.2"
HELD: tuple[State, ...] = ("running", "cancelling")
OVER: tuple[State, ...] = ("succeeded", "failed", "cancelled")
MAX_LOSSES = 3  # workers that a job may outlive, before it is what ends them
KEEP_PROGRESS = 1000  # events of progress of one job that are kept
JUST_MADE_S = 2.0  # who made a job is about to send it
KEEP_KEYS_S = 24 * 3600.0


class UnknownJob(LookupError):
    """No job of that id."""


class WrongState(ValueError):
    """A job that is in no state for what is asked."""


class KeyReused(ValueError):
    """An Idempotency-Key that came with another job before."""


class LostLease(Exception):
    """The job is another's now: what this attempt has to say no longer counts."""


@dataclass(frozen=True)
class Job:
    """A row. Times are seconds since 1970; `events` is the number of its last event."""

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
    """Something that happened to a job; numbers count up from 1 without going back."""

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


class JobTable:
    """Everything that is asked of jobs. Raises StoreUnavailable where the database fails."""

    def __init__(self, engine: Engine, *, lease_s: float) -> None:
        self._engine, self._lease_s = engine, lease_s

    # --- what callers ask for ---

    def submit(self, spec: AnySpec, queue: Queue, key: str | None = None) -> tuple[Job, bool]:
        """The job of a spec, and whether it is new: with a key that is known it is the one there is. Raises KeyReused."""
        content, job = spec.model_dump_json(), uuid.uuid4().hex
        digest = hashlib.sha256(content.encode()).hexdigest()
        try:
            with writing(self._engine) as connection:
                if key is not None and (known := self._submitted(connection, key, digest)):
                    return known, False
                row = {"id": job, "kind": spec.kind, "spec": spec.model_dump(mode="json"), "queue": queue}
                counts = {"state": "queued", "attempt": 0, "losses": 0, "events": 0}
                connection.execute(insert(JOBS).values(**row, **counts, created_at=now()))
                if key is not None:
                    connection.execute(insert(SUBMISSIONS).values(key=key, digest=digest, job=job, at=now()))
                self._note(connection, job, "state", {"state": "queued"})
                return self._row(connection, job), True
        except Exception as error:  # what writing makes of the database's errors; this one is looked for in its cause
            if not isinstance(error.__cause__, IntegrityError):
                raise
        with reading(self._engine) as connection:  # another process took the key in between
            known = self._submitted(connection, key or "", digest)
            assert known is not None, "only a key can collide"
            return known, False

    def _submitted(self, connection: Connection, key: str, digest: str) -> Job | None:
        known = connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.key == key)).one_or_none()
        if known is None:
            return None
        if known.digest != digest:
            raise KeyReused(f"this Idempotency-Key came with another spec before, that of job {known.job}")
        return self._row(connection, known.job)

    def get(self, job: str) -> Job:
        """The job of that id. Raises UnknownJob."""
        with reading(self._engine) as connection:
            return self._row(connection, job)

    def jobs(
        self, *, state: State | None = None, kind: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Job]:
        """The newest jobs first, from the one after the job `after` on. Raises UnknownJob."""
        with reading(self._engine) as connection:
            asked = select(JOBS).order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
            if state is not None:
                asked = asked.where(JOBS.c.state == state)
            if kind is not None:
                asked = asked.where(JOBS.c.kind == kind)
            if after is not None:
                last = self._row(connection, after)
                same = and_(JOBS.c.created_at == last.created_at, JOBS.c.id < last.id)
                asked = asked.where(or_(JOBS.c.created_at < last.created_at, same))
            return [Job(**row) for row in connection.execute(asked).mappings()]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many there are, by state and queue."""
        asked = select(JOBS.c.state, JOBS.c.queue, func.count()).group_by(JOBS.c.state, JOBS.c.queue)
        with reading(self._engine) as connection:
            return {(state, queue): count for state, queue, count in connection.execute(asked)}

    def trained(self, run: str, seed: int) -> list[Job]:
        """The training jobs of a run and seed that succeeded, the newest first."""
        done = select(JOBS).where(JOBS.c.kind == "train", JOBS.c.state == "succeeded")
        with reading(self._engine) as connection:
            rows = connection.execute(done.order_by(JOBS.c.finished_at.desc())).mappings()
            found = [Job(**row) for row in rows]
        return [job for job in found if job.spec.get("run") == run and seed in job.spec.get("seeds", ())]

    def events(self, job: str, after: int = 0, limit: int = 500) -> list[Event]:
        """What happened to a job after the event of that number, oldest first."""
        asked = (
            select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number).limit(limit)
        )
        with reading(self._engine) as connection:
            return [Event(row.number, row.at, row.kind, row.data) for row in connection.execute(asked)]

    def cancel(self, job: str) -> Job:
        """Cancel a job that waits; ask one that runs to stop. One that is cancelled stays so. Raises UnknownJob, WrongState."""
        with writing(self._engine) as connection:
            row = self._row(connection, job)
            if row.state == "queued":
                self._move(connection, job, "cancelled", finished_at=now())
            elif row.state == "running":
                self._move(connection, job, "cancelling")
            elif row.state in ("succeeded", "failed"):
                raise WrongState(f"job {job} has {row.state}: there is nothing to cancel")
            return self._row(connection, job)

    def retry(self, job: str) -> Job:
        """Queue a job again that failed or was cancelled; it goes on from its last checkpoint. Raises UnknownJob, WrongState."""
        with writing(self._engine) as connection:
            row = self._row(connection, job)
            if row.state not in ("failed", "cancelled"):
                raise WrongState(f"job {job} is {row.state}; only one that failed or was cancelled is retried")
            self._move(connection, job, "queued", losses=0, error=None, finished_at=None, sent_at=None, worker=None)
            return self._row(connection, job)

    # --- what a worker does ---

    def claim(self, job: str, worker: str) -> Lease | None:
        """The lease of a job that waits, or whose lease has run out, or that this worker's own lost child held; else None."""
        with writing(self._engine) as connection:
            left = or_(JOBS.c.lease_until < now(), JOBS.c.worker == worker)
            free = or_(JOBS.c.state == "queued", and_(JOBS.c.state.in_(HELD), left))
            row = (
                connection.execute(select(JOBS).where(JOBS.c.id == job, free).with_for_update())
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            held = Job(**row)
            if held.state in HELD and not self._lose(connection, held):
                return None
            until = now() + self._lease_s
            self._move(
                connection, job, "running", attempt=held.attempt + 1, worker=worker, lease_until=until,
                started_at=now() if held.started_at is None else held.started_at, finished_at=None,
            )  # fmt: skip
            return Lease(job, held.attempt + 1, worker, held.spec)

    def renew(
        self, lease: Lease, *, progress: dict[str, Any] | None = None, metrics: dict[str, Any] | None = None
    ) -> State:
        """Keep the lease, say how far it is, and learn whether to go on. Raises LostLease."""
        said = {name: value for name, value in (("progress", progress), ("metrics", metrics)) if value is not None}
        with writing(self._engine) as connection:
            self._fenced(connection, lease, lease_until=now() + self._lease_s, **said)
            for kind, data in said.items():
                self._note(connection, lease.job, kind, data)
            return self._row(connection, lease.job).state

    def say(self, lease: Lease, text: str) -> None:
        """A line of the job's log. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease, lease_until=now() + self._lease_s)
            self._note(connection, lease.job, "log", {"text": text, "attempt": lease.attempt})

    def finish(
        self,
        lease: Lease,
        state: Literal["succeeded", "failed", "cancelled"],
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        """End the attempt. `publish` is called while nobody else can take the job over, and before it counts as ended.

        Raises LostLease, and then nothing was published; and what `publish` raises, and then the job has not ended.
        """
        with writing(self._engine) as connection:
            self._fenced(connection, lease)
            publish()
            said = {"result": result} if result is not None else {}
            self._move(connection, lease.job, state, error=error, lease_until=None, finished_at=now(), **said)

    def release(self, lease: Lease) -> State:
        """Give the job back, to go on elsewhere: the worker was told to stop. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease)
            row = self._row(connection, lease.job)
            if row.state == "cancelling":
                self._move(connection, lease.job, "cancelled", lease_until=None, finished_at=now())
            else:
                self._move(connection, lease.job, "queued", lease_until=None, worker=None, sent_at=None)
            return self._row(connection, lease.job).state

    # --- what the reconciler does ---

    def expire(self) -> list[str]:
        """Queue again the jobs whose lease has run out, or end those that were to be cancelled or that lost too many workers."""
        with writing(self._engine) as connection:
            late = select(JOBS).where(JOBS.c.state.in_(HELD), JOBS.c.lease_until < now()).with_for_update()
            lost = [Job(**row) for row in connection.execute(late).mappings()]
            for job in lost:
                if self._lose(connection, job):
                    self._move(connection, job.id, "queued", lease_until=None, worker=None, sent_at=None)
            connection.execute(delete(SUBMISSIONS).where(SUBMISSIONS.c.at < now() - KEEP_KEYS_S))
            connection.execute(delete(WORKERS).where(WORKERS.c.seen_until < now() - KEEP_KEYS_S))
        return [job.id for job in lost]

    def unsent(self, older_s: float) -> list[Job]:
        """Jobs that wait and were not sent to the broker, and those sent longer than so many seconds ago; none just made."""
        never = and_(JOBS.c.sent_at.is_(None), JOBS.c.created_at < now() - JUST_MADE_S)
        waiting = select(JOBS).where(JOBS.c.state == "queued", or_(never, JOBS.c.sent_at < now() - older_s))
        with reading(self._engine) as connection:
            return [Job(**row) for row in connection.execute(waiting.order_by(JOBS.c.created_at)).mappings()]

    def sent(self, job: str) -> None:
        """Note that the broker has it."""
        with writing(self._engine) as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job, JOBS.c.state == "queued").values(sent_at=now()))

    # --- inside a transaction ---

    def _row(self, connection: Connection, job: str) -> Job:
        row = connection.execute(select(JOBS).where(JOBS.c.id == job)).mappings().one_or_none()
        if row is None:
            raise UnknownJob(f"no job {job[:64]!r}; GET /jobs lists them")
        return Job(**row)

    def _fenced(self, connection: Connection, lease: Lease, **values: Any) -> None:
        """Change the row of a lease that still holds, and keep anyone else from it till the transaction ends."""
        mine = and_(JOBS.c.id == lease.job, JOBS.c.attempt == lease.attempt, JOBS.c.worker == lease.worker)
        held = and_(mine, JOBS.c.state.in_(HELD), JOBS.c.lease_until >= now())
        done = connection.execute(update(JOBS).where(held).values(**values or {"attempt": lease.attempt}))
        if done.rowcount != 1:
            raise LostLease(f"attempt {lease.attempt} of job {lease.job} is over")

    def _move(self, connection: Connection, job: str, state: State, **values: Any) -> None:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(state=state, **values))
        row = self._row(connection, job)
        told = {"state": state, "attempt": row.attempt, "worker": row.worker, "error": row.error, "result": row.result}
        self._note(connection, job, "state", {name: value for name, value in told.items() if value is not None})

    def _lose(self, connection: Connection, job: Job) -> bool:
        """Count a lost worker; whether the job goes on. One that does not has ended here."""
        told = f"attempt {job.attempt} was lost with its worker {job.worker}"
        self._note(connection, job.id, "log", {"text": told, "attempt": job.attempt})
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(losses=job.losses + 1))
        if job.state == "cancelling":
            self._move(connection, job.id, "cancelled", lease_until=None, finished_at=now())
            return False
        if job.losses + 1 >= MAX_LOSSES:
            error = {
                "type": "WorkerLost",
                "detail": f"{MAX_LOSSES} workers were lost while they ran it; the last: {told}",
            }
            self._move(connection, job.id, "failed", error=error, lease_until=None, finished_at=now())
            return False
        return True

    def _note(self, connection: Connection, job: str, kind: str, data: dict[str, Any]) -> None:
        """An event, numbered under the lock of the job's row, so that a later number is never seen before an earlier one."""
        counted = update(JOBS).where(JOBS.c.id == job).values(events=JOBS.c.events + 1).returning(JOBS.c.events)
        number = connection.execute(counted).scalar_one()
        connection.execute(insert(EVENTS).values(job=job, number=number, at=now(), kind=kind, data=data))
        if kind == "progress" and number % 100 == 0:
            old = and_(EVENTS.c.job == job, EVENTS.c.kind == "progress", EVENTS.c.number < number - KEEP_PROGRESS)
            connection.execute(delete(EVENTS).where(old))
