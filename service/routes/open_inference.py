"""The Open Inference Protocol (V2) over HTTP: health, metadata and inference, for clients of Triton and KServe."""

import inspect
from importlib.metadata import version as version_of

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.http.negotiation import JSON
from service.http.openapi import BINARY
from service.http.problems import Problem, documented
from service.http.server import Shutdown
from service.inference.model import Model
from service.inference.served import ServedModels
from service.tasks.open_inference import INFER, LENGTH, OCTETS, metadata
from service.tasks.pipeline import Pipeline

MODEL, VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
MOST_DIGITS = 20  # of a number of bytes


class ServerMetadata(BaseModel):
    """The server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The answer of a process that is alive. KServe's client reads the field, Triton's the status."""

    live: bool = True


class Ready(BaseModel):
    """The answer of a server that is ready."""

    ready: bool = True


class ModelReady(BaseModel):
    """The answer about a model that serves."""

    name: str
    ready: bool = True


class TensorMetadata(BaseModel):
    """A tensor of a model; -1 is an axis of several sizes, the first of which is the batch."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model and its tensors. Only one version of a model is served at a time."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def router(models: ServedModels, pipeline: Pipeline, shutdown: Shutdown) -> APIRouter:
    """Return the routes of the protocol."""
    routes = APIRouter(tags=["open inference"])
    not_ready, unknown = documented("not-ready"), documented("unknown-model", "unknown-version", "not-ready")

    @routes.get("/v2", response_model=ServerMetadata)
    async def get_v2_server() -> ServerMetadata:
        """Describe the server."""
        return ServerMetadata(name="chiron", version=version_of("chiron"), extensions=["binary_tensor_data"])

    @routes.get("/v2/health/live", response_model=Live)
    async def get_v2_live() -> Live:
        """Answer as long as the process is alive."""
        return Live()

    @routes.get("/v2/health/ready", response_model=Ready, responses=not_ready)
    async def get_v2_ready() -> Ready:
        """Answer 200 while at least one model is ready and the process is not stopping."""
        if shutdown.begun or not models.snapshot.models:
            raise Problem("not-ready", "no model is ready, or the service is stopping", headers={"retry-after": "5"})
        return Ready()

    def serving(name: str, version: str | None = None) -> Model:
        model = models.serving(name)
        if version not in (None, model.version):
            raise Problem("unknown-version", f"{name} serves version {model.version}, not {str(version)[:80]}")
        return model

    def describe(name: str, version: str | None = None) -> ModelMetadata:
        model = serving(name, version)
        task = model.bundle.meta.task
        inputs, outputs = (
            [TensorMetadata(**each) for each in metadata(specs)] for specs in (task.inputs, task.outputs)
        )
        versions, platform = [model.version], "onnxruntime_onnx"
        return ModelMetadata(name=name, versions=versions, platform=platform, inputs=inputs, outputs=outputs)

    async def run(request: Request, name: str, version: str | None = None) -> Response:
        serving(name, version)
        header = request.headers.get(LENGTH)
        if header is not None and not (header.isdecimal() and len(header) < MOST_DIGITS):
            raise Problem("malformed-body", f"{LENGTH}: expected a number of bytes, got {header[:40]!r}")
        options = {"model": name, "version": version, "header": header}
        return await pipeline.answer(INFER, request, JSON if header is None else OCTETS, options)

    @routes.get(MODEL, response_model=ModelMetadata, responses=unknown)
    async def get_v2_model(name: str) -> ModelMetadata:
        """Describe a model's tensors."""
        return describe(name)

    @routes.get(VERSION, response_model=ModelMetadata, responses=unknown)
    async def get_v2_version(name: str, version: str) -> ModelMetadata:
        """Describe the tensors of a model, if this version serves."""
        return describe(name, version)

    @routes.get(f"{MODEL}/ready", response_model=ModelReady, responses=unknown)
    async def get_v2_model_ready(name: str) -> ModelReady:
        """Answer 200 if the model serves."""
        serving(name)
        return ModelReady(name=name)

    @routes.get(f"{VERSION}/ready", response_model=ModelReady, responses=unknown)
    async def get_v2_version_ready(name: str, version: str) -> ModelReady:
        """Answer 200 if this version of the model serves."""
        serving(name, version)
        return ModelReady(name=name)

    infers = {
        "description": inspect.cleandoc(INFER.description),
        "response_model": INFER.answer,
        "responses": {200: {"content": {OCTETS: BINARY}}, **documented(*INFER.errors)},
        "openapi_extra": INFER.operation(),
    }

    @routes.post(INFER.path, **infers)
    async def infer_v2_model(request: Request, name: str) -> Response:
        return await run(request, name)

    @routes.post(f"{VERSION}/infer", **infers)
    async def infer_v2_version(request: Request, name: str, version: str) -> Response:
        return await run(request, name, version)

    return routes
