"""/jobs and /workers: what training, measuring and benchmarks are asked for, watched and stopped through."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import TypeAdapter, ValidationError

from models.contract.spec import JOB_SPEC
from service.http.limits import Concurrency, LimitedStream
from service.http.negotiation import content_type, read_body
from service.http.problems import Problem, documented
from service.http.server import Shutdown
from service.jobs import artifacts
from service.jobs.database import StoreUnavailable
from service.jobs.service import JobService
from service.jobs.table import OVER, Event, State
from service.jobs.workers import queue_of
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

P = ParamSpec("P")
T = TypeVar("T")

MAX_SPEC_BYTES = 64 << 10
KEY = re.compile(r"[\x21-\x7e]{1,250}")
POLL_S = 0.3  # how often a stream looks for events
SAY_SOMETHING_S = 15.0  # a proxy closes what is silent for long
MAX_STREAMS = 64
END = "retry: 1000\nevent: shutdown\ndata: {}\n\n"
ERRORS = (
    "malformed-body", "body-too-large", "unsupported-media-type", "invalid-request", "key-reused", "unknown-dataset",
    "dataset-not-ready", "jobs-unavailable",
)  # fmt: skip


def router(service: JobService, shutdown: Shutdown, settings: Settings) -> APIRouter:
    """The routes, over these jobs."""
    routes = APIRouter(tags=["jobs"])
    streams = Concurrency(MAX_STREAMS, "streams of events")

    async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The job table is on a disk or behind a network: it is asked in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)

    def shown(job_id: str) -> JobInfo:
        return job_info(service.table.get(job_id), service.workers.workers())

    @routes.post(
        "/jobs",
        status_code=202,
        response_model=JobInfo,
        responses=documented(*ERRORS),
        openapi_extra=_operation(),
    )
    async def submit(request: Request, response: Response) -> JobInfo:
        """Ask for a job. It is kept before this answers, and runs when a worker is free; `Location` is where it is watched.

        With an `Idempotency-Key` the same request may be sent again, for a day: it is answered with the same job.
        """
        content_type(request, ("application/json",))
        key = request.headers.get("idempotency-key")
        if key is not None and not KEY.fullmatch(key):
            raise Problem("invalid-request", "Idempotency-Key: wanted 1 to 250 visible characters; others came")
        spec = spec_of(bytes(await read_body(request, MAX_SPEC_BYTES)))

        def keep() -> JobInfo:
            if spec.dataset is not None and spec.kind != "check":
                data = service.datasets.get(spec.dataset)
                if data.state != "ready":
                    raise Problem(
                        "dataset-not-ready", f"{data.name} is {data.state}: {data.reason or 'in job ' + data.job}"
                    )
            elif spec.dataset is not None:
                service.datasets.get(spec.dataset)
            job, new = service.table.submit(spec, queue_of(spec, service.workers.workers()), key and f"sent:{key}")
            if new:
                service.tell(job)
            return shown(job.id)

        info = await aside(keep)
        response.headers["location"] = f"/jobs/{info.id}"
        return info

    @routes.get(
        "/jobs", response_model=JobPage, responses=documented("invalid-request", "unknown-job", "jobs-unavailable")
    )
    async def jobs(
        state: Annotated[State | None, Query(description="only those in it")] = None,
        kind: Annotated[
            Literal["train", "evaluate", "benchmark", "check"] | None, Query(description="only of it")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: Annotated[str | None, Query(max_length=64, description="the last job of the page before")] = None,
    ) -> JobPage:
        """Jobs, the newest first."""

        def page() -> JobPage:
            found = service.table.jobs(state=state, kind=kind, limit=limit, after=after)
            workers = service.workers.workers()
            following = found[-1].id if len(found) == limit else None
            return JobPage(jobs=[job_info(job, workers) for job in found], next=following)

        return await aside(page)

    @routes.get("/jobs/{id}", response_model=JobInfo, responses=documented("unknown-job", "jobs-unavailable"))
    async def job(id: str) -> JobInfo:
        """One job: state, progress, last metrics, seconds to go, worker; of a failed one the error with its last lines."""
        return await aside(shown, id)

    @routes.post(
        "/jobs/{id}/cancel",
        response_model=JobInfo,
        responses=documented("unknown-job", "wrong-state", "jobs-unavailable"),
    )
    async def cancel(id: str) -> JobInfo:
        """Cancel a job. One that runs stops within five seconds and keeps its checkpoint."""
        await aside(service.table.cancel, id)
        return await aside(shown, id)

    @routes.post(
        "/jobs/{id}/retry",
        response_model=JobInfo,
        responses=documented("unknown-job", "wrong-state", "jobs-unavailable"),
    )
    async def retry(id: str) -> JobInfo:
        """Run a job again that failed or was cancelled. It goes on from its last checkpoint."""

        def again() -> JobInfo:
            service.tell(service.table.retry(id))
            return shown(id)

        return await aside(again)

    @routes.get(
        "/jobs/{id}/events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **documented("unknown-job", "invalid-request", "overloaded", "jobs-unavailable"),
        },
    )
    async def events(id: str, request: Request) -> LimitedStream:
        """What happens to a job, as server-sent events, from the beginning or after `Last-Event-ID`, until it is over.

        `state`, `progress`, `metrics` and `log`, each with JSON; `shutdown` when this server stops: connect again.
        """
        last = request.headers.get("last-event-id", "0")
        if not last.isascii() or not last.isdigit() or len(last) > 12:
            raise Problem("invalid-request", f"Last-Event-ID: wanted the id of an event, a number; {last[:20]!r} came")
        await aside(service.table.get, id)

        async def events_or_end() -> AsyncIterator[str]:
            try:
                async for text in stream(id, int(last)):
                    yield text
            except StoreUnavailable:
                yield END

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return LimitedStream(events_or_end(), streams, media_type="text/event-stream", headers=headers)

    async def stream(id: str, last: int) -> AsyncIterator[str]:
        silent = 0.0
        while not shutdown.begun:
            over = (await aside(service.table.get, id)).state in OVER  # asked first: the last event is there by then
            found = await aside(service.table.events, id, last)
            for event in found:
                yield _sent(event)
                last = event.number
            if over and not found:
                return
            silent = 0.0 if found else silent + POLL_S
            if silent >= SAY_SOMETHING_S:
                silent = 0.0
                yield ": still here\n\n"
            if not found:
                await asyncio.sleep(POLL_S)
        yield END

    @routes.get(
        "/jobs/{id}/artifacts", response_model=ArtifactList, responses=documented("unknown-job", "jobs-unavailable")
    )
    async def list_artifacts(id: str) -> ArtifactList:
        """What a job has made so far: checkpoints, history, tables, pictures, the bundle."""

        def listed() -> ArtifactList:
            held = service.table.get(id)
            found = artifacts.files(settings.jobs, held.id, held.attempt)
            urls = {name: f"/jobs/{held.id}/artifacts/{name}" for name in found}
            return ArtifactList(
                attempt=held.attempt,
                artifacts=[Artifact(name=n, bytes=p.stat().st_size, url=urls[n]) for n, p in found.items()],
            )

        return await aside(listed)

    @routes.get(
        "/jobs/{id}/artifacts/{name:path}",
        response_class=FileResponse,
        responses={
            200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
            **documented("unknown-job", "unknown-artifact", "jobs-unavailable"),
        },
    )
    async def artifact(id: str, name: str) -> FileResponse:
        """One of them."""
        held = await aside(service.table.get, id)
        found = await aside(artifacts.files, settings.jobs, held.id, held.attempt)
        if name not in found:
            raise Problem("unknown-artifact", f"job {id} has no {name[:200]!r}; there are {', '.join(found) or 'none'}")
        return FileResponse(found[name], media_type="application/octet-stream", filename=found[name].name)

    @routes.get("/workers", response_model=WorkerList, responses=documented("jobs-unavailable"))
    async def workers() -> WorkerList:
        """The workers that are connected: queues, device, and what each runs."""
        return WorkerList(workers=[WorkerInfo(**vars(worker)) for worker in await aside(service.workers.workers)])

    return routes


def spec_of(body: bytes) -> Any:
    """The spec in a body. Raises the problems malformed-body and invalid-request."""
    try:
        value = TypeAdapter(Any).validate_json(body)
        spec = JOB_SPEC.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise Problem("malformed-body", f"the body is no JSON: {error.errors()[0]['msg'][:200]}") from None
        raise Problem.of_fields(error.errors(), lambda at: "".join(f"/{part}" for part in at[1:])) from None
    return spec


def _sent(event: Event) -> str:
    data = json.dumps({"at": round(event.at, 3), **event.data})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


def _operation() -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads its own body."""
    schema = JOB_SPEC.json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs")
    inline = [definitions[reference["$ref"].rpartition("/")[2]] for reference in schema["oneOf"]]
    example = {"kind": "train", "run": "hands-eqmotion", "steps": 40}
    content = {"application/json": {"schema": {"oneOf": inline}, "example": example}}
    key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 250}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [key]}
