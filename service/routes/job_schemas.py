"""The answers of /jobs and /workers."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from models.contract.spec import JobSpec
from service.jobs.families import waits
from service.jobs.records import Job, State
from service.jobs.workers import Worker


class JobError(BaseModel):
    """The error that ended a job."""

    type: str
    detail: str
    lines: list[str] = Field(default=[], description="the last lines of the traceback")


class JobInfo(BaseModel):
    """A job. Times are seconds since 1970."""

    id: str
    kind: Literal["train", "sweep", "evaluate", "benchmark", "check"]
    state: State
    detail: str = Field(description="the state as a sentence; for a queued job, what it waits for")
    spec: JobSpec | Any = Field(description="the spec as submitted")
    parent: str | None = Field(description="the sweep that a training belongs to")
    queue: str = Field(description="cpu or gpu; cpu.2 or gpu.2 for a job on two devices")
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempt: int = Field(description="number of attempts so far; each resumes from the last checkpoint")
    worker: str | None
    progress: dict[str, Any] | None = Field(
        description="of a training: stage, seed, step, steps, and eta_s, the estimated seconds to the end"
    )
    metrics: dict[str, Any] | None = Field(description="the last validation: step, loss, score")
    error: JobError | None
    result: dict[str, Any] | None = Field(
        description="of a training: model and version to promote; of a sweep also the cells; else the table"
    )


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobInfo]
    next: str | None = Field(description="the value of `after` for the next page; null on the last page")


class Artifact(BaseModel):
    """A file of a job."""

    name: str
    bytes: int
    url: str


class ArtifactList(BaseModel):
    """The files of a job's latest attempt."""

    attempt: int
    artifacts: list[Artifact]


class WorkerInfo(BaseModel):
    """A connected worker."""

    name: str
    queues: list[str]
    device: str
    started_at: float
    stopping: bool
    job: str | None = Field(description="the job that it runs; null if it is free")
    failed_starts: int = Field(description="child processes that have failed to start since the last that succeeded")
    problem: str | None = Field(description="why jobs on this worker would fail; null if nothing is known to be wrong")


class WorkerList(BaseModel):
    """The connected workers, by name, and what jobs may name."""

    workers: list[WorkerInfo]
    offers: dict[str, list[str]] = Field(description="names by field of a job: run, table and architecture")


def job_info(job: Job, workers: list[Worker]) -> JobInfo:
    """Return a job as the API shows it."""
    fields = {name: value for name, value in vars(job).items() if name in JobInfo.model_fields}
    return JobInfo.model_validate({**fields, "detail": _detail(job, workers)})


def _detail(job: Job, workers: list[Worker]) -> str:
    if job.state == "queued":
        listening = [worker for worker in workers if job.queue in worker.queues and not worker.stopping]
        if not listening:
            advice = "start one with `chiron worker`, or with `docker compose up -d worker`"
            return f"no worker of queue {job.queue} is connected; {advice}"
        if all(worker.failed_starts for worker in listening):
            starts = max(worker.failed_starts for worker in listening)
            return f"no worker of queue {job.queue} can start a process for it; {starts} starts in a row have failed, see its log"
        if all(worker.job for worker in listening):
            return f"waits for one of {len(listening)} busy workers of queue {job.queue}"
        sentence = "sent to the broker, about to start" if job.sent_at is not None else "not yet sent to the broker"
        problem = next((worker.problem for worker in listening if worker.problem is not None), None)
        return sentence if problem is None else f"{sentence}; its worker reports: {problem}"
    if job.state == "running" and waits(job):
        progress = job.progress or {"step": 0}
        return f"waits for its trainings, of which {progress['step']} have ended; GET /jobs?parent={job.id} lists them"
    if job.state == "running":
        return f"attempt {job.attempt} runs on {job.worker}"
    if job.state == "cancelling":
        return "cancel requested; the job is stopping"
    if job.state == "failed" and job.error:
        return f"{job.error['type']}: {job.error['detail']}"
    return job.state
