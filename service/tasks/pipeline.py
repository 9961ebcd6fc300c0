"""The walk of every HTTP request through its endpoint: admit, read, decode, prepare, submit, answer, encode."""

import asyncio
import ctypes
import inspect
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, Request, Response

from models.contract.cpus import usable_cpus
from models.contract.symmetry import Tensors
from service.http.limits import ByteBudget, Reservation, WorkQueue
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
from service.http.problems import Problem, documented
from service.inference.batcher import Batcher
from service.inference.model import Model
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks.endpoint import Body, Done, Endpoint, Intake, Limits, advance, call, intake
from service.telemetry.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")
IN_THREADS = (
    500_000  # bytes; a larger body goes to a process, since its decoder would hold the global lock for milliseconds
)
PLACES = 2  # requests for each thread or process: while one waits for the model, another computes
NICENESS = 5  # of processes that decode
PR_SET_PDEATHSIG = 1  # of prctl(2)


class Pipeline:
    """The endpoints over HTTP: one walk for all of them, with its limits, its deadlines and its metrics.

    A body is decoded and prepared on the event loop if it is small, in a thread if it is not, and in a process if it is
    large, since decoders hold Python's global lock for as long as they run.
    """

    def __init__(self, models: ServedModels, metrics: Metrics, settings: Settings) -> None:
        self._models, self._metrics, self._settings = models, metrics, settings
        limits = {"max_queue": settings.max_queue, "deadline_s": settings.deadline_s}
        slots, decoders = settings.slots or usable_cpus(), settings.decoders
        start_threads = partial(ThreadPoolExecutor, slots, thread_name_prefix="pipeline")
        self._threads = WorkQueue(PLACES * slots, start_threads, **limits)
        self._processes = WorkQueue(PLACES * decoders, partial(start_processes, decoders), **limits)
        self._memory = ByteBudget(settings.max_memory_bytes)
        self._patience = Patience(settings.body_pause_s, settings.body_s)

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
        """Wait for the running calls, then stop the threads and processes."""
        self._threads.close()
        self._processes.close()

    def _route(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            with self._memory.reserve() as memory:
                return await self._respond(endpoint, request, memory)

        return respond

    async def _respond(self, endpoint: Endpoint, request: Request, memory: Reservation) -> Response:
        """Answer a request. Raises Problem and QueueFull."""
        answer, media = accepted(request, endpoint.offers), content_type(request, endpoint.accepts)
        compressed = content_coding(request, (GZIP, IDENTITY)) == GZIP or None  # None: the first bytes tell
        options = query_options(request, media, allowed=media in endpoint.with_query)
        limits, cost = endpoint.limits(self._settings), endpoint.memory(media)
        limits = replace(limits, bytes=min(limits.bytes, self._memory.size // cost))
        announced = announced_bytes(request, limits.bytes)
        memory.require(cost * (announced or 0))
        if queue := self._queue(endpoint, limits.bytes if compressed or announced is None else announced):
            queue.admit()
        reserve = partial(memory.grow, times=cost)
        data = bytes(await read_body(request, limits.bytes, reserve, self._patience, compressed=compressed))
        body = Body(data, media, answer, options, request.headers["content-type"])
        queue = self._queue(endpoint, len(data))
        if queue is not None:
            await queue.ready()
        deadline = time.monotonic() + self._settings.deadline_s
        async with queue.place(deadline) if queue else nullcontext():
            model, prepared = await self._intake(endpoint, body, limits, queue)
            memory.shrink(len(data))
            del data, body  # only what is prepared is kept while the request waits for the model
            stage, steps = partial(self._stage, endpoint, queue is not None), endpoint.steps(prepared)
            turn = await stage("step", advance, steps, None)
            while not isinstance(turn, Done):
                outputs, deadline = await submit(model.batcher, turn, deadline), None
                turn = await stage("step", advance, steps, outputs)
            content, headers = await stage("encode", endpoint.encode, turn.result, model.bundle.meta, answer)
        return Response(content, headers=headers, media_type=answer)

    def _queue(self, endpoint: Endpoint, size: int) -> WorkQueue | None:
        """Return the queue that a body of so many bytes is decoded in; None for the event loop."""
        if size <= endpoint.on_loop_bytes:
            return None
        return self._threads if size <= IN_THREADS else self._processes

    async def _intake(
        self, endpoint: Endpoint, body: Body, limits: Limits, queue: WorkQueue | None
    ) -> tuple[Model, Any]:
        """Return the model that a request is for and its prepared input. Raises Problem and QueueFull."""
        models, default = self._models.of_kind(endpoint.kind), self._models.default(endpoint.kind)
        metas = {name: model.bundle.meta for name, model in models.items()}
        if queue is None:
            taken = intake(endpoint, body, metas, default, limits)
        elif queue is self._threads:
            taken = await queue.run(intake, endpoint, body, metas, default, limits)
        else:
            taken = await queue.run(intake_of_kind, endpoint.kind, body, metas, default, limits)
        for name, seconds in taken.seconds.items():
            self._metrics.observe_stage(endpoint.path, name, seconds)
        if taken.name not in models:
            self._models.get(taken.name, endpoint.kind, taken.pointer)  # raises, unless the model came just now
            raise Problem("not-ready", f"{taken.name} has just been loaded", headers={"retry-after": "1"})
        return models[taken.name], taken.prepared

    async def _stage(
        self, endpoint: Endpoint, aside: bool, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return function(*args, **kwargs), from a thread if `aside`; its own seconds are counted, not its waiting."""

        def timed() -> T:
            with self._metrics.stage(endpoint.path, name):
                return call(endpoint.raised, function, *args, **kwargs)

        return await self._threads.run(timed) if aside else timed()


async def submit(batcher: Batcher, items: Sequence[Tensors], deadline: float | None) -> list[Tensors]:
    """Return the outputs for the items: as many at a time as fit into a batch, so that other requests come in between.

    The first batch must begin before the deadline, a time of time.monotonic(). Raises QueueFull.
    """
    outputs: list[Tensors] = []
    for start in range(0, len(items), batcher.max_batch):
        batch = items[start : start + batcher.max_batch]
        outputs += await asyncio.gather(*(batcher.submit(item, deadline) for item in batch))
        deadline = None
    return outputs


def intake_of_kind(kind: str, *arguments: Any) -> Intake:
    """Call `intake` in another process, which finds the endpoint by its kind of task. Raises Problem."""
    from service.tasks.catalogue import BY_KIND

    return intake(BY_KIND[kind], *arguments)


def start_processes(count: int) -> Executor:
    """Return an executor whose processes are forked, one for each call at a time, from one that has imported the tasks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.tasks.catalogue"])
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_begin_process)
    wait(
        [executor.submit(time.sleep, 0.05) for _ in range(count)]
    )  # a process is started for each call that finds none idle
    return executor


def _begin_process() -> None:
    """Have a process yield the CPU to the event loop, leave Ctrl-C to its parent, and end with it, however that ends."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
