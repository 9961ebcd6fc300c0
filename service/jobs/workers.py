"""Worker registration: every worker keeps a row alive, so that a queued job can say whether any worker can run it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from models.contract.spec import AnySpec, TrainSpec
from service.jobs.database import now, reading, writing
from service.jobs.records import LEASED, Queue
from service.jobs.schema import JOBS, WORKERS


@dataclass(frozen=True)
class Worker:
    """A connected worker and the id of the job it runs, if any.

    `failed_starts` counts child processes that have failed to start since the last that succeeded. `problem` says why jobs would fail.
    """

    name: str
    queues: tuple[Queue, ...]
    device: str
    started_at: float
    stopping: bool
    job: str | None
    failed_starts: int = 0
    problem: str | None = None


class WorkerTable:
    """The connected workers. Every method raises StoreUnavailable if the database fails."""

    def __init__(self, engine: Engine, *, lease_s: float) -> None:
        self._engine, self._lease_s = engine, lease_s

    def register(
        self, name: str, queues: tuple[Queue, ...], device: str, *, failed_starts: int = 0, problem: str | None = None
    ) -> None:
        """Insert a worker or extend its registration, which expires after `lease_s` unless renewed."""
        own = WORKERS.c.name == name
        with writing(self._engine) as connection:
            report = {"seen_until": now() + self._lease_s, "failed_starts": failed_starts, "problem": problem}
            if not connection.execute(update(WORKERS).where(own).values(**report)).rowcount:
                row: dict[str, Any] = {"name": name, "queues": list(queues), "device": device, "stopping": False}
                connection.execute(insert(WORKERS).values(**row, **report, started_at=now()))

    def request_stop(self, name: str) -> None:
        """Mark a worker as shutting down, so that queued jobs do not count on it."""
        with writing(self._engine) as connection:
            connection.execute(update(WORKERS).where(WORKERS.c.name == name).values(stopping=True))

    def unregister(self, name: str) -> None:
        """Remove a worker that has ended."""
        with writing(self._engine) as connection:
            connection.execute(delete(WORKERS).where(WORKERS.c.name == name))

    def workers(self) -> list[Worker]:
        """Return the workers whose registration has not expired, by name."""
        connected = select(WORKERS).where(WORKERS.c.seen_until >= now()).order_by(WORKERS.c.name)
        leased = select(JOBS.c.worker, JOBS.c.id).where(JOBS.c.state.in_(LEASED), JOBS.c.lease_until >= now())
        with reading(self._engine) as connection:
            jobs = {row.worker: row.id for row in connection.execute(leased)}
            return [
                Worker(
                    row.name,
                    tuple(row.queues),
                    row.device,
                    row.started_at,
                    row.stopping,
                    jobs.get(row.name),
                    row.failed_starts,
                    row.problem,
                )
                for row in connection.execute(connected)
            ]


def queues_of(kind: str, devices: int) -> tuple[Queue, ...]:
    """Return the queues of a worker with this many CPUs or GPUs: one for jobs on one device, one for jobs on two, and so on."""
    return tuple(_queue(kind, number) for number in range(1, devices + 1))


def queue_of(spec: AnySpec, workers: list[Worker]) -> Queue:
    """Return the queue for a spec: that of its device; for `auto`, GPUs if a connected worker has enough of them, else CPUs."""
    devices = spec.devices if isinstance(spec, TrainSpec) else 1
    if spec.device == "auto":
        gpu = _queue("gpu", devices)
        return gpu if any(gpu in worker.queues for worker in workers) else _queue("cpu", devices)
    return _queue("gpu" if spec.device == "cuda" else "cpu", devices)


def _queue(kind: str, devices: int) -> Queue:
    return kind if devices == 1 else f"{kind}.{devices}"
