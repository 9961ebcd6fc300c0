"""Streams of hands: a frame in, its forecast out, over a WebSocket; for a tracker that forecasts every frame."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.client import ClientConnection

from chiron_client.answers import HandForecast
from chiron_client.arrays import read, unpacked
from chiron_client.problems import Problem, Unreachable


@dataclass(frozen=True)
class StreamAnswer:
    """The answer to a frame, by its `number` and `timestamp`.

    It has a `forecast`, or the `problem` of a frame that was refused, or neither while the past is too short. `skipped` counts the frames
    since the last answer that have none of their own, and `late` those that came after a newer one.
    """

    number: int | None
    timestamp: float | None
    forecast: HandForecast | None
    problem: Problem | None
    skipped: int
    late: int


class Session:
    """The messages of one stream, without a network: settings and frames to bytes, bytes to answers."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.opening = msgspec.msgpack.encode({**settings, "form": "msgpack"})
        self.ready: dict[str, Any] = {}  # what is the same for all forecasts
        self._number = 0

    def frame(self, left: ArrayLike | None, right: ArrayLike | None, timestamp: float | None) -> bytes:
        """Return the message of the next frame; each hand is [joints, 3], or None if it was not seen."""
        hands = {
            side: None if points is None else np.asarray(points, "<f4").tobytes()
            for side, points in (("left", left), ("right", right))
        }
        message = {"number": self._number, "timestamp": timestamp, **hands}
        self._number += 1
        return msgspec.msgpack.encode({key: value for key, value in message.items() if value is not None})

    def answer(self, message: str | bytes) -> StreamAnswer | None:
        """Return the answer in a message, None for one that says what the forecasts that follow have in common."""
        document = json.loads(message) if isinstance(message, str) else msgspec.msgpack.decode(message)
        if document["kind"] == "ready":
            self.ready = document
            return None
        forecast = problem = None
        if document["kind"] == "forecast":
            forecast = read(unpacked({**self.ready, **document}), HandForecast)
        elif document["kind"] == "problem":
            problem = Problem.of(document, retry_after=document.get("retry_after"))
        number, timestamp = document.get("number"), document.get("timestamp")
        return StreamAnswer(number, timestamp, forecast, problem, document.get("skipped", 0), document.get("late", 0))


class HandStream:
    """A stream: send frames, iterate over answers; the newest frame wins. It ends where the service or `close` ends it.

    Iteration raises Problem where the service closes the stream because of one, and Unreachable where the connection breaks.
    """

    def __init__(self, connection: ClientConnection, session: Session) -> None:
        self._connection, self._session, self._problem = connection, session, _Ending()
        connection.send(session.opening)

    def send(
        self, left: ArrayLike | None = None, right: ArrayLike | None = None, *, timestamp: float | None = None
    ) -> None:
        """Send a frame: each hand is [joints, 3] in the stream's units and order, None if it was not seen.

        `timestamp` is in the unit of the stream's `clock`; all frames have one, or none.
        """
        with self._problem:
            self._connection.send(self._session.frame(left, right, timestamp))

    def receive(self) -> StreamAnswer:
        """Wait for the next answer."""
        while True:
            with self._problem:
                answer = self._session.answer(self._connection.recv())
            if answer is not None:
                return self._problem.noted(answer)

    def __iter__(self) -> Iterator[StreamAnswer]:
        """Yield answers until the stream is closed."""
        while True:
            try:
                yield self.receive()
            except StreamEnded:
                return

    def close(self) -> None:
        """Close the stream."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncHandStream:
    """A HandStream whose methods are coroutines and whose iterator is asynchronous."""

    def __init__(self, connection: AsyncConnection, session: Session) -> None:
        self._connection, self._session, self._problem = connection, session, _Ending()

    async def send(
        self, left: ArrayLike | None = None, right: ArrayLike | None = None, *, timestamp: float | None = None
    ) -> None:
        """Send a frame, as HandStream does."""
        with self._problem:
            await self._connection.send(self._session.frame(left, right, timestamp))

    async def receive(self) -> StreamAnswer:
        """Wait for the next answer."""
        while True:
            with self._problem:
                answer = self._session.answer(await self._connection.recv())
            if answer is not None:
                return self._problem.noted(answer)

    async def __aiter__(self) -> AsyncIterator[StreamAnswer]:
        """Yield answers until the stream is closed."""
        while True:
            try:
                answer = await self.receive()
            except StreamEnded:
                return
            yield answer

    async def close(self) -> None:
        """Close the stream."""
        await self._connection.close()


class StreamEnded(Unreachable):
    """A stream that is closed, by this client or because the service stops."""


class _Ending:
    """The end of a connection: the problem that came before it, if one did."""

    def __init__(self) -> None:
        self._last: Problem | None = None

    def noted(self, answer: StreamAnswer) -> StreamAnswer:
        """Keep the problem of an answer, which may be the reason of an end."""
        self._last = answer.problem
        return answer

    def __enter__(self) -> None: ...

    def __exit__(self, type_: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, ConnectionClosedOK):
            raise StreamEnded("the stream is closed") from error
        if isinstance(error, ConnectionClosed):
            if self._last is not None:
                raise self._last from error
            raise Unreachable(f"the stream broke: {error}") from error
