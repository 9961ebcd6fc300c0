"""GET /healthz, /readyz, /metrics and /problems, for load balancers, monitors and authors of clients."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from service.http.problems import KINDS, Problem, documented
from service.http.server import Shutdown
from service.inference.describe import limitations, states
from service.inference.served import ServedModels
from service.jobs.service import JobService
from service.telemetry.metrics import Metrics


class Health(BaseModel):
    """The answer of a process that is alive."""

    status: Literal["alive"]


class ProblemKind(BaseModel):
    """The meaning of a kind of problem."""

    type: str
    status: int
    title: str
    remedy: str = Field(description="what the caller can do")


class Readiness(BaseModel):
    """The state of every model."""

    status: Literal["ready", "degraded"] = Field(
        description="degraded: a bundle was refused or is limited and the others serve, or jobs do not work"
    )
    models: dict[str, str] = Field(description="by name: ready, or why the model was refused")
    limitations: dict[str, str] = Field(
        description="by name, why a ready model is not served as it should be: not its current version, or not on the GPU"
    )
    jobs: str = Field(description="ready, or why the job table cannot be used")


def router(models: ServedModels, jobs: JobService, metrics: Metrics, shutdown: Shutdown) -> APIRouter:
    """Return the routes that report on the process."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", response_model=Health)
    async def get_health() -> Health:
        """Answer as long as the process is alive."""
        return Health(status="alive")

    @routes.get("/readyz", response_model=Readiness, responses=documented("not-ready"))
    async def get_readiness() -> Readiness:
        """Answer 200 while at least one model is ready and the process is not stopping."""
        if shutdown.begun:
            raise Problem("not-ready", "the service is stopping", headers={"retry-after": "5"})
        state, limited = states(models.snapshot), limitations(models.snapshot)
        if "ready" not in state.values():
            reasons = "; ".join(f"{name}: {reason}" for name, reason in state.items()) or "no bundles"
            raise Problem("not-ready", f"no model is ready ({reasons})", headers={"retry-after": "5"})
        degraded = limited or set(state.values()) != {"ready"}
        problem = jobs.problem
        status = "degraded" if degraded or problem else "ready"
        return Readiness(status=status, models=state, limitations=limited, jobs=problem or "ready")

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def get_metrics() -> Response:
        """Return Prometheus metrics: requests, stages, queueing and computing seconds, batch sizes, jobs and workers."""
        await jobs.call(jobs.measure)
        exposition = await asyncio.to_thread(metrics.exposition)  # takes tens of milliseconds
        return Response(exposition, media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/problems/{kind}", response_model=ProblemKind, responses=documented("not-found"))
    async def explain_problem(kind: str) -> ProblemKind:
        """Explain a problem's `type` and what to do about it."""
        if kind not in KINDS:
            raise Problem("not-found", f"no kind of problem {kind!r}; there are {', '.join(KINDS)}")
        return ProblemKind(type=f"/problems/{kind}", **vars(KINDS[kind]))

    return routes
