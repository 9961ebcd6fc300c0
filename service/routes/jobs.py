"""/jobs and /workers: submit, watch, cancel and retry training, sweep, evaluation, benchmark and check jobs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from models.contract.spec import JOB_SPEC, SweepSpec
from service.http.limits import Concurrency, LimitedStream
from service.http.negotiation import content_coding, content_type, read_body
from service.http.problems import ACCEPTED, NO_CONTENT, FileDownload, Problem, documented
from service.http.server import Shutdown
from service.jobs import artifacts
from service.jobs.database import StoreUnavailable
from service.jobs.disk import check_space
from service.jobs.offers import KINDS
from service.jobs.records import FINISHED, Event, State
from service.jobs.service import JobService
from service.jobs.workers import queue_of
from service.registry.catalogue import Catalogue
from service.routes.job_checks import refuse_unknown, spec_of
from service.routes.job_schemas import (
    Artifact,
    ArtifactList,
    JobInfo,
    JobPage,
    WorkerInfo,
    WorkerList,
    job_info,
)
from service.settings import Settings

MAX_SPEC_BYTES = 64 << 10
KEY = re.compile(r"[\x21-\x7e]{1,250}")
POLL_S = 0.3  # between looks of a stream for new events
KEEP_ALIVE_S = 15.0  # proxies close connections that are silent for long
MAX_STREAMS = 64
SHUTDOWN_EVENT = "retry: 1000\nevent: shutdown\ndata: {}\n\n"
ERRORS = (
    "malformed-body", "body-too-large", "unsupported-media-type", "invalid-request", "key-reused", "unknown-dataset",
    "dataset-not-ready", "jobs-unavailable", "disk-full",
)  # fmt: skip


def router(service: JobService, shutdown: Shutdown, settings: Settings, catalogue: Catalogue) -> APIRouter:
    """Return the routes over the jobs of `service`; `catalogue` has the bundles that a training may begin with."""
    routes = APIRouter(tags=["jobs"])
    streams = Concurrency(MAX_STREAMS, "streams of events")

    def info_of(job_id: str) -> JobInfo:
        return job_info(service.table.get(job_id), service.workers.workers())

    @routes.post(
        "/jobs",
        status_code=ACCEPTED,
        response_model=JobInfo,
        responses=documented(*ERRORS),
        openapi_extra=_operation(),
    )
    async def submit_job(request: Request, response: Response) -> JobInfo:
        """Submit a job. It is stored before this answers and runs when a worker is free; `Location` is its address.

        With an `Idempotency-Key` the same request can be repeated for a day: the answer is the same job.
        """
        content_type(request, ("application/json",))
        content_coding(request)
        key = request.headers.get("idempotency-key")
        if key is not None and not KEY.fullmatch(key):
            raise Problem("invalid-request", "Idempotency-Key: expected 1 to 250 visible ASCII characters, got others")
        spec = spec_of(await read_body(request, MAX_SPEC_BYTES))

        def insert() -> JobInfo:
            check_space(settings)
            refuse_unknown(spec, service.offers, catalogue)
            if spec.dataset is not None:
                dataset = service.datasets.get(spec.dataset)
                if spec.kind != "check" and dataset.state != "ready":
                    reason = dataset.reason or f"see job {dataset.job}"
                    raise Problem("dataset-not-ready", f"{dataset.name} is {dataset.state}: {reason}")
            workers = service.workers.workers()
            cells = spec.cells() if isinstance(spec, SweepSpec) else []
            children = [(cell, queue_of(cell, workers)) for cell in cells]
            job, new = service.table.submit(spec, queue_of(spec, workers), key and f"sent:{key}", children)
            if new:
                service.send(job)
            return info_of(job.id)

        info = await service.call(insert)
        response.headers["location"] = f"{request.scope.get('root_path', '')}/jobs/{info.id}"
        return info

    @routes.get(
        "/jobs", response_model=JobPage, responses=documented("invalid-request", "unknown-job", "jobs-unavailable")
    )
    async def list_jobs(
        state: Annotated[State | None, Query(description="only jobs in this state")] = None,
        kind: Annotated[
            Literal["train", "sweep", "evaluate", "benchmark", "check"] | None,
            Query(description="only jobs of this kind"),
        ] = None,
        parent: Annotated[
            str | None,
            Query(
                pattern="^([0-9a-f]{32}|none)$", description="only the trainings of this sweep; none: no such trainings"
            ),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: Annotated[
            str | None, Query(max_length=64, description="`next` of the previous page, or the id of its last job")
        ] = None,
    ) -> JobPage:
        """List jobs, newest first, in pages: repeat the request, with the same filters, with `next` as `after` until it is null.

        No job is left out or repeated if jobs are added or removed meanwhile. An id of a removed job is refused as `after`; `next` is not.
        """

        def page() -> JobPage:
            rows = service.table.jobs(state=state, kind=kind, parent=parent, limit=limit + 1, after=after)
            workers = service.workers.workers()
            following = str(rows[limit - 1].position) if len(rows) > limit else None
            return JobPage(jobs=[job_info(job, workers) for job in rows[:limit]], next=following)

        return await service.call(page)

    @routes.get("/jobs/{id}", response_model=JobInfo, responses=documented("unknown-job", "jobs-unavailable"))
    async def get_job(id: str) -> JobInfo:
        """Describe one job: state, progress with ETA, last metrics, worker, and the error of a failed one."""
        return await service.call(info_of, id)

    @routes.delete(
        "/jobs/{id}",
        status_code=NO_CONTENT,
        response_class=Response,
        responses=documented("unknown-job", "wrong-state", "jobs-unavailable"),
    )
    async def remove_job(id: str) -> None:
        """Remove a finished job with its events and artifacts, and the trainings of a sweep. Versions that it has published stay."""
        await service.call(service.remove_job, id)

    @routes.post(
        "/jobs/{id}/cancel",
        response_model=JobInfo,
        responses=documented("unknown-job", "wrong-state", "jobs-unavailable"),
    )
    async def cancel_job(id: str) -> JobInfo:
        """Cancel a job. A running one stops within seconds and keeps its last checkpoint; so do the trainings of a sweep."""
        await service.call(service.table.cancel, id)
        return await service.call(info_of, id)

    @routes.post(
        "/jobs/{id}/retry",
        response_model=JobInfo,
        responses=documented("unknown-job", "wrong-state", "jobs-unavailable"),
    )
    async def retry_job(id: str) -> JobInfo:
        """Run a failed or cancelled job again, from its last checkpoint."""

        def requeue() -> JobInfo:
            service.send(service.table.retry(id))
            return info_of(id)

        return await service.call(requeue)

    @routes.get(
        "/jobs/{id}/events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **documented("unknown-job", "invalid-request", "overloaded", "jobs-unavailable"),
        },
    )
    async def stream_job_events(id: str, request: Request) -> LimitedStream:
        """Stream the events of a job as server-sent events, from the first or after `Last-Event-ID`, until the job ends.

        The events are `state`, `progress`, `metrics` and `log`, each with JSON. `shutdown` means that this server stops: connect again.
        """
        last = request.headers.get("last-event-id", "0")
        if not last.isascii() or not last.isdigit() or len(last) > 12:
            raise Problem("invalid-request", f"Last-Event-ID: expected the number of an event, got {last[:20]!r}")
        await service.call(service.table.get, id)

        async def events_or_shutdown() -> AsyncIterator[str]:
            try:
                async for text in stream(id, int(last)):
                    yield text
            except StoreUnavailable:
                yield SHUTDOWN_EVENT

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return LimitedStream(events_or_shutdown(), streams, media_type="text/event-stream", headers=headers)

    async def stream(id: str, last: int) -> AsyncIterator[str]:
        silent_s = 0.0
        while not shutdown.begun:
            # the state is read before the events: if it is final, the last event is among them
            finished = (await service.call(service.table.get, id)).state in FINISHED
            new = await service.call(service.table.events, id, last)
            for event in new:
                yield _server_sent(event)
                last = event.number
            if finished and not new:
                return
            silent_s = 0.0 if new else silent_s + POLL_S
            if silent_s >= KEEP_ALIVE_S:
                silent_s = 0.0
                yield ": keep-alive\n\n"
            if not new:
                await asyncio.sleep(POLL_S)
        yield SHUTDOWN_EVENT

    @routes.get(
        "/jobs/{id}/artifacts", response_model=ArtifactList, responses=documented("unknown-job", "jobs-unavailable")
    )
    async def list_job_artifacts(id: str) -> ArtifactList:
        """List the files of a job so far: checkpoints, history, tables, pictures, the bundle."""

        def listed() -> ArtifactList:
            job = service.table.get(id)
            files = artifacts.files(settings.jobs, job.id, job.attempt)
            return ArtifactList(
                attempt=job.attempt,
                artifacts=[
                    Artifact(name=name, bytes=path.stat().st_size, url=f"/jobs/{job.id}/artifacts/{name}")
                    for name, path in files.items()
                ],
            )

        return await service.call(listed)

    @routes.get(
        "/jobs/{id}/artifacts/{name:path}",
        response_class=FileDownload,
        responses={
            200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
            **documented(
                "unknown-job", "unknown-artifact", "invalid-request", "range-not-satisfiable", "jobs-unavailable"
            ),
        },
    )
    async def get_job_artifact(id: str, name: str) -> FileDownload:
        """Download one file of a job."""
        job = await service.call(service.table.get, id)
        files = await service.call(artifacts.files, settings.jobs, job.id, job.attempt)
        if name not in files:
            raise Problem("unknown-artifact", f"job {id} has no {name[:200]!r}; there are {', '.join(files) or 'none'}")
        return FileDownload(files[name], media_type="application/octet-stream", filename=files[name].name)

    @routes.get("/workers", response_model=WorkerList, responses=documented("jobs-unavailable"))
    async def list_workers() -> WorkerList:
        """List the connected workers with their queues, device and current job, and the names that jobs may have."""

        def listed() -> WorkerList:
            workers = [WorkerInfo(**vars(worker)) for worker in service.workers.workers()]
            return WorkerList(workers=workers, offers={kind: service.offers.names(kind) for kind in KINDS})

        return await service.call(listed)

    return routes


def _server_sent(event: Event) -> str:
    data = json.dumps({"at": round(event.at, 3), **event.data})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


def _operation() -> dict[str, Any]:
    """Return the OpenAPI parts that FastAPI cannot derive, since the route reads its own body."""
    schema = JOB_SPEC.json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs")
    inline = [definitions[reference["$ref"].rpartition("/")[2]] for reference in schema["oneOf"]]
    example = {"kind": "train", "run": "hands-eqmotion", "steps": 40}
    content = {"application/json": {"schema": {"oneOf": inline}, "example": example}}
    key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 250}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [key]}
