"""POST /poses/lift, /forecast/poses and /actions/recognize: clips of any form through the model's batcher to an answer of any form."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from models.contract.symmetry import Tensors
from service.http import negotiation
from service.http.limits import ThreadPool
from service.http.negotiation import accepted, content_type, read_body
from service.http.openapi import BINARY, operation
from service.http.problems import documented
from service.inference.batcher import Batcher
from service.inference.model import Model
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks.bodies import actions as recognize_actions
from service.tasks.bodies import examples
from service.tasks.bodies import forecast as forecast_poses
from service.tasks.bodies import lift as lift_poses
from service.tasks.bodies import wire as body_wire
from service.tasks.bodies.schemas import (
    ActionsAnswer,
    ActionsRequest,
    LiftAnswer,
    LiftRequest,
    PosesAnswer,
    PosesRequest,
)
from service.tasks.endpoint import DECODE_ON_LOOP, Example
from service.telemetry.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")

ERRORS = (
    "malformed-body", "unknown-model", "not-acceptable", "body-too-large", "too-many-frames", "unsupported-media-type",
    "invalid-request", "wrong-shape", "not-finite", "out-of-range", "too-few-frames", "gap-too-long", "unknown-joints",
    "missing-joints", "internal", "overloaded", "not-ready",
)  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """One of the three: what differs between them. `module` has prepare, answer and about."""

    path: str
    kind: str  # of task
    tag: str
    form: body_wire.Form
    module: Any
    request: type[BaseModel]
    answer: type[BaseModel]
    examples: Callable[[], dict[str, dict[str, Any]]]
    options: tuple[str, ...]
    types: tuple[str, ...]  # of answers
    said: str


LIFT = Endpoint(
    "/poses/lift", "pose-lift", "poses", body_wire.LIFT, lift_poses, LiftRequest, LiftAnswer, examples.lift,
    ("joints", "model", "fps", "image"), negotiation.TYPES,
    """A 3D pose for every frame of a person's 2D keypoints, in metres from the pelvis, in the camera's axes.

    Keypoints are in pixels of an `image`, in any joint order and rate. The poses are in the model's order, at the frames that came. As
    MessagePack, arrays may be raw little-endian floats with a `shape`; as .npy the other fields are parameters of the query. Accept chooses
    the answer's form.
    """,
)  # fmt: skip
FORECAST = Endpoint(
    "/forecast/poses", "pose-forecast", "forecast", body_wire.POSES, forecast_poses, PosesRequest, PosesAnswer,
    examples.poses, ("joints", "model", "fps"), negotiation.TYPES,
    """The next 2D poses of a person, from the last ones, in the caller's unit, joint order, rate and form.

    Keypoints that are missing for a moment are interpolated. Joints that the model does not know are null in the answer. As MessagePack,
    arrays may be raw little-endian floats with a `shape`; as .npy the other fields are parameters of the query. Accept chooses the answer's
    form.
    """,
)  # fmt: skip
RECOGNIZE = Endpoint(
    "/actions/recognize", "action-recognition", "actions", body_wire.ACTIONS, recognize_actions, ActionsRequest,
    ActionsAnswer, examples.actions, ("joints", "model", "fps", "units", "top"), (negotiation.JSON, negotiation.MSGPACK),
    """What a person does, or several together, in a clip of 2D or 3D keypoints, as GET /models says: classes with their probabilities.

    As MessagePack, arrays may be raw little-endian floats with a `shape`; as .npy the other fields are parameters of the query.
    """,
)  # fmt: skip
ENDPOINTS = (LIFT, FORECAST, RECOGNIZE)

EXAMPLES = {endpoint.kind: Example(examples.body_of_bundle, schema=endpoint.request) for endpoint in ENDPOINTS}


def router(registry: ServedModels, metrics: Metrics, threads: ThreadPool, settings: Settings) -> APIRouter:
    """The routes, over these models; `threads` are for large bodies."""
    routes = APIRouter()

    def add(endpoint: Endpoint) -> None:
        async def respond(request: Request) -> Response:
            return await _respond(request, endpoint, registry, metrics, threads, settings)

        binary = {type_: BINARY for type_ in endpoint.types if type_ != negotiation.JSON}
        routes.add_api_route(
            endpoint.path,
            respond,
            methods=["POST"],
            name=endpoint.path[1:].replace("/", "_"),
            description="\n".join(line.strip() for line in endpoint.said.strip().split("\n")),
            response_model=endpoint.answer,
            responses={200: {"content": binary}, **documented(*ERRORS)},
            openapi_extra=operation(endpoint.request, endpoint.examples(), endpoint.options),
            tags=[endpoint.tag],
        )

    for endpoint in ENDPOINTS:
        add(endpoint)
    return routes


async def _respond(
    request: Request,
    endpoint: Endpoint,
    registry: ServedModels,
    metrics: Metrics,
    threads: ThreadPool,
    settings: Settings,
) -> Response:
    def stage(name: str) -> AbstractContextManager[None]:
        return metrics.stage(endpoint.path, name)

    wanted, media = accepted(request, endpoint.types), content_type(request, negotiation.TYPES)
    body = bytes(await read_body(request, settings.max_body_bytes))
    run = threads.run if len(body) > DECODE_ON_LOOP else _here
    with stage("decode"):
        asked = await run(body_wire.decode, endpoint.form, body, media, dict(request.query_params))
    model = registry.get(asked.options.model, endpoint.kind, asked.pointer("model"))
    task = model.bundle.meta.task
    with stage("prepare"):
        questions = await run(endpoint.module.prepare, asked, task, settings.max_gap_s, model.name)
    outputs = await computed(model.batcher, [tensors for question in questions for tensors in question.tensors])
    with stage("encode"):
        content, headers = await run(_encoded, endpoint, asked, questions, outputs, model, wanted)
    return Response(content, headers=headers, media_type=wanted)


async def computed(batcher: Batcher, items: list[Tensors]) -> list[Tensors]:
    """The model's answers to many items of one request: as many at a time as go into one call, so that others come in between."""
    answers: list[Tensors] = []
    for start in range(0, len(items), batcher.max_batch):
        answers += await asyncio.gather(*map(batcher.submit, items[start : start + batcher.max_batch]))
    return answers


def _encoded(
    endpoint: Endpoint,
    asked: body_wire.BodiesAsked,
    questions: list[Any],
    outputs: list[Tensors],
    model: Model,
    media: str,
) -> tuple[bytes, dict[str, str]]:
    """The answer's body and headers."""
    task, parts = model.bundle.meta.task, []
    for question in questions:
        own, outputs = outputs[: len(question.tensors)], outputs[len(question.tensors) :]
        parts.append(endpoint.module.answer(question, own, task))
    answer = {
        "model": {"name": model.name, "version": model.version},
        **endpoint.module.about(asked, task),
        **({"clips": parts} if asked.array == "clips" else parts[0]),
        "expected_error": model.expected_error,
    }
    return body_wire.encode(answer, media, asked.dtype)


async def _here(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `ThreadPool.run` does, without a thread: for small bodies."""
    return function(*args, **kwargs)
