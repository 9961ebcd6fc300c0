"""The job table: the source of truth about every job, independent of workers, API processes and the broker.

    queued -> running -> succeeded | failed | cancelled
              running -> cancelling -> cancelled                       (cancel requested; the worker has not stopped yet)
              running | cancelling -> queued | failed | cancelled      (its worker was lost or was told to shut down)
              failed | cancelled -> queued                             (retried)

A worker that runs a job holds a lease and renews it while it works. Each claim increments `attempt`, which is the fencing token: a write
by a worker names its attempt and changes nothing if a later attempt exists or the lease has expired.
"""

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any, Literal

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from models.contract.spec import AnySpec
from service.jobs.database import now, reading, writing
from service.jobs.records import (
    FINISHED,
    LEASED,
    UNFINISHED,
    Event,
    Job,
    KeyReused,
    Lease,
    LostLease,
    Position,
    Queue,
    State,
    UnknownJob,
    WrongState,
)
from service.jobs.schema import DATASETS, EVENTS, JOBS, SUBMISSIONS, WORKERS

MAX_LOSSES = 3  # lost workers after which a job fails, since it may be what ends them
KEEP_PROGRESS = 1000  # progress events kept per job
KEEP_KEYS_S = 24 * 3600.0
Report = tuple[Literal["log", "progress", "metrics"], dict[str, Any]]


