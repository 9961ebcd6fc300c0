"""The walk of every request: admit, read, decode, prepare, submit, answer, encode.

A task is one `Endpoint`: what it accepts and offers, and four functions that know nothing of HTTP.

    decode(body)                      turns bytes into the request's values
    prepare(request, model, limits)   checks the values and brings them to the model's order, unit and rate
    steps(prepared)                   yields items for the network, is sent their outputs, returns the result
    encode(result, model, media)      turns the result into bytes and headers

`Pipeline` answers HTTP requests with an endpoint; `run` does the same for the bytes of a file, without a server.
"""

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from models.contract.bundle import Bundle, BundleMeta
from models.contract.cpus import usable_cpus
from models.contract.symmetry import Tensors
from service.http.limits import ByteBudget, ThreadPool
from service.http.negotiation import JSON, accepted, announced_bytes, content_type, query_options, read_body
from service.http.openapi import BINARY
from service.http.problems import Problem, documented
from service.inference.batcher import Batcher
from service.inference.served import ServedModels
from service.settings import Settings
from service.telemetry.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")
DECODE_ON_LOOP = 100_000  # bytes of JSON that take a quarter of a millisecond; more goes to a thread, for fairness


@dataclass(frozen=True)
class Example:
    """The way from a bundle's example to a request body for the endpoint of its kind of task."""

    body: Callable[[Bundle], Any]  # bytes of `media_type`, or a value of `schema`
    media_type: str = JSON
    schema: type[BaseModel] | None = None


@dataclass(frozen=True)
class Body:
    """A request before it is decoded, from a client or from a file."""

    data: bytes
    media: str
    answer: str  # media type of the answer
    options: Mapping[str, Any] = field(
        default_factory=dict
    )  # of the query or the command line; they override the body's
    content_type: str = ""  # the whole header, with the boundary of a form
    suffix: str = ""  # of the file's name, such as .ply; empty for a request
    keep: bool = False  # the whole input with the result, for a picture


@dataclass(frozen=True)
class Limits:
    """The largest body in bytes, the longest gap that is interpolated in seconds, and the most points of a scan."""

    bytes: int
    gap_s: float = 0.0
    points: int = 0


class Decoded(Protocol):
    """The least that a decoded request offers: the model it names, and the pointers to its fields."""

    @property
    def model(self) -> str | None: ...
    def pointer(self, name: str) -> str: ...


class Encoded(NamedTuple):
    """An answer as it is sent."""

    content: bytes
    headers: dict[str, str]


RequestT = TypeVar("RequestT", bound=Decoded)
PreparedT = TypeVar("PreparedT")
ResultT = TypeVar("ResultT")
Steps = Generator[list[Tensors], list[Tensors], ResultT]  # items and outputs have no batch axis


@dataclass(frozen=True)
class Endpoint(Generic[RequestT, PreparedT, ResultT]):
    """A task as the service offers it: over HTTP at `path`, and in files by suffix."""

    path: str
    kind: str  # of the models' task
    tag: str
    description: str
    accepts: tuple[str, ...]  # media types of a request
    offers: tuple[str, ...]  # media types of an answer
    with_query: tuple[str, ...]  # media types of requests that have their options in the query
    limits: Callable[[Settings], Limits]
    on_loop_bytes: int  # the largest body that is handled on the event loop
    errors: tuple[str, ...]  # kinds of problem
    raised: Mapping[type[Exception], str]  # errors of the functions below that are problems, by kind
    answer: type[BaseModel]
    operation: Callable[[], dict[str, Any]]  # OpenAPI's description of the request
    examples: Callable[[], dict[str, dict[str, Any]]]
    example: Example
    decode: Callable[[Body], RequestT]
    prepare: Callable[[RequestT, BundleMeta, Limits], PreparedT]
    steps: Callable[[PreparedT], Steps[ResultT]]
    encode: Callable[[ResultT, BundleMeta, str], Encoded]
    reads: Callable[[], Mapping[str, str]]  # media types of files, by suffix; packages may add some
    writes: Mapping[str, str]  # media types of answers in files, by suffix
    draw: Callable[[ResultT, BundleMeta, Path, str], None] | None = None  # writes a picture with a title

    @property
    def name(self) -> str:
        """The name of the operation: the path with underscores."""
        return self.path[1:].replace("/", "_")


class Done(NamedTuple):
    """The end of the steps. StopIteration could not carry the result out of a thread."""

    result: Any


def advance(steps: Steps, outputs: list[Tensors] | None) -> list[Tensors] | Done:
    """Send the outputs, None at first, and return the next items for the network, or the result."""
    try:
        return steps.send(outputs)  # pyright: ignore[reportArgumentType] - a generator begins with None
    except StopIteration as stop:
        return Done(stop.value)


