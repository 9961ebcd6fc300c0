"""Sweeps and their trainings: a parent whose children are ordinary jobs, and what happens to one when something is done to the other.

running without a lease -> queued -> running -> succeeded | failed     (its children have ended; a worker compares them)
running without a lease -> cancelling -> cancelled                     (so are its children)
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, insert, select, update

from models.contract.spec import TrainSpec
from service.jobs.database import now, reading, writing
from service.jobs.records import FINISHED, LEASED, UNFINISHED, Job, Queue, WrongState
from service.jobs.schema import JOBS
from service.jobs.transitions import move, note, row_of

ORDER_S = 1e-6  # between the times of children, which are listed in the order of the grid
WAITING = and_(JOBS.c.kind == "sweep", JOBS.c.state.in_(LEASED), JOBS.c.lease_until.is_(None))


def waits(job: Job) -> bool:
    """Return whether a job is a sweep that waits for its trainings."""
    return job.kind == "sweep" and job.state in LEASED and job.lease_until is None


def children_of(connection: Connection, job: str) -> list[Job]:
    """Return the children of a job in the order of the grid."""
    query = select(JOBS).where(JOBS.c.parent == job).order_by(JOBS.c.created_at, JOBS.c.id)
    return [Job(**row) for row in connection.execute(query).mappings()]


def insert_children(connection: Connection, parent: str, children: Sequence[tuple[TrainSpec, Queue]]) -> None:
    """Insert the trainings of a sweep. They are not marked as sent: the next round of the reconciler sends them."""
    created_at = row_of(connection, parent).created_at
    for number, (spec, queue) in enumerate(children, start=1):
        job = uuid.uuid4().hex
        row = {"id": job, "kind": spec.kind, "spec": json.loads(spec.model_dump_json()), "queue": queue}
        counts = {"state": "queued", "attempt": 0, "losses": 0, "events": 0}
        times = {"created_at": created_at + number * ORDER_S}
        connection.execute(insert(JOBS).values(**row, **counts, **times, parent=parent))
        note(connection, job, "state", {"state": "queued"})


def cancel_children(connection: Connection, parent: str) -> None:
    """Cancel the queued children of a job, and ask the running ones to stop."""
    for child in children_of(connection, parent):
        if child.state == "queued":
            move(connection, child.id, "cancelled", finished_at=now())
        elif child.state == "running":
            move(connection, child.id, "cancelling")


def retry_children(connection: Connection, parent: str) -> bool:
    """Queue the failed and cancelled children of a job again; return whether it has to wait for any child."""
    children = children_of(connection, parent)
    for child in children:
        if child.state in ("failed", "cancelled"):
            again: dict[str, Any] = {"losses": 0, "error": None, "finished_at": None, "sent_at": None, "worker": None}
            move(connection, child.id, "queued", **again)
    return any(child.state != "succeeded" for child in children)


def remove_children(connection: Connection, parent: str) -> list[str]:
    """Remove the finished children of a job and return their ids. Raises WrongState if one is not finished."""
    children = children_of(connection, parent)
    for child in children:
        if child.state not in FINISHED:
            raise WrongState(f"job {child.id} of sweep {parent} is {child.state}; cancel it first")
    connection.execute(delete(JOBS).where(JOBS.c.parent == parent))
    return [child.id for child in children]


def refuse_needed(connection: Connection, job: Job) -> None:
    """Raise WrongState for a child whose sweep is not finished and will compare it."""
    if job.parent is None:
        return
    state = connection.scalar(select(JOBS.c.state).where(JOBS.c.id == job.parent))
    if state in UNFINISHED:
        raise WrongState(f"job {job.id} belongs to sweep {job.parent}, which is {state}; cancel the sweep first")


def settle(engine: Engine) -> None:
    """Queue the waiting sweeps whose children have all ended, end the cancelled ones, and update the progress of the others.

    Mostly nothing has changed, which is found out without the lock of writers.
    """
    with reading(engine) as connection:
        if not any(_changes(connection, job) for job in _waiting(connection)):
            return
    with writing(engine) as connection:
        query = select(JOBS).where(WAITING).with_for_update(skip_locked=True)
        for job in [Job(**row) for row in connection.execute(query).mappings()]:
            for state, progress in _changes(connection, job):
                connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(progress=progress))
                note(connection, job.id, "progress", progress)
                if state == "queued":
                    move(connection, job.id, "queued", sent_at=None)
                elif state == "cancelled":
                    move(connection, job.id, "cancelled", finished_at=now())


def _waiting(connection: Connection) -> list[Job]:
    return [Job(**row) for row in connection.execute(select(JOBS).where(WAITING)).mappings()]


def _changes(connection: Connection, job: Job) -> list[tuple[str, dict[str, Any]]]:
    """Return the next state and progress of a waiting sweep, or nothing if both are as they were."""
    children = children_of(connection, job.id)
    ended = [child for child in children if child.state in FINISHED]
    progress: dict[str, Any] = {"stage": "trainings", "step": len(ended), "steps": len(children)}
    lasted = [child.finished_at - child.started_at for child in ended if child.finished_at and child.started_at]
    running = sum(child.state in LEASED for child in children)
    if lasted and running:
        progress["eta_s"] = round(sum(lasted) / len(lasted) * (len(children) - len(ended)) / running, 1)
    if len(ended) == len(children):
        return [("cancelled" if job.state == "cancelling" else "queued", progress)]
    before = job.progress or {}
    return [] if before.get("step") == len(ended) else [(job.state, progress)]
