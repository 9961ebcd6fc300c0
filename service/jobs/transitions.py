"""The steps of a transaction of the job table: read a job's row, change its state, append an event."""

from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from service.jobs.database import now
from service.jobs.records import Job, State, UnknownJob
from service.jobs.schema import EVENTS, JOBS

KEEP_PROGRESS = 1000  # progress events kept per job


def row_of(connection: Connection, job: str) -> Job:
    """Return the row of a job. Raises UnknownJob."""
    row = connection.execute(select(JOBS).where(JOBS.c.id == job)).mappings().one_or_none()
    if row is None:
        raise UnknownJob(f"no job {job[:64]!r}; GET /jobs lists them")
    return Job(**row)


def move(connection: Connection, job: str, state: State, **values: Any) -> None:
    """Change the state of a job, with other columns, and note it as an event."""
    connection.execute(update(JOBS).where(JOBS.c.id == job).values(state=state, **values))
    row = row_of(connection, job)
    data = {"state": state, "attempt": row.attempt, "worker": row.worker, "error": row.error, "result": row.result}
    note(connection, job, "state", {name: value for name, value in data.items() if value is not None})


def note(connection: Connection, job: str, kind: str, data: dict[str, Any]) -> None:
    """Append an event. The lock on the job's row numbers events in the order in which readers see them."""
    increment = update(JOBS).where(JOBS.c.id == job).values(events=JOBS.c.events + 1).returning(JOBS.c.events)
    number = connection.execute(increment).scalar_one()
    connection.execute(insert(EVENTS).values(job=job, number=number, at=now(), kind=kind, data=data))
    if kind == "progress" and number % 100 == 0:
        old = and_(EVENTS.c.job == job, EVENTS.c.kind == "progress", EVENTS.c.number < number - KEEP_PROGRESS)
        connection.execute(delete(EVENTS).where(old))