def call(raised: Mapping[type[Exception], str], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return function(*args, **kwargs); an error listed in `raised` becomes the problem of its kind."""
    try:
        return function(*args, **kwargs)
    except tuple(raised) as error:
        kind = next(kind for type_, kind in raised.items() if isinstance(error, type_))
        raise Problem(kind, str(error)) from error


def run(
    endpoint: Endpoint[Any, Any, ResultT],
    body: Body,
    open_model: Callable[[str | None], tuple[BundleMeta, Callable[[Tensors], Tensors]]],
    limits: Limits,
) -> tuple[ResultT, BundleMeta]:
    """Walk a file through the endpoint without a server; return the result and the model it comes from.

    `open_model` maps the name in the request, or None, to a model and the function that runs it on a batch. Raises
    Problem, and what `open_model` raises.
    """
    request = call(endpoint.raised, endpoint.decode, body)
    meta, compute = open_model(request.model)
    prepared = call(endpoint.raised, endpoint.prepare, request, meta, limits)
    steps = endpoint.steps(prepared)
    turn = call(endpoint.raised, advance, steps, None)
    while not isinstance(turn, Done):
        outputs = [_single(compute(_batch(item))) for item in turn]
        turn = call(endpoint.raised, advance, steps, outputs)
    return turn.result, meta


class Pipeline:
    """The endpoints over HTTP: one walk for all of them, with its limits, its threads and its metrics."""

    def __init__(self, models: ServedModels, metrics: Metrics, settings: Settings) -> None:
        self._models, self._metrics, self._settings = models, metrics, settings
        self._threads = ThreadPool(
            settings.slots or usable_cpus(),
            max_queue=settings.max_queue,
            deadline_s=settings.deadline_s,
            name="pipeline",
        )
        self._budget = ByteBudget(max(settings.max_uploads_bytes, settings.max_scan_bytes))

    def router(self, endpoints: Sequence[Endpoint]) -> APIRouter:
        """Return the routes of the endpoints."""
        routes = APIRouter()
        for endpoint in endpoints:
            binary = {media: BINARY for media in endpoint.offers if media != JSON}
            routes.add_api_route(
                endpoint.path,
                self._route(endpoint),
                methods=["POST"],
                name=endpoint.name,
                description=inspect.cleandoc(endpoint.description),
                response_model=endpoint.answer,
                responses={200: {"content": binary}, **documented(*endpoint.errors)},
                openapi_extra=endpoint.operation(),
                tags=[endpoint.tag],
            )
        return routes

    def close(self) -> None:
        """Wait for the running calls, then stop the threads."""
        self._threads.close()

    def _route(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            return await self._respond(endpoint, request)

        return respond

    async def _respond(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer a request. Raises Problem and QueueFull."""
        answer, media = accepted(request, endpoint.offers), content_type(request, endpoint.accepts)
        options = query_options(request, media, allowed=media in endpoint.with_query)
        limits = endpoint.limits(self._settings)
        if announced_bytes(request, limits.bytes) > endpoint.on_loop_bytes:
            self._threads.admit()
        with self._budget.reserve() as reserve:
            data = bytes(await read_body(request, limits.bytes, reserve))
            stage = partial(self._stage, endpoint, len(data) > endpoint.on_loop_bytes)
            body = Body(data, media, answer, options, request.headers["content-type"])
            decoded = await stage("decode", endpoint.decode, body)
            model = self._models.get(decoded.model, endpoint.kind, decoded.pointer("model"))
            meta = model.bundle.meta
            prepared = await stage("prepare", endpoint.prepare, decoded, meta, limits)
            del data, body, decoded  # only what is prepared is kept while the request waits for the model
        steps = endpoint.steps(prepared)
        turn = await stage("step", advance, steps, None)
        while not isinstance(turn, Done):
            turn = await stage("step", advance, steps, await submit(model.batcher, turn))
        content, headers = await stage("encode", endpoint.encode, turn.result, meta, answer)
        return Response(content, headers=headers, media_type=answer)

    async def _stage(
        self, endpoint: Endpoint, aside: bool, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return function(*args, **kwargs), from a thread if `aside`; its seconds, without those of waiting, are counted."""

        def timed() -> T:
            with self._metrics.stage(endpoint.path, name):
                return call(endpoint.raised, function, *args, **kwargs)

        return await self._threads.run(timed) if aside else timed()


async def submit(batcher: Batcher, items: Sequence[Tensors]) -> list[Tensors]:
    """Return the outputs for the items: as many at a time as fit into a batch, so that other requests come in between."""
    outputs: list[Tensors] = []
    for start in range(0, len(items), batcher.max_batch):
        outputs += await asyncio.gather(*map(batcher.submit, items[start : start + batcher.max_batch]))
    return outputs


def _batch(item: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor[None] for name, tensor in item.items()}


def _single(batch: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor[0] for name, tensor in batch.items()}
