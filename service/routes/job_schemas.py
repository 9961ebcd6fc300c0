"""What /jobs and /workers say."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from models.contract.spec import JobSpec
from service.jobs.table import Job, State
from service.jobs.workers import Worker


class JobError(BaseModel):
    type: str
    detail: str
    lines: list[str] = Field(default=[], description="the last lines of where it came from")


class JobInfo(BaseModel):
    """A job. Times are seconds since 1970."""

    id: str
    kind: Literal["train", "evaluate", "benchmark", "check"]
    state: State
    detail: str = Field(description="the state in a sentence; of a job that waits, what for")
    spec: JobSpec | Any = Field(description="as it was asked for")
    queue: str = Field(description="cpu or gpu; cpu.2 or gpu.2 of a job that wants two")
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempt: int = Field(description="how often it was begun; it goes on from its last checkpoint")
    worker: str | None
    progress: dict[str, Any] | None = Field(
        description="of training: stage, seed, step, steps, and eta_s, seconds to go"
    )
    metrics: dict[str, Any] | None = Field(description="the last validation: step, loss, score")
    error: JobError | None
    result: dict[str, Any] | None = Field(description="of training: model and version to promote; else the table")


class JobPage(BaseModel):
    jobs: list[JobInfo]
    next: str | None = Field(description="`after` of the next page; null: there is none")


class Artifact(BaseModel):
    name: str
    bytes: int
    url: str


class ArtifactList(BaseModel):
    attempt: int
    artifacts: list[Artifact]


class WorkerInfo(BaseModel):
    name: str
    queues: list[str]
    device: str
    started_at: float
    stopping: bool
    job: str | None = Field(description="what it runs; null: it is free")


class WorkerList(BaseModel):
    workers: list[WorkerInfo]


def job_info(job: Job, workers: list[Worker]) -> JobInfo:
    """A job as it is shown."""
    shown = {name: value for name, value in vars(job).items() if name in JobInfo.model_fields}
    return JobInfo.model_validate({**shown, "detail": _sentence(job, workers)})


def _sentence(job: Job, workers: list[Worker]) -> str:
    if job.state == "queued":
        listening = [worker for worker in workers if job.queue in worker.queues and not worker.stopping]
        if not listening:
            return f"no worker of queue {job.queue} is connected: `make worker` starts one"
        if all(worker.job for worker in listening):
            return f"waits for one of {len(listening)} busy workers of queue {job.queue}"
        return "about to be run" if job.sent_at is not None else "the broker has not been told yet"
    if job.state == "running":
        return f"attempt {job.attempt} runs on {job.worker}"
    if job.state == "cancelling":
        return "was told to stop, and will have stopped within seconds"
    if job.state == "failed" and job.error:
        return f"{job.error['type']}: {job.error['detail']}"
    return job.state
