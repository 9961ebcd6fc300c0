"""The two clients: each method is an action of `tasks`, `scans` or `operation`, whose steps are taken in a thread or in an event loop."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import httpx2
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from chiron_client import operation, scans, tasks
from chiron_client.calls import Action, Lost, Reply, Request, Retries, Wait
from chiron_client.problems import Problem, Unreachable, problem_of
from chiron_client.stream import AsyncHandStream, HandStream, Session
from chiron_client.tasks import StreamOptions

P = ParamSpec("P")
T = TypeVar("T")
URL = "http://127.0.0.1:8000"
STREAM = "/forecast/hands/stream"
CHUNK = 1 << 20  # bytes of a file that are sent at a time


def _with_self(method: Callable[..., Any], build: Callable[..., Any]) -> Any:
    """Return a method whose printed signature is that of `build` with `self` before it."""
    signature = inspect.signature(build)
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [self, *signature.parameters.values()]
    vars(method)["__signature__"] = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return method


def _method(build: Callable[P, Action[T]]) -> "Callable[Concatenate[Client, P], T]":
    """Return the method of Client that builds an action and runs it, with the signature and docstring of `build`."""

    @wraps(build)
    def method(self: "Client", *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(build(*args, **kwargs))

    return _with_self(method, build)


def _coroutine(build: Callable[P, Action[T]]) -> "Callable[Concatenate[AsyncClient, P], Awaitable[T]]":
    """Return the method of AsyncClient for an action, as _method does."""

    @wraps(build)
    async def method(self: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(build(*args, **kwargs))

    return _with_self(method, build)


class Client:
    """A client of a Chiron service.

    `url` is its address, with a path prefix if a proxy has one. `key` is an API key. `timeout_s` holds for connecting, sending and waiting
    for an answer, each. `retries` says how often a call is tried again. A client may be shared by threads; close it, or use it in `with`.

        with Client() as client:
            forecast = client.forecast_hands(past, fps=60, joints="openxr", at=[0.05])
    """

    def __init__(
        self, url: str = URL, *, key: str | None = None, timeout_s: float = 60.0, retries: Retries | None = None
    ) -> None:
        self.url, self.retries = url.rstrip("/"), retries or Retries()
        self._headers, self._timeout_s = _headers(key), timeout_s
        self._http = httpx2.Client(base_url=self.url, headers=self._headers, timeout=timeout_s)

    forecast_hands = _method(tasks.forecast_hands)
    forecast_hands_batch = _method(tasks.forecast_hands_batch)
    landmarks = _method(scans.landmarks)
    landmarks_file = _method(scans.landmarks_file)
    landmarks_batch = _method(scans.landmarks_batch)
    lift = _method(tasks.lift)
    lift_batch = _method(tasks.lift_batch)
    forecast_poses = _method(tasks.forecast_poses)
    forecast_poses_batch = _method(tasks.forecast_poses_batch)
    recognise = _method(tasks.recognise)
    recognise_batch = _method(tasks.recognise_batch)
    models = _method(operation.models)
    joint_orders = _method(operation.joint_orders)
    example = _method(operation.example)
    example_scan = _method(operation.example_scan)
    promote = _method(operation.promote)
    roll_back = _method(operation.roll_back)
    submit = _method(operation.submit)
    job = _method(operation.job)
    jobs = _method(operation.jobs)
    wait = _method(operation.wait)
    cancel = _method(operation.cancel)
    retry = _method(operation.retry)
    artefacts = _method(operation.artefacts)
    download = _method(operation.download)
    upload_dataset = _method(operation.upload_dataset)
    datasets = _method(operation.datasets)
    dataset = _method(operation.dataset)
    remove_dataset = _method(operation.remove_dataset)

    @contextmanager
    def hand_stream(self, **settings: Unpack[StreamOptions]) -> Iterator[HandStream]:
        """Open a stream of hand forecasts; `fps` is required. Raises Problem where the service refuses it, and Unreachable."""
        session = Session(settings)
        try:
            connection = connect(_stream_url(self.url), additional_headers=self._headers, open_timeout=self._timeout_s)
        except (OSError, WebSocketException) as error:
            raise _refused(error) from error
        with connection, HandStream(connection, session) as stream:
            yield stream

    def run(self, action: Action[T]) -> T:
        """Take the steps of an action until it has a result."""
        steps, reply = action(self.retries), None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = self._take(step)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, step: Request | Wait) -> Reply | Lost | None:
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        content = _chunks(step.content) if isinstance(step.content, Path) else step.content
        try:
            return _reply(self._http.request(content=content, **_arguments(step)))
        except httpx2.TransportError as error:
            return _lost(error)


class AsyncClient:
    """A Client whose methods are coroutines; close it, or use it in `async with`.

    async with AsyncClient() as client:
        forecast = await client.forecast_hands(past, fps=60, joints="openxr", at=[0.05])
    """

    def __init__(
        self, url: str = URL, *, key: str | None = None, timeout_s: float = 60.0, retries: Retries | None = None
    ) -> None:
        self.url, self.retries = url.rstrip("/"), retries or Retries()
        self._headers, self._timeout_s = _headers(key), timeout_s
        self._http = httpx2.AsyncClient(base_url=self.url, headers=self._headers, timeout=timeout_s)

    forecast_hands = _coroutine(tasks.forecast_hands)
    forecast_hands_batch = _coroutine(tasks.forecast_hands_batch)
    landmarks = _coroutine(scans.landmarks)
    landmarks_file = _coroutine(scans.landmarks_file)
    landmarks_batch = _coroutine(scans.landmarks_batch)
    lift = _coroutine(tasks.lift)
    lift_batch = _coroutine(tasks.lift_batch)
    forecast_poses = _coroutine(tasks.forecast_poses)
    forecast_poses_batch = _coroutine(tasks.forecast_poses_batch)
    recognise = _coroutine(tasks.recognise)
    recognise_batch = _coroutine(tasks.recognise_batch)
    models = _coroutine(operation.models)
    joint_orders = _coroutine(operation.joint_orders)
    example = _coroutine(operation.example)
    example_scan = _coroutine(operation.example_scan)
    promote = _coroutine(operation.promote)
    roll_back = _coroutine(operation.roll_back)
    submit = _coroutine(operation.submit)
    job = _coroutine(operation.job)
    jobs = _coroutine(operation.jobs)
    wait = _coroutine(operation.wait)
    cancel = _coroutine(operation.cancel)
    retry = _coroutine(operation.retry)
    artefacts = _coroutine(operation.artefacts)
    download = _coroutine(operation.download)
    upload_dataset = _coroutine(operation.upload_dataset)
    datasets = _coroutine(operation.datasets)
    dataset = _coroutine(operation.dataset)
    remove_dataset = _coroutine(operation.remove_dataset)

    @asynccontextmanager
    async def hand_stream(self, **settings: Unpack[StreamOptions]) -> AsyncIterator[AsyncHandStream]:
        """Open a stream of hand forecasts, as Client does."""
        session = Session(settings)
        opening = connect_async(_stream_url(self.url), additional_headers=self._headers, open_timeout=self._timeout_s)
        try:
            connection = await opening
        except (OSError, WebSocketException) as error:
            raise _refused(error) from error
        async with connection:
            await connection.send(session.opening)
            yield AsyncHandStream(connection, session)

    async def run(self, action: Action[T]) -> T:
        """Take the steps of an action until it has a result."""
        steps, reply = action(self.retries), None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return end.value
            reply = await self._take(step)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _take(self, step: Request | Wait) -> Reply | Lost | None:
        if isinstance(step, Wait):
            return await asyncio.sleep(step.seconds)
        content = _async_chunks(step.content) if isinstance(step.content, Path) else step.content
        try:
            return _reply(await self._http.request(content=content, **_arguments(step)))
        except httpx2.TransportError as error:
            return _lost(error)


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"x-api-key": key}


def _arguments(request: Request) -> dict[str, Any]:
    """Return the arguments of httpx2's request, but its content."""
    form = {"files": request.files, "data": request.fields} if request.files else {}
    return {
        "method": request.method, "url": request.path, "params": request.params or None, "headers": request.headers, **form
    }  # fmt: skip


def _reply(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, dict(response.headers), response.content)


def _lost(error: httpx2.TransportError) -> Lost:
    return Lost(error, sent=not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _async_chunks(path: Path) -> AsyncIterator[bytes]:
    for chunk in _chunks(path):
        yield chunk
        await asyncio.sleep(0)


def _stream_url(url: str) -> str:
    return f"ws{url.removeprefix('http')}{STREAM}"


def _refused(error: OSError | WebSocketException) -> Problem | Unreachable:
    """Return the problem in the answer that refuses a stream, or that there was no answer."""
    if not isinstance(error, InvalidStatus):
        return Unreachable(str(error) or repr(error))
    response = error.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return problem_of(response.status_code, headers, bytes(response.body or b""))
