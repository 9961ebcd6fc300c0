"""The job table: the source of truth about every job, independent of workers, API processes and the broker.

    queued -> running -> succeeded | failed | cancelled
              running -> cancelling -> cancelled                       (cancel requested; the worker has not stopped yet)
              running | cancelling -> queued | failed | cancelled      (its worker was lost or was told to shut down)
              failed | cancelled -> queued                             (retried)

A sweep has children, and runs without a lease until they have ended (service/jobs/families.py).

A worker that runs a job holds a lease and renews it while it works. Each claim increments `attempt`, which is the fencing token: a write
by a worker names its attempt and changes nothing if a later attempt exists or the lease has expired.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from models.contract.spec import AnySpec, TrainSpec
from service.jobs import families
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
    WrongState,
)
from service.jobs.schema import DATASETS, EVENTS, JOBS, SUBMISSIONS, WORKERS
from service.jobs.transitions import move, note, row_of

MAX_LOSSES = 3  # lost workers after which a job fails, since it may be what ends them
KEEP_KEYS_S = 24 * 3600.0
NO_PARENT = "none"  # in place of a parent's id
Report = tuple[Literal["log", "progress", "metrics"], dict[str, Any]]


class JobTable:
    """All operations on jobs. Every method raises StoreUnavailable if the database fails."""

    def __init__(
        self, engine: Engine, *, lease_s: float, released: Callable[[str, int], bool] = lambda job, attempt: False
    ) -> None:
        """Open the table; `released(job, attempt)` tells whether an attempt ended in an orderly way that it could not record here."""
        self._engine, self._lease_s, self._released = engine, lease_s, released

    # --- for callers of the API ---

    def submit(
        self,
        spec: AnySpec,
        queue: Queue,
        key: str | None = None,
        children: Sequence[tuple[TrainSpec, Queue]] = (),
    ) -> tuple[Job, bool]:
        """Insert a job and return it with True; return the existing job and False if the key is known. Raises KeyReused.

        A new job is marked as sent: the caller sends it at once, or withdraws the mark (service/jobs/delivery.py). One with children
        runs, without a lease, until they have ended; the reconciler sends them.
        """
        content, job = spec.model_dump_json(), uuid.uuid4().hex
        digest = hashlib.sha256(content.encode()).hexdigest()
        try:
            with writing(self._engine) as connection:
                if key is not None and (known := self._submitted(connection, key, digest)):
                    return known, False
                row = {"id": job, "kind": spec.kind, "spec": json.loads(content), "queue": queue}
                state = "running" if children else "queued"
                counts = {"state": state, "attempt": 0, "losses": 0, "events": 0}
                times = {"created_at": now(), "started_at" if children else "sent_at": now()}
                connection.execute(insert(JOBS).values(**row, **counts, **times))
                if key is not None:
                    connection.execute(insert(SUBMISSIONS).values(key=key, digest=digest, job=job, at=now()))
                note(connection, job, "state", {"state": state})
                families.insert_children(connection, job, children)
                return row_of(connection, job), True
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
        return row_of(connection, known.job)

    def get(self, job: str) -> Job:
        """Return the job with this id. Raises UnknownJob."""
        with reading(self._engine) as connection:
            return row_of(connection, job)

    def jobs(
        self,
        *,
        state: State | None = None,
        kind: str | None = None,
        parent: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[Job]:
        """Return up to `limit` jobs, newest first, behind the place `after` or behind the job with that id. Raises UnknownJob.

        `parent` is the id of a sweep, or "none" for the jobs that belong to no sweep.
        """
        with reading(self._engine) as connection:
            query = select(JOBS).order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)
            if state is not None:
                query = query.where(JOBS.c.state == state)
            if kind is not None:
                query = query.where(JOBS.c.kind == kind)
            if parent is not None:
                query = query.where(JOBS.c.parent.is_(None) if parent == NO_PARENT else JOBS.c.parent == parent)
            if after is not None:
                last = Position.parse(after) or row_of(connection, after).position
                query = query.where(tuple_(JOBS.c.created_at, JOBS.c.id) < tuple_(last.created_at, last.id))
            return [Job(**row) for row in connection.execute(query).mappings()]

    def children(self, job: str) -> list[Job]:
        """Return the trainings of a sweep in the order of its grid; none of another job."""
        with reading(self._engine) as connection:
            return families.children_of(connection, job)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs per (state, queue)."""
        query = select(JOBS.c.state, JOBS.c.queue, func.count()).group_by(JOBS.c.state, JOBS.c.queue)
        with reading(self._engine) as connection:
            return {(state, queue): count for state, queue, count in connection.execute(query)}

    def trained(self, run: str, seed: int) -> list[Job]:
        """Return the succeeded training jobs of a run and seed, newest first, without the trainings of sweeps."""
        succeeded = and_(JOBS.c.kind == "train", JOBS.c.state == "succeeded", JOBS.c.parent.is_(None))
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
        """Cancel a queued job, or ask a running one and its children to stop; idempotent. Raises UnknownJob, WrongState."""
        with writing(self._engine) as connection:
            row = row_of(connection, job)
            if families.waits(row):
                families.cancel_children(connection, job)
            if row.state == "queued":
                move(connection, job, "cancelled", finished_at=now())
            elif row.state == "running":
                move(connection, job, "cancelling")
            elif row.state in ("succeeded", "failed"):
                raise WrongState(f"job {job} has already {row.state}; only a queued or running job can be cancelled")
            return row_of(connection, job)

    def retry(self, job: str) -> Job:
        """Queue a failed or cancelled job again, to resume from its last checkpoint, and mark it as sent. Raises UnknownJob, WrongState.

        A sweep runs on, without a lease, if any of its children has to: those that failed or were cancelled are queued again.
        """
        with writing(self._engine) as connection:
            row = row_of(connection, job)
            if row.state not in ("failed", "cancelled"):
                raise WrongState(f"job {job} is {row.state}; only a failed or cancelled job can be retried")
            again = {"losses": 0, "error": None, "finished_at": None, "worker": None}
            if row.kind == "sweep" and families.retry_children(connection, job):
                move(connection, job, "running", **again)
            else:
                move(connection, job, "queued", **again, sent_at=now())
            return row_of(connection, job)

    def removable(self) -> list[Job]:
        """Return the finished jobs that no data set and no unfinished evaluation or sweep depends on, the last finished first."""
        parents = JOBS.alias()
        compared = select(parents.c.id).where(parents.c.kind == "sweep", parents.c.state.in_(UNFINISHED))
        free = or_(JOBS.c.parent.is_(None), JOBS.c.parent.not_in(compared))
        query = select(JOBS).where(JOBS.c.state.in_(FINISHED), JOBS.c.id.not_in(select(DATASETS.c.job)), free)
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

    def remove(self, job: str) -> list[str]:
        """Remove a finished job and its children with their events, and return their ids.

        Raises UnknownJob, and WrongState if one is not finished or a data set or a sweep needs it.
        """
        with writing(self._engine) as connection:
            row = row_of(connection, job)
            if row.state not in FINISHED:
                raise WrongState(f"job {job} is {row.state}; only a finished job can be removed, so cancel it first")
            dataset = connection.scalar(select(DATASETS.c.name).where(DATASETS.c.job == job))
            if dataset is not None:
                raise WrongState(f"job {job} has checked data set {dataset!r}; remove the data set first")
            families.refuse_needed(connection, row)
            removed = [job, *families.remove_children(connection, job)]
            connection.execute(delete(JOBS).where(JOBS.c.id == job))
            return removed

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
            move(
                connection, job, "running", attempt=before.attempt + 1, worker=worker, lease_until=until,
                started_at=now() if before.started_at is None else before.started_at, finished_at=None,
            )  # fmt: skip
            return Lease(job, before.attempt + 1, worker, before.spec)

    def renew(self, lease: Lease) -> State:
        """Extend the lease and return the job's state. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease, lease_until=now() + self._lease_s)
            return row_of(connection, lease.job).state

    def report(self, lease: Lease, *reports: Report) -> None:
        """Append reports to the job's events, in order; the last progress and metrics show in its row. Raises LostLease."""
        latest = {kind: data for kind, data in reports if kind != "log"}
        with writing(self._engine) as connection:
            self._fenced(connection, lease, **latest)
            for kind, data in reports:
                note(connection, lease.job, kind, data)

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
            move(connection, lease.job, state, error=error, lease_until=None, finished_at=now(), **values)

    def release(self, lease: Lease) -> State:
        """Return the job to the queue because the worker shuts down, and return its new state. Raises LostLease."""
        with writing(self._engine) as connection:
            self._fenced(connection, lease)
            row = row_of(connection, lease.job)
            if row.state == "cancelling":
                move(connection, lease.job, "cancelled", lease_until=None, finished_at=now())
            else:
                move(connection, lease.job, "queued", lease_until=None, worker=None, sent_at=None)
            return row_of(connection, lease.job).state

    # --- for the reconciler ---

    def expire(self) -> list[str]:
        """Queue jobs whose lease has expired, or end them if cancelled or out of retries; return their ids. Drop old keys and workers."""
        with writing(self._engine) as connection:
            query = select(JOBS).where(JOBS.c.state.in_(LEASED), JOBS.c.lease_until < now()).with_for_update()
            lost = [Job(**row) for row in connection.execute(query).mappings()]
            for job in lost:
                if self._lose(connection, job):
                    move(connection, job.id, "queued", lease_until=None, worker=None, sent_at=None)
            old = select(now() - KEEP_KEYS_S).scalar_subquery()  # computed once, so that an index can be used
            connection.execute(delete(SUBMISSIONS).where(SUBMISSIONS.c.at < old))
            connection.execute(delete(WORKERS).where(WORKERS.c.seen_until < old))
        return [job.id for job in lost]

    def settle(self) -> None:
        """Queue or end the sweeps whose children have ended, and update the progress of the others."""
        families.settle(self._engine)

    # --- inside a transaction ---

    def _fenced(self, connection: Connection, lease: Lease, **values: Any) -> None:
        """Update the row of a lease that is still valid, and lock the row until the transaction ends. Raises LostLease."""
        own = and_(JOBS.c.id == lease.job, JOBS.c.attempt == lease.attempt, JOBS.c.worker == lease.worker)
        valid = and_(own, JOBS.c.state.in_(LEASED), JOBS.c.lease_until >= now())
        changed = connection.execute(update(JOBS).where(valid).values(**values or {"attempt": lease.attempt}))
        if changed.rowcount != 1:
            raise LostLease(f"attempt {lease.attempt} of job {lease.job} is over")

    def _lose(self, connection: Connection, job: Job) -> bool:
        """Count a lost worker, unless it released the job, and return whether the job may run again; if not, end the job."""
        released = self._released(job.id, job.attempt)
        text = f"attempt {job.attempt} was lost with its worker {job.worker}"
        if released:
            text = f"attempt {job.attempt} on {job.worker} stopped while the database did not answer; its worker was not lost"
        losses = job.losses + (not released)
        note(connection, job.id, "log", {"text": text, "attempt": job.attempt})
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(losses=losses))
        if job.state == "cancelling":
            move(connection, job.id, "cancelled", lease_until=None, finished_at=now())
            return False
        if losses >= MAX_LOSSES:
            detail = f"{MAX_LOSSES} workers were lost while they ran this job; last: {text}"
            error = {"type": "WorkerLost", "detail": detail}
            move(connection, job.id, "failed", error=error, lease_until=None, finished_at=now())
            return False
        return True
