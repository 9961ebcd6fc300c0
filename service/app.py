"""The HTTP interface: create_app() wires settings, models, metrics and routes; nothing is read before that."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from models.contract.skeleton import HANDS, carried_joints
from service import examples, hands, problems, wire
from service.batcher import QueueFull
from service.problems import KINDS, Problem, ProblemDocument, documented
from service.registry import Registry
from service.schemas import HandsAnswer, HandsRequest, Health, JointOrder, ModelInfo, ModelList, Readiness
from service.security import RequireKey, check_bind
from service.settings import Settings
from service.telemetry import Metrics, Observe

WEB = Path(__file__).parent / "web"
DECODE_ON_LOOP = 100_000  # bytes of JSON that take a quarter of a millisecond; more goes to a thread, for fairness
DESCRIPTION = (
    "Forecasts 3D hand motion with networks whose symmetry is exact: turn the input and the answer turns with it."
)
BINARY = {"schema": {"type": "string", "format": "binary"}}
HANDS_ERRORS = (
    "malformed-body", "unknown-model", "not-acceptable", "body-too-large", "unsupported-media-type", "invalid-request",
    "wrong-shape", "not-finite", "out-of-range", "too-few-frames", "gap-too-long", "unknown-joints", "degenerate-hand",
    "internal", "overloaded", "not-ready",
)  # fmt: skip


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for `settings`, by default those of the environment. Raises UnsafeBind."""
    settings = settings or Settings()
    check_bind(settings)
    metrics = Metrics()
    registry = Registry(settings, metrics)
    decoding = ThreadPoolExecutor(1, thread_name_prefix="decode")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await registry.load()
        gc.collect()
        gc.freeze()  # what is alive now stays: the collector need not look at it again
        yield
        registry.draining = True
        await registry.close()
        decoding.shutdown()

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

    @app.post(
        "/forecast/hands",
        response_model=HandsAnswer,
        responses={200: {"content": {wire.MSGPACK: BINARY, wire.NPY: BINARY}}, **documented(*HANDS_ERRORS)},
        openapi_extra=_hands_operation(),
        tags=["forecast"],
    )
    async def forecast_hands(request: Request) -> Response:
        """The next moments of one hand or two, from the last ones, in the caller's units, joint order, rate and form.

        Coordinates may be in any right-handed frame. Frames in which a hand was not seen are interpolated if they are
        few. As MessagePack, arrays may be raw little-endian floats with a `shape`; as .npy the other fields are
        parameters of the query. Accept chooses the answer's form.
        """
        wanted, media = wire.accepted(request), wire.content_type(request)
        body = await wire.read_body(request, settings.max_body_bytes)
        with metrics.stage("decode"):
            arguments = (body, media, dict(request.query_params))
            if len(body) > DECODE_ON_LOOP:
                asked = await asyncio.get_running_loop().run_in_executor(decoding, wire.decode_hands, *arguments)
            else:
                asked = wire.decode_hands(*arguments)
        model = registry.get(asked.options.model, "hand-forecast", asked.pointer("model"))
        task = model.bundle.meta.task
        with metrics.stage("prepare"):
            question = hands.prepare(asked, task, settings.max_gap_s, model.name)
        try:
            output = await model.batcher.submit(question.tensors)
        except QueueFull as error:
            raise Problem("overloaded", str(error), headers={"retry-after": str(error.retry_after)}) from None
        with metrics.stage("encode"):
            answer = {
                "model": {"name": model.name, "version": model.version},
                **hands.answer(question, output["future"], task),
                "expected_error": model.expected_error,
            }
            content, headers = wire.encode(answer, wanted, asked.dtype)
        return Response(content, headers=headers, media_type=wanted)

    @app.get("/models", response_model=ModelList, tags=["models"])
    async def models() -> ModelList:
        """Every model, and the bundles that were refused."""
        return ModelList(default=registry.default("hand-forecast"), models=registry.infos())

    @app.get("/models/{name}", response_model=ModelInfo, responses=documented("unknown-model"), tags=["models"])
    async def model(name: str) -> ModelInfo:
        """One model: task, symmetries, licence, sources, measured errors, version, and what it runs on."""
        return registry.named(name)

    @app.get(
        "/models/{name}/example",
        response_model=HandsRequest,
        response_model_exclude_none=True,
        responses=documented("unknown-model", "not-ready"),
        tags=["models"],
    )
    async def model_example(name: str) -> dict[str, Any]:
        """A real clip as a body for POST /forecast/hands."""
        return examples.of_bundle(registry.get(name, "hand-forecast", "").bundle)

    @app.get("/joints", response_model=dict[str, JointOrder], tags=["models"])
    async def joints() -> dict[str, JointOrder]:
        """The joint orders of one hand by name, with the bones between the joints."""
        return {
            name: JointOrder(joints=list(order.joints), bones=list(order.bones), carried=list(carried_joints(order)))
            for name, order in HANDS.items()
        }

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
        return Readiness(status="ready" if set(states.values()) == {"ready"} else "degraded", models=states)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
    async def prometheus() -> Response:
        """Prometheus metrics: requests, stages, queueing and computing seconds, batch sizes, by model version."""
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


def _hands_operation() -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads its own body: the body's forms and, for .npy, the parameters."""
    schema = HandsRequest.model_json_schema()
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema["properties"][name],
         "description": f"with {wire.NPY} only, where it stands for the field of the same name"}
        for name in ("fps", "units", "joints", "model", "hand")
    ]  # fmt: skip
    content = {wire.JSON: {"schema": schema, "examples": examples.hands()}, wire.MSGPACK: BINARY, wire.NPY: BINARY}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def _publish_problems(app: FastAPI) -> None:
    """Name the problem document, which no route returns by itself, in /openapi.json in place of FastAPI's error."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        own = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        if schemas.pop("HTTPValidationError", None):
            del schemas["ValidationError"]
            schemas |= own.pop("$defs") | {"ProblemDocument": own}
            for operation in (op for path in document["paths"].values() for op in path.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]  # a path's parts are text: nothing to validate
        return document

    app.openapi = openapi
