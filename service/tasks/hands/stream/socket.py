"""WebSocket /forecast/hands/stream: a session a connection, whose frames take the way of every request, one at a time.

The newest frame wins: messages are kept unread while a forecast is computed. Then they are read, as parts of the past, and the newest
one is answered.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.types import Message as ASGIMessage

from models.motion.hands import TooFewFrames
from service.http.limits import Concurrency
from service.http.problems import GOING_AWAY, Problem, QueueFull, closing, describe, overloaded, unexpected
from service.http.security import SUBPROTOCOL
from service.http.server import Shutdown
from service.inference.batcher import submit
from service.inference.model import Model
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks.endpoint import Done, advance, call
from service.tasks.hands.answers import steps
from service.tasks.hands.endpoint import HANDS
from service.tasks.hands.stream.messages import Message, check_size, encode, read_settings
from service.tasks.hands.stream.session import Session
from service.telemetry.metrics import Metrics

PATH = "/forecast/hands/stream"
AT_ONCE = 32  # messages that are kept before others may run
MOST_UNREAD_BYTES = 1 << 20  # of a stream: two hands in JSON for two seconds at 120 Hz
MOST_READ = 12  # frames that are read for one answer; of two windows of frames, gaps of a fifth of a second are left
LOST = 1006  # the code of a connection that broke
RAISED = {kind: problem for kind, problem in HANDS.raised.items() if kind is not TooFewFrames}


class Waiting(NamedTuple):
    """The newest frame, until it is answered."""

    number: int
    timestamp: float | None
    arrived: float  # by time.perf_counter()


class HandStreams:
    """The streams of a process: a limited number, with the models, the batchers and the metrics of all requests."""

    def __init__(self, models: ServedModels, metrics: Metrics, settings: Settings, shutdown: Shutdown) -> None:
        self.models, self.settings, self.shutdown = models, settings, shutdown
        self.metrics, self.stages = metrics.stream(PATH), metrics
        self._open = Concurrency(settings.max_streams, "streams (CHIRON_MAX_STREAMS)")

    def router(self) -> APIRouter:
        """Return the route."""
        routes = APIRouter()

        @routes.api_route(PATH, methods=["GET", "POST"], include_in_schema=False)
        async def no_stream() -> None:
            handshake = "expected the handshake of a WebSocket (ws:// or wss://), which a proxy must pass on"
            raise Problem(
                "not-found", f"{PATH}: {handshake}, got a plain request; docs/service.md describes the stream"
            )

        @routes.websocket(PATH)
        async def stream(socket: WebSocket) -> None:
            with self._open.hold(), self.shutdown.event() as stopping:
                if stopping.is_set():
                    raise Problem("not-ready", "the service is stopping", headers={"retry-after": "5"})
                await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope.get("subprotocols", ()) else None)
                self.metrics.opened(1)
                try:
                    await Stream(socket, self).run(stopping)
                finally:
                    self.metrics.opened(-1)

        return routes


class Stream:
    """One connection: its first message, then a task that takes frames and a task that answers the newest one."""

    def __init__(self, socket: WebSocket, streams: HandStreams) -> None:
        self._socket, self._streams, self._metrics = socket, streams, streams.metrics
        self._unread: deque[tuple[Message, float]] = deque()  # and when each came, by time.perf_counter()
        self._unread_bytes = 0
        self._came, self._heard = asyncio.Event(), time.monotonic()
        self._skipped = self._late = 0  # since the last answer
        self._binary = False  # whether answers other than forecasts are MessagePack

    async def run(self, stopping: asyncio.Event) -> None:
        """Talk until the client leaves, the service stops, or a problem ends it; then close the connection with a code."""
        try:
            await first_of(stopping.wait(), self._serve())
            message = {"type": "websocket.close", "code": GOING_AWAY, "reason": "the service stops; connect again"}
        except WebSocketDisconnect:
            return
        except Exception as error:  # any error closes the connection with a problem
            problem = error if isinstance(error, Problem) else unexpected(error)
            message = closing(problem)
            with suppress(WebSocketDisconnect):
                await self._send_problem(problem, None)
        with suppress(WebSocketDisconnect):
            await self._send_message(message)

    async def _serve(self) -> None:
        patience_s = self._streams.settings.body_pause_s
        try:
            async with asyncio.timeout(patience_s):
                first = await self._receive()
        except TimeoutError:
            raise Problem("request-timeout", f"expected settings within {patience_s:g} s, got none") from None
        self._binary = isinstance(first, bytes)
        settings = read_settings(first)
        self._binary = settings.form == "msgpack"
        self._name, self._model = settings.model, self._streams.models.get(settings.model, HANDS.kinds, "/model")
        session = Session(settings, self._model.bundle.meta, HANDS.limits(self._streams.settings))
        await self._send_document(session.opening())
        await first_of(self._keep_frames(session), self._answer_newest(session), self._watch())

    async def _keep_frames(self, session: Session) -> None:
        """Keep the messages that come until they are read; those beyond the session's capacity would be part of no past."""
        for count in itertools.count(1):
            message = await self._receive()
            check_size(message)
            self._heard = time.monotonic()
            self._unread.append((message, time.perf_counter()))
            self._unread_bytes += len(message)
            while len(self._unread) > session.capacity or self._unread_bytes > MOST_UNREAD_BYTES:
                self._unread_bytes -= len(self._unread.popleft()[0])
                self._skip(session)
            self._came.set()
            if not count % AT_ONCE:
                await asyncio.sleep(0)

    async def _watch(self) -> None:
        """Raise request-timeout once no message has come for a while."""
        idle_s = self._streams.settings.stream_idle_s
        while (left := self._heard + idle_s - time.monotonic()) > 0:
            await asyncio.sleep(left)
        raise Problem("request-timeout", f"expected a frame within {idle_s:g} s, got none")

    async def _read(self, session: Session) -> Waiting | None:
        """Take the frames that have come, and return the newest one; tell the problems of those that are refused.

        Of many frames, which come when the service is overloaded, every second, third, ... is read, so that reading takes a bounded time.
        """
        start, newest = time.perf_counter(), None
        messages, every = list(self._unread), -(-len(self._unread) // MOST_READ)
        self._unread.clear()
        self._unread_bytes = 0
        for older, (message, arrived) in zip(range(len(messages) - 1, -1, -1), messages, strict=True):
            if older % every:
                self._skip(session)
                continue
            try:
                frame = session.codec.decode(message)
                number = session.take(frame)
            except Problem as problem:
                self._metrics.frames("refused")
                await self._send_problem(problem, session.codec.number)
                continue
            if number is None:
                self._late += 1
                self._metrics.frames("late")
                continue
            if newest is not None:
                self._count_skipped()
            newest = Waiting(number, frame.timestamp, arrived)
        self._streams.stages.observe_stage(PATH, "decode", time.perf_counter() - start)
        return newest

    def _skip(self, session: Session) -> None:
        """Leave a frame unread."""
        session.miss()
        self._count_skipped()

    def _count_skipped(self) -> None:
        self._skipped += 1
        self._metrics.frames("skipped")

    async def _answer_newest(self, session: Session) -> None:
        """Answer the newest frame, again and again."""
        while True:
            await self._came.wait()
            self._came.clear()
            newest = await self._read(session)
            if newest is None:
                continue
            echo = {
                "number": newest.number,
                "timestamp": newest.timestamp,
                "skipped": self._skipped,
                "late": self._late,
            }
            self._skipped = self._late = 0
            try:
                answer = await self._forecast(session)
            except TooFewFrames:
                await self._send_document({"kind": "waiting", **echo, **session.waiting()})
                self._metrics.frames("waiting")
            except (Problem, QueueFull) as error:
                problem = overloaded(error) if isinstance(error, QueueFull) else error
                self._metrics.frames("refused")
                await self._send_problem(problem, newest.number)
            else:
                start = time.perf_counter()
                message = session.codec.encode({"kind": "forecast", **echo, **answer}, len(session.times))
                self._streams.stages.observe_stage(PATH, "encode", time.perf_counter() - start)
                await self._send(message)
                self._metrics.answered(time.perf_counter() - newest.arrived)

    async def _forecast(self, session: Session) -> dict[str, Any]:
        """Return the forecast from the frames that have come. Raises TooFewFrames, Problem and QueueFull."""
        model = self._streams.models.get(self._name, HANDS.kinds, "/model")
        if model is not self._model:
            await self._change(session, model)
        start, deadline = time.perf_counter(), time.monotonic() + self._streams.settings.deadline_s
        walk = steps(call(RAISED, session.prepare))
        turn = advance(walk, None)
        self._streams.stages.observe_stage(PATH, "prepare", time.perf_counter() - start)
        while not isinstance(turn, Done):
            turn = advance(walk, await submit(model.batcher, turn, deadline))
        return session.answer(turn.result)

    async def _change(self, session: Session, model: Model) -> None:
        """Go on with the version of the model that serves now, and tell what changes with it."""
        session.use(model.bundle.meta)
        self._model = model
        await self._send_document(session.opening())

    async def _receive(self) -> Message:
        """Return the next message. Raises WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        return message["text"] if data is None else data

    async def _send_problem(self, problem: Problem, number: int | None) -> None:
        """Send a problem, about the frame of that number if it is known."""
        retry = {"retry_after": int(after)} if (after := problem.headers.get("retry-after")) else {}
        await self._send_document(
            {"kind": "problem", "number": number, **describe(problem, self._socket.scope), **retry}
        )

    async def _send_document(self, answer: Mapping[str, Any]) -> None:
        """Send an answer that is no forecast."""
        await self._send(encode(answer, binary=self._binary))

    async def _send(self, message: Message) -> None:
        await self._send_message({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})

    async def _send_message(self, message: ASGIMessage) -> None:
        """Send a message of ASGI. Raises WebSocketDisconnect where the client does not take it in time."""
        try:
            async with asyncio.timeout(self._streams.settings.stream_idle_s):
                await self._socket.send(message)
        except TimeoutError:
            raise WebSocketDisconnect(LOST) from None


async def first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run coroutines until the first one ends, and raise its error; cancel the others."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if errors:
        raise errors[0]