class JobTable:
    """All operations on jobs. Every method raises StoreUnavailable if the database fails."""

    def __init__(
        self, engine: Engine, *, lease_s: float, released: Callable[[str, int], bool] = lambda job, attempt: False
    ) -> None:
        """Open the table; `released(job, attempt)` tells whether an attempt ended in an orderly way that it could not record here."""
        self._engine, self._lease_s, self._released = engine, lease_s, released

    # --- for callers of the API ---

    def submit(self, spec: AnySpec, queue: Queue, key: str | None = None) -> tuple[Job, bool]:
        """Insert a job and return it with True; return the existing job and False if the key is known. Raises KeyReused.

        A new job is marked as sent: the caller sends it at once, or withdraws the mark (service/jobs/delivery.py).
        """
        content, job = spec.model_dump_json(), uuid.uuid4().hex
        digest = hashlib.sha256(content.encode()).hexdigest()
        try:
            with writing(self._engine) as connection:
                if key is not None and (known := self._submitted(connection, key, digest)):
                    return known, False
                row = {"id": job, "kind": spec.kind, "spec": json.loads(content), "queue": queue}
                counts = {"state": "queued", "attempt": 0, "losses": 0, "events": 0}
                connection.execute(insert(JOBS).values(**row, **counts, created_at=now(), sent_at=now()))
                if key is not None:
                    connection.execute(insert(SUBMISSIONS).values(key=key, digest=digest, job=job, at=now()))
                self._note(connection, job, "state", {"state": "queued"})
                return self._row(connection, job), True
        except Exception as error:  # `writing` wraps the database's errors; only a key collision is expected here
            if not isinstance(error.__cause__, IntegrityError):
                raise
        with reading(self._engine) as connection:  # another process inserted the key in the meantime
            known = self._submitted(connection, key or "", digest)
            assert known is not None, "only a key can collide"
            return known, False

    def _submitted(self, connection: Connection, key: str, digest: str) -> Job | None:
        known = connection.execute(select(SUBMISSIONS).where(SUBMISSIONS.c.key == key)).one_or_none()
        if known is None:
            return None
        if known.digest != digest:
            raise KeyReused(f"this Idempotency-Key was sent before with a different spec, that of job {known.job}")
        return self._row(connection, known.job)

    def get(self, job: str) -> Job:
        """Return the job with this id. Raises UnknownJob."""
        with reading(self._engine) as connection:
            return self._row(connection, job)

    def jobs(
        self, *, state: State | None = None, kind: str | None = None, limit: int = 50, after: str | None = None
    ) -> list[Job]:
        """Return up to `limit` jobs, newest first, behind the place `after` or behind the job with that id. Raises UnknownJob."""
        with reading(self._engine) as connection:
            query = select(JOBS).order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
            if state is not None:
                query = query.where(JOBS.c.state == state)
            if kind is not None:
                query = query.where(JOBS.c.kind == kind)
            if after is not None:
                last = Position.parse(after) or self._row(connection, after).position
                query = query.where(tuple_(JOBS.c.created_at, JOBS.c.id) < tuple_(last.created_at, last.id))
            return [Job(**row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs per (state, queue)."""
        query = select(JOBS.c.state, JOBS.c.queue, func.count()).group_by(JOBS.c.state, JOBS.c.queue)
        with reading(self._engine) as connection:
            return {(state, queue): count for state, queue, count in connection.execute(query)}

    def trained(self, run: str, seed: int) -> list[Job]:
        """Return the succeeded training jobs of a run and seed, newest first."""
        succeeded = and_(JOBS.c.kind == "train", JOBS.c.state == "succeeded")
        query = select(JOBS).where(succeeded, JOBS.c.spec["run"].as_string() == run)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(JOBS.c.finished_at.desc())).mappings()
            return [job for job in (Job(**row) for row in rows) if seed in job.spec.get("seeds", ())]

    def events(self, job: str, after: int = 0, limit: int = 500) -> list[Event]:
        """Return the events of a job with numbers above `after`, oldest first."""
        query = (
            select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number).limit(limit)
        )
        with reading(self._engine) as connection:
            return [Event(row.number, row.at, row.kind, row.data) for row in connection.execute(query)]

    def cancel(self, job: str) -> Job:
        """Cancel a queued job, or ask a running one to stop; idempotent. Raises UnknownJob, WrongState."""
        with writing(self._engine) as connection:
            row = self._row(connection, job)
            if row.state == "queued":
                self._move(connection, job, "cancelled", finished_at=now())
            elif row.state == "running":
                self._move(connection, job, "cancelling")
            elif row.state in ("succeeded", "failed"):
                raise WrongState(f"job {job} has already {row.state}; only a queued or running job can be cancelled")
            return self._row(connection, job)

    def retry(self, job: str) -> Job:
        """Queue a failed or cancelled job again, to resume from its last checkpoint, and mark it as sent. Raises UnknownJob, WrongState."""
        with writing(self._engine) as connection:
            row = self._row(connection, job)
            if row.state not in ("failed", "cancelled"):
                raise WrongState(f"job {job} is {row.state}; only a failed or cancelled job can be retried")
            self._move(connection, job, "queued", losses=0, error=None, finished_at=None, sent_at=now(), worker=None)
            return self._row(connection, job)

    def removable(self) -> list[Job]:
        """Return the finished jobs that no data set and no unfinished evaluation depends on, the last finished first."""
        query = select(JOBS).where(JOBS.c.state.in_(FINISHED), JOBS.c.id.not_in(select(DATASETS.c.job)))
        measured = select(JOBS.c.spec["job"].as_string(), JOBS.c.spec["run"].as_string()).distinct()
        measured = measured.where(JOBS.c.kind == "evaluate", JOBS.c.state.in_(UNFINISHED))
        with reading(self._engine) as connection:
            needed = {
                (job, None if job else run) for job, run in connection.execute(measured)
            }  # all of a run, if none is named
            rows = connection.execute(query.order_by(JOBS.c.finished_at.desc(), JOBS.c.id)).mappings()
            return [
                job
                for job in (Job(**row) for row in rows)
                if (job.id, None) not in needed and not (job.kind == "train" and (None, job.spec.get("run")) in needed)
            ]

    def remove(self, job: str) -> None:
        """Remove a finished job with its events. Raises UnknownJob, and WrongState if it is not finished or a data set needs it."""
        with writing(self._engine) as connection:
            row = self._row(connection, job)
            if row.state not in FINISHED:
                raise WrongState(f"job {job} is {row.state}; only a finished job can be removed, so cancel it first")
            dataset = connection.scalar(select(DATASETS.c.name).where(DATASETS.c.job == job))
            if dataset is not None:
                raise WrongState(f"job {job} has checked data set {dataset!r}; remove the data set first")
            connection.execute(delete(JOBS).where(JOBS.c.id == job))

    # --- for workers ---

    def claim(self, job: str, worker: str) -> Lease | None:
        """Lease a job that is queued, whose lease has expired, or that a dead child of this worker held; None if there is none."""
        with writing(self._engine) as connection:
            abandoned = or_(JOBS.c.lease_until < now(), JOBS.c.worker == worker)
            free = or_(JOBS.c.state == "queued", and_(JOBS.c.state.in_(LEASED), abandoned))
            query = select(JOBS).where(JOBS.c.id == job, free).with_for_update()
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            before = Job(**row)
            if before.state in LEASED and not self._lose(connection, before):
                return None
            until = now() + self._lease_s
            self._move(
                connection, job, "running", attempt=before.attempt + 1, worker=worker, lease_until=until,
                started_at=now() if before.started_at is None else before.started_at, finished_at=None,
            )  # fmt: skip
            return Lease(job, before.attempt + 1, worker, before.spec)

    def renew(self, lease: Lease) -> State:
        """Extend the lease and return the job's state. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease, lease_until=now() + self._lease_s)
            return self._row(connection, lease.job).state

    def report(self, lease: Lease, *reports: Report) -> None:
        """Append reports to the job's events, in order; the last progress and metrics show in its row. Raises LostLease."""
        latest = {kind: data for kind, data in reports if kind != "log"}
        with writing(self._engine) as connection:
            self._fenced(connection, lease, **latest)
            for kind, data in reports:
                self._note(connection, lease.job, kind, data)

    def finish(
        self,
        lease: Lease,
        state: Literal["succeeded", "failed", "cancelled"],
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        """End the attempt. Call `publish` while nobody else can claim the job and before the end is recorded.

        Raises LostLease before anything is published. If `publish` raises, its error is raised and the job has not ended.
        """
        with writing(self._engine) as connection:
            self._fenced(connection, lease)
            publish()
            values = {"result": result} if result is not None else {}
            self._move(connection, lease.job, state, error=error, lease_until=None, finished_at=now(), **values)

    def release(self, lease: Lease) -> State:
        """Return the job to the queue because the worker shuts down, and return its new state. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease)
            row = self._row(connection, lease.job)
            if row.state == "cancelling":
                self._move(connection, lease.job, "cancelled", lease_until=None, finished_at=now())
            else:
                self._move(connection, lease.job, "queued", lease_until=None, worker=None, sent_at=None)
            return self._row(connection, lease.job).state

    # --- for the reconciler ---

    def expire(self) -> list[str]:
        """Queue jobs whose lease has expired, or end them if cancelled or out of retries; return their ids. Drop old keys and workers."""
        with writing(self._engine) as connection:
            query = select(JOBS).where(JOBS.c.state.in_(LEASED), JOBS.c.lease_until < now()).with_for_update()
            lost = [Job(**row) for row in connection.execute(query).mappings()]
            for job in lost:
                if self._lose(connection, job):
                    self._move(connection, job.id, "queued", lease_until=None, worker=None, sent_at=None)
            old = select(now() - KEEP_KEYS_S).scalar_subquery()  # computed once, so that an index can be used
            connection.execute(delete(SUBMISSIONS).where(SUBMISSIONS.c.at < old))
            connection.execute(delete(WORKERS).where(WORKERS.c.seen_until < old))
        return [job.id for job in lost]

    # --- inside a transaction ---

    def _row(self, connection: Connection, job: str) -> Job:
        row = connection.execute(select(JOBS).where(JOBS.c.id == job)).mappings().one_or_none()
        if row is None:
            raise UnknownJob(f"no job {job[:64]!r}; GET /jobs lists them")
        return Job(**row)

    def _fenced(self, connection: Connection, lease: Lease, **values: Any) -> None:
        """Update the row of a lease that is still valid, and lock the row until the transaction ends. Raises LostLease."""
        own = and_(JOBS.c.id == lease.job, JOBS.c.attempt == lease.attempt, JOBS.c.worker == lease.worker)
        valid = and_(own, JOBS.c.state.in_(LEASED), JOBS.c.lease_until >= now())
        changed = connection.execute(update(JOBS).where(valid).values(**values or {"attempt": lease.attempt}))
        if changed.rowcount != 1:
            raise LostLease(f"attempt {lease.attempt} of job {lease.job} is over")

    def _move(self, connection: Connection, job: str, state: State, **values: Any) -> None:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(state=state, **values))
        row = self._row(connection, job)
        data = {"state": state, "attempt": row.attempt, "worker": row.worker, "error": row.error, "result": row.result}
        self._note(connection, job, "state", {name: value for name, value in data.items() if value is not None})

    def _lose(self, connection: Connection, job: Job) -> bool:
        """Count a lost worker, unless it released the job, and return whether the job may run again; if not, end the job."""
        released = self._released(job.id, job.attempt)
        text = f"attempt {job.attempt} was lost with its worker {job.worker}"
        if released:
            text = f"attempt {job.attempt} on {job.worker} stopped while the database did not answer; its worker was not lost"
        losses = job.losses + (not released)
        self._note(connection, job.id, "log", {"text": text, "attempt": job.attempt})
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(losses=losses))
        if job.state == "cancelling":
            self._move(connection, job.id, "cancelled", lease_until=None, finished_at=now())
            return False
        if losses >= MAX_LOSSES:
            detail = f"{MAX_LOSSES} workers were lost while they ran this job; last: {text}"
            error = {"type": "WorkerLost", "detail": detail}
            self._move(connection, job.id, "failed", error=error, lease_until=None, finished_at=now())
            return False
        return True

    def _note(self, connection: Connection, job: str, kind: str, data: dict[str, Any]) -> None:
        """Append an event. The lock on the job's row numbers events in the order in which readers see them."""
        increment = update(JOBS).where(JOBS.c.id == job).values(events=JOBS.c.events + 1).returning(JOBS.c.events)
        number = connection.execute(increment).scalar_one()
        connection.execute(insert(EVENTS).values(job=job, number=number, at=now(), kind=kind, data=data))
        if kind == "progress" and number % 100 == 0:
            old = and_(EVENTS.c.job == job, EVENTS.c.kind == "progress", EVENTS.c.number < number - KEEP_PROGRESS)
            connection.execute(delete(EVENTS).where(old))
