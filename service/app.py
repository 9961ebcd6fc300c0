"""The HTTP interface: create_app() wires settings, models, metrics and routes; nothing is read before that."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from models.skeletons.body import BODIES
from models.skeletons.face import FACE68, FACE_REGIONS
from models.skeletons.hand import HANDS, carried_joints
from service.http import problems
from service.http.limits import Threads
from service.http.openapi import _publish_problems
from service.http.problems import (
    KINDS,
    Problem,
    documented,
)
from service.http.security import RequireKey, check_bind
from service.inference.describe import ModelInfo, ModelList
from service.inference.served import Registry
from service.jobs.queue.broker import EmbeddedBroker
from service.jobs.service import JobService
from service.routes import datasets as dataset_routes
from service.routes import jobs as job_routes
from service.routes import versions as version_routes
from service.routes.models import JointOrder, LandmarkOrder, _order
from service.routes.operation import Health, Readiness
from service.settings import Settings
from service.tasks.bodies import endpoint as body_routes
from service.tasks.bodies import examples
from service.tasks.bodies.schemas import ActionsRequest, LiftRequest, PosesRequest
from service.tasks.faces import answers
from service.tasks.faces import endpoint as landmarks_face
from service.tasks.hands import endpoint as forecast_hands
from service.tasks.hands import examples as hand_examples
from service.tasks.hands.schemas import HandsRequest
from service.telemetry.logs import Observe
from service.telemetry.metrics import Metrics

WEB = Path(__file__).parent / "web"
DESCRIPTION = (
    "Forecasts 3D hand motion, finds landmarks on 3D scans of faces, lifts, forecasts and recognises the motion of bodies, with networks "
    "whose symmetry is exact: turn or mirror the input and the answer turns or mirrors with it."
)


def create_app(settings: Settings | None = None, broker: EmbeddedBroker | None = None) -> FastAPI:
    """The application for `settings`, by default those of the environment; it keeps `broker` running. Raises UnsafeBind."""
    settings = settings or Settings()
    check_bind(settings)
    metrics = Metrics()
    registry = Registry(settings, metrics)
    jobs = JobService(settings, broker)
    limits = {"max_queue": settings.max_queue, "deadline_s": settings.deadline_s}
    bodies = Threads(1, name="decode", **limits)
    scans = Threads(settings.slots or os.cpu_count() or 1, name="scan", **limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await registry.load()
        await asyncio.to_thread(jobs.start)
        gc.collect()
        gc.freeze()  # what is alive now stays: the collector need not look at it again
        following = asyncio.create_task(registry.follow())
        yield
        registry.draining = True
        following.cancel()
        await registry.close()
        await asyncio.to_thread(jobs.close)
        for threads in (bodies, scans):
            threads.close()

    app = FastAPI(
        title="Chiron",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.registry, app.state.metrics = registry, metrics
    problems.install(app)
    if settings.api_keys:
        app.add_middleware(RequireKey, keys=settings.api_keys)
    app.add_middleware(Observe, metrics=metrics)  # added last: it is outermost
    app.include_router(forecast_hands.router(registry, metrics, bodies, settings))
    app.include_router(body_routes.router(registry, metrics, bodies, settings))
    app.include_router(landmarks_face.router(registry, metrics, scans, settings))
    app.include_router(job_routes.router(jobs, registry, settings))
    app.include_router(dataset_routes.router(jobs, settings))
    app.include_router(version_routes.router(registry))

    @app.get("/models", response_model=ModelList, tags=["models"])
    async def models() -> ModelList:
        """Every model with its versions, and the bundles that were refused."""
        return ModelList(defaults=registry.defaults(), models=await asyncio.to_thread(registry.infos))

    @app.get("/models/{name}", response_model=ModelInfo, responses=documented("unknown-model"), tags=["models"])
    async def model(name: str) -> ModelInfo:
        """One model: task, symmetries, licence, sources, measured errors, version, and what it runs on."""
        return await asyncio.to_thread(registry.named, name)

    @app.get(
        "/models/{name}/example",
        response_model=HandsRequest | LiftRequest | PosesRequest | ActionsRequest,
        response_model_exclude_none=True,
        responses={
            200: {"content": {landmarks_face.PLY: landmarks_face.BINARY}},
            **documented("unknown-model", "not-ready"),
        },
        tags=["models"],
    )
    async def model_example(name: str) -> Any:
        """An input to try the model with: a clip as a body for the endpoint of its kind, a scan for POST /landmarks/face."""
        model = registry.serving(name)
        if model.kind == "face-landmarks":
            return Response(answers.scan_of_bundle(model.bundle), media_type=landmarks_face.PLY)
        if model.kind == "hand-forecast":
            return hand_examples.clip_of_bundle(model.bundle)
        return examples.body_of_bundle(model.bundle)

    @app.get("/joints", response_model=dict[str, JointOrder], tags=["models"])
    async def joints() -> dict[str, JointOrder]:
        """The joint orders of one hand and of a body by name, with the bones between the joints and what mirrors what."""
        hands = {name: _order(order, "hand", list(carried_joints(order))) for name, order in HANDS.items()}
        return hands | {name: _order(order, "body", []) for name, order in BODIES.items()}

    @app.get("/landmarks", response_model=dict[str, LandmarkOrder], tags=["models"])
    async def landmarks() -> dict[str, LandmarkOrder]:
        """The landmark orders of a face by name, with the regions and what follows on what."""
        regions = {region: list(indices) for region, indices in FACE_REGIONS.items()}
        return {FACE68.name: LandmarkOrder(landmarks=list(FACE68.joints), regions=regions, edges=list(FACE68.bones))}

    @app.get("/healthz", response_model=Health, tags=["operation"])
    async def healthz() -> Health:
        """The process is alive."""
        return Health(status="alive")

    @app.get("/readyz", response_model=Readiness, responses=documented("not-ready"), tags=["operation"])
    async def readyz() -> Readiness:
        """Requests are served: at least one model is ready and the process is not stopping."""
        states = registry.states()
        if registry.draining or "ready" not in states.values():
            why = "; ".join(f"{name}: {state}" for name, state in states.items()) or "no bundles"
            detail = "the service is stopping" if registry.draining else f"no model is ready ({why})"
            raise Problem("not-ready", detail, headers={"retry-after": "5"})
        well = set(states.values()) == {"ready"} and not registry.stuck
        return Readiness(status="ready" if well else "degraded", models=states)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
    async def prometheus() -> Response:
        """Prometheus metrics: requests, stages, queueing and computing seconds, batch sizes, by model version."""
        await asyncio.to_thread(jobs.measure, metrics)
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/problems/{kind}", responses=documented("not-found"), tags=["operation"])
    async def problem(kind: str) -> dict[str, Any]:
        """What a problem's `type` means and what to do about it."""
        if kind not in KINDS:
            raise Problem("not-found", f"no kind of problem {kind!r}; there are {', '.join(KINDS)}")
        return {"type": f"/problems/{kind}", **vars(KINDS[kind])}

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse((WEB / "index.html").read_text())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse((WEB / "docs.html").read_text())

    _publish_problems(app)
    return app
