"""The walk of every HTTP request through its endpoint: admit, read, decode, prepare, submit, answer, encode."""

import inspect
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from models.contract.cpus import usable_cpus
from models.contract.symmetry import Tensors
from service.http.headers import has_header, header
from service.http.limits import ByteBudget, Reservation
from service.http.negotiation import (
    GZIP,
    IDENTITY,
    JSON,
    Patience,
    accepted,
    announced_bytes,
    content_coding,
    content_type,
    query_options,
    read_body,
)
from service.http.openapi import BINARY
from service.http.problems import Problem, QueueFull, documented
from service.http.work_queue import Place, WorkQueue
from service.inference.batcher import submit
from service.inference.model import Model
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks import walk
from service.tasks.decoders import start_process, start_thread
from service.tasks.endpoint import Body, Endpoint, Limits
from service.tasks.memory import ARRIVING, SHORT, Memory
from service.tasks.walk import Turn, Walk
from service.telemetry.metrics import Metrics

_numbers = itertools.count()  # of the requests in processes


class Pipeline:
    """The endpoints over HTTP: one walk for all of them, with its limits, its deadlines and its metrics.

    A small body is decoded, prepared and answered on the event loop. A larger one is sent to a process, because decoders and
    the search for a face would hold Python's global lock, and the event loop with it.
    """

    def __init__(self, models: ServedModels, metrics: Metrics, settings: Settings) -> None:
        self._models, self._metrics, self._settings = models, metrics, settings
        decoders = usable_cpus() if settings.decoders is None else settings.decoders
        self._queue = WorkQueue(
            max(1, decoders),
            start_process if decoders else start_thread,
            max_queue=settings.max_queue,
            deadline_s=settings.deadline_s,
        )
        self._memory = ByteBudget(settings.max_memory_bytes)
        self._patience = Patience(settings.body_pause_s, settings.body_s)
        self._known_bounds: dict[tuple[str, str], tuple[Limits, Memory]] = {}  # by path and media type

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
        """Wait for the running calls, then stop the processes."""
        self._queue.close()

    def _route(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            with self._memory.reserve() as memory:
                return await self._respond(endpoint, request, memory)

        return respond

    async def answer(self, endpoint: Endpoint, request: Request, media: str, options: dict[str, Any]) -> Response:
        """Answer a request whose form and options its route knows. Raises Problem and QueueFull."""
        with self._memory.reserve() as memory:
            return await self._walk(endpoint, request, memory, media, media, options)

    async def _respond(self, endpoint: Endpoint, request: Request, memory: Reservation) -> Response:
        """Answer a request in the form that its headers ask for."""
        answer, media = accepted(request, endpoint.offers), content_type(request, endpoint.accepts)
        options = query_options(request, media, allowed=media in endpoint.with_query)
        return await self._walk(endpoint, request, memory, answer, media, options)

    async def _walk(
        self,
        endpoint: Endpoint,
        request: Request,
        memory: Reservation,
        answer: str,
        media: str,
        options: dict[str, Any],
    ) -> Response:
        """Read the body of a request and answer it. Raises Problem and QueueFull."""
        compressed = content_coding(request, (GZIP, IDENTITY)) == GZIP or None  # None: the first bytes tell
        self._admit(endpoint)
        limits, memory_of = self._bounds(endpoint, media)
        announced = announced_bytes(request, limits.bytes, limits.setting)
        on_loop_bytes = endpoint.on_loop_bytes
        if (limits.bytes if compressed or announced is None else announced) > on_loop_bytes:
            self._queue.admit()
        if announced is not None:
            memory.require(ARRIVING * announced + (SHORT if announced <= on_loop_bytes else memory_of.of(announced)))
        reserve = partial(memory.grow, times=ARRIVING)
        data = await read_body(
            request, limits.bytes, reserve, self._patience, setting=limits.setting, compressed=compressed
        )
        if not data and has_header(request.scope, b"upgrade"):
            detail = "expected a body, got none; leave the header Upgrade out: what follows it is no body"
            raise Problem("malformed-body", detail)
        scope = {"root_path": request.scope.get("root_path", ""), "request_id": request.scope.get("request_id", "")}
        body = Body(data, media, answer, options, header(request.scope, b"content-type"), scope=scope)
        models, metas, default = self._models.choice(*endpoint.kinds)
        if len(data) <= on_loop_bytes:
            memory.grow(SHORT)
            walk, deadline = Walk(endpoint), time.monotonic() + self._settings.deadline_s
            turn = walk.begin(body, metas, default, limits, short=True)
            if turn is not None:
                del data, body  # only what is prepared is kept while the request waits for the model
                return await self._answer(endpoint, models, turn, walk, deadline, answer)
        memory.grow(most := memory_of.of(len(data)))
        await self._queue.ready()
        deadline = time.monotonic() + self._settings.deadline_s
        async with self._process(endpoint.path, deadline) as process:
            turn = await process.begin(most, body, metas, default, limits)
            if turn.kept is not None:
                memory.settle(turn.kept)
            del data, body
            return await self._answer(endpoint, models, turn, process, deadline, answer)

    async def _answer(
        self,
        endpoint: Endpoint,
        models: Mapping[str, Model],
        turn: Turn,
        walk: "Walk | _InProcess",
        deadline: float | None,
        media: str,
    ) -> Response:
        """Send a request's items through its model until its answer is there. Raises Problem and QueueFull."""
        self._observe(endpoint, turn)
        model = self._model(endpoint, models, turn)
        while turn.items is not None:
            outputs, deadline = await submit(model.batcher, turn.items, deadline), None
            turn = walk.proceed(outputs) if isinstance(walk, Walk) else await walk.proceed(outputs)
            self._observe(endpoint, turn)
        assert turn.answer is not None, "a request without further items has its answer"
        return Response(turn.answer.content, headers=turn.answer.headers, media_type=media)

    def _bounds(self, endpoint: Endpoint, media: str) -> tuple[Limits, Memory]:
        """Return the limits of an endpoint's requests, and the memory that those of a media type take; the body must fit into it."""
        known = self._known_bounds.get((endpoint.path, media))
        if known is None:
            limits, memory_of, total = endpoint.limits(self._settings), endpoint.memory(media), self._memory.size
            largest = max(memory_of.largest(total), min(endpoint.on_loop_bytes, (total - SHORT) // ARRIVING))
            if largest < limits.bytes:
                limits = replace(limits, bytes=largest, setting="CHIRON_MAX_MEMORY_BYTES")
            known = self._known_bounds[endpoint.path, media] = limits, memory_of
        return known

    def _admit(self, endpoint: Endpoint) -> None:
        """Raise QueueFull before the body is read if every model that the request could name is full."""
        full: QueueFull | None = None
        for model in self._models.choice(*endpoint.kinds).models.values():
            try:
                return model.batcher.admit()
            except QueueFull as error:
                full = error
        if full is not None:
            raise full

    def _model(self, endpoint: Endpoint, models: Mapping[str, Model], turn: Turn) -> Model:
        """Return the model that a request is for. Raises the problems unknown-model and not-ready."""
        if turn.model is None or turn.model not in models:
            self._models.get(turn.model, endpoint.kinds, turn.pointer)  # raises, unless the model came just now
            raise Problem("not-ready", f"{turn.model} has just been loaded", headers={"retry-after": "1"})
        return models[turn.model]

    def _observe(self, endpoint: Endpoint, turn: Turn) -> None:
        """Count the seconds of a turn's stages."""
        for name, seconds in turn.seconds.items():
            self._metrics.observe_stage(endpoint.path, name, seconds)

    @asynccontextmanager
    async def _process(self, path: str, deadline: float) -> AsyncIterator["_InProcess"]:
        """Yield a request's way through a process, once that has a place for it. Raises QueueFull."""
        async with self._queue.place(deadline) as place:
            request = _InProcess(place, path)
            try:
                yield request
            finally:
                request.close()


class _InProcess:
    """A request that a process decodes, prepares and answers, under a number."""

    def __init__(self, place: Place, path: str) -> None:
        self._place, self._number, self._path = place, next(_numbers), path
        self._kept = False  # by the process

    async def begin(self, *arguments: Any) -> Turn:
        """Call Walk.begin in the process."""
        return await self._run(walk.begin, self._path, *arguments)

    async def proceed(self, outputs: list[Tensors]) -> Turn:
        """Call Walk.proceed in the process."""
        return await self._run(walk.proceed, outputs)

    def close(self) -> None:
        """Have the process forget the request, unless it is answered or has failed."""
        if self._kept:
            self._place.post(walk.forget, self._number)

    async def _run(self, function: Callable[..., Turn], *arguments: Any) -> Turn:
        self._kept = True  # also if this call is cancelled
        try:
            turn = await self._place.run(function, self._number, *arguments)
        except Exception:  # raised again: the process has already forgotten the request
            self._kept = False
            raise
        self._kept = turn.items is not None
        return turn
