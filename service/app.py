"""The HTTP application: create_app() wires settings, models, metrics and routes; nothing is read or loaded before that."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.http import problems
from service.http.direct import AnswerDirectly
from service.http.drain import DrainBody
from service.http.head import HeadAsGet
from service.http.in_flight import LimitInFlight
from service.http.observe import Observe
from service.http.openapi import operation_id, publish
from service.http.origins import ANY, CheckOrigin
from service.http.prefix import UnderPrefix
from service.http.rates import LimitRate
from service.http.security import RequireKey, check_bind, key_ring
from service.http.server import Shutdown
from service.inference.served import ServedModels
from service.jobs.queue.broker import EmbeddedBroker
from service.jobs.service import JobService
from service.routes import datasets, jobs, models, open_inference, operation, page, versions
from service.routes.errors import RAISED
from service.settings import Settings
from service.tasks.catalogue import ENDPOINTS, EXAMPLES, KINDS
from service.tasks.hands.stream.socket import HandStreams
from service.tasks.pipeline import Pipeline
from service.telemetry.metrics import Metrics

# Allocations between looks for cycles: a request makes thousands of objects, which are freed as soon as it is answered.
COLLECT_AFTER = (50_000, 20, 20)
DESCRIPTION = (
    "Forecasts 3D hand motion, finds landmarks on 3D face scans, and lifts, forecasts and recognises body motion, with networks whose "
    "symmetry is exact: turn or mirror the input and the answer turns or mirrors with it."
)

CORS = {
    "allow_methods": ("GET", "HEAD", "POST", "DELETE"),
    "allow_headers": ("authorization", "x-api-key", "content-type", "content-encoding", "accept", "idempotency-key",
                      "last-event-id", "x-request-id"),
    "expose_headers": ("location", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-request-id",
                       "x-chiron-model", "x-chiron-model-version", "x-chiron-fps", "x-chiron-units", "x-chiron-joints",
                       "x-chiron-arrays", "x-chiron-filled-frames", "x-chiron-warnings"),
    "max_age": 600,
}  # fmt: skip


def create_app(settings: Settings | None = None, broker: EmbeddedBroker | None = None) -> FastAPI:
    """Return the application for `settings`, by default those of the environment; raise UnsafeBind.

    The application owns `broker` and stops it at its end.
    """
    settings = settings or Settings()
    keys = key_ring(settings)
    check_bind(settings, keys)
    metrics, shutdown = Metrics(), Shutdown()
    served, job_service = ServedModels(settings, metrics), JobService(settings, metrics.registry, broker)
    pipeline = Pipeline(served, metrics, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        thresholds = gc.get_threshold()
        gc.set_threshold(*COLLECT_AFTER)
        gc.freeze()  # modules stay, and need no further look; models are loaded later, because each must be freed once replaced
        await served.load()
        await asyncio.to_thread(job_service.start)
        tasks = [asyncio.create_task(served.follow()), asyncio.create_task(metrics.watch_event_loop())]
        yield
        shutdown.begin()
        for task in tasks:
            task.cancel()
        await served.close()
        await asyncio.to_thread(job_service.close)
        pipeline.close()
        gc.set_threshold(*thresholds)

    app = FastAPI(
        title="Chiron",
        version=version("chiron"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"metrics": False, "logs": False},  # /metrics and the log are the service's own; spans stay
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
    )
    app.state.shutdown = shutdown
    problems.install(app, RAISED)
    hosts = settings.hosts or ((ANY,) if keys else ())
    endpoints = pipeline.router(ENDPOINTS)
    # The one added last is outermost: a preflight is answered before keys are checked, and every answer is observed.
    app.add_middleware(AnswerDirectly, routes=endpoints.routes, handlers=app.exception_handlers)
    app.add_middleware(LimitInFlight, requests=settings.max_requests_in_flight, bytes=settings.max_bytes_in_flight)
    app.add_middleware(
        LimitRate, per_minute=settings.requests_per_minute, redis_url=broker.url if broker else settings.redis_url
    )
    app.add_middleware(RequireKey, ring=keys)
    app.add_middleware(HeadAsGet)
    app.add_middleware(CheckOrigin, hosts=hosts, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS)
    failed = problems.KINDS["internal"].status
    app.add_middleware(DrainBody)
    app.add_middleware(Observe, metrics=metrics, failed=failed, switched=problems.SWITCHED)
    if settings.root_path:
        app.add_middleware(UnderPrefix, prefix=settings.root_path)
    app.include_router(endpoints)
    app.include_router(HandStreams(served, metrics, settings, shutdown).router())
    app.include_router(open_inference.router(served, pipeline, shutdown))
    app.include_router(jobs.router(job_service, shutdown, settings, served.catalogue))
    app.include_router(datasets.router(job_service, settings))
    app.include_router(versions.router(served))
    app.include_router(models.router(served, EXAMPLES, KINDS))
    app.include_router(operation.router(served, job_service, metrics, shutdown))

    page.add_page(app)

    @app.websocket("/{path:path}")
    async def no_stream(path: str) -> None:
        raise problems.Problem("not-found", f"no stream at {'/' + path[:200]!r}; docs/service.md lists them")

    publish(app, settings.root_path)
    return app
