"""Who works: every worker process keeps a row alive, so that a job that waits can say whether anybody is there for it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from models.contract.spec import AnySpec, TrainSpec
from service.jobs.database import now, reading, writing
from service.jobs.schema import JOBS, WORKERS
from service.jobs.table import HELD, Queue


@dataclass(frozen=True)
class Worker:
    """A worker that was seen lately, and the job it runs, if it runs one."""

    name: str
    queues: tuple[Queue, ...]
    device: str
    started_at: float
    stopping: bool
    job: str | None


class WorkerTable:
    """The workers that there are. Raises StoreUnavailable where the database fails."""

    def __init__(self, engine: Engine, *, lease_s: float) -> None:
        self._engine, self._lease_s = engine, lease_s

    def seen(self, name: str, queues: tuple[Queue, ...], device: str) -> None:
        """Say that a worker is there; it counts as gone when this is not said again within a lease."""
        mine = WORKERS.c.name == name
        with writing(self._engine) as connection:
            until = now() + self._lease_s
            if not connection.execute(update(WORKERS).where(mine).values(seen_until=until)).rowcount:
                row: dict[str, Any] = {"name": name, "queues": list(queues), "device": device, "stopping": False}
                connection.execute(insert(WORKERS).values(**row, started_at=now(), seen_until=until))

    def stop(self, name: str) -> None:
        """Say that a worker shall end: what it runs is to be given back."""
        with writing(self._engine) as connection:
            connection.execute(update(WORKERS).where(WORKERS.c.name == name).values(stopping=True))

    def stopping(self, name: str) -> bool:
        """Whether a worker was told to end."""
        with reading(self._engine) as connection:
            return bool(connection.scalar(select(WORKERS.c.stopping).where(WORKERS.c.name == name)))

    def gone(self, name: str) -> None:
        """Say that a worker has ended."""
        with writing(self._engine) as connection:
            connection.execute(delete(WORKERS).where(WORKERS.c.name == name))

    def workers(self) -> list[Worker]:
        """Those seen lately, by name."""
        alive = select(WORKERS).where(WORKERS.c.seen_until >= now()).order_by(WORKERS.c.name)
        held = select(JOBS.c.worker, JOBS.c.id).where(JOBS.c.state.in_(HELD), JOBS.c.lease_until >= now())
        with reading(self._engine) as connection:
            busy = {row.worker: row.id for row in connection.execute(held)}
            return [
                Worker(row.name, tuple(row.queues), row.device, row.started_at, row.stopping, busy.get(row.name))
                for row in connection.execute(alive)
            ]


def queues_of(kind: str, devices: int) -> tuple[Queue, ...]:
    """What a worker with so many CPUs or GPUs listens to: jobs that want one of them, two, and so on."""
    return tuple(_queue(kind, wanted) for wanted in range(1, devices + 1))


def queue_of(spec: AnySpec, workers: list[Worker]) -> Queue:
    """Where a job goes: as its device says, or else to GPUs if a worker has as many as it wants."""
    devices = spec.devices if isinstance(spec, TrainSpec) else 1
    if spec.device == "auto":
        gpu = _queue("gpu", devices)
        return gpu if any(gpu in worker.queues for worker in workers) else _queue("cpu", devices)
    return _queue("gpu" if spec.device == "cuda" else "cpu", devices)


def _queue(kind: str, devices: int) -> Queue:
    return kind if devices == 1 else f"{kind}.{devices}"
