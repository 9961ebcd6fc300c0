"""A task as one value, and the walk of a request through it: decode, prepare, submit, answer, encode.

An `Endpoint` has the formats that a task accepts and offers, and four functions that do not depend on HTTP.

    decode(body)                      turns bytes into the request's values
    prepare(request, model, limits)   checks the values and brings them to the model's order, unit and rate
    steps(prepared)                   yields items for the network, is sent their outputs, returns the result
    encode(result, model, media)      turns the result into bytes and headers

`service.tasks.pipeline` answers HTTP requests with an endpoint; `run` does the same for a file, without a server.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel

from models.contract.bundle import Bundle, BundleMeta
from models.contract.symmetry import Tensors
from service.http.negotiation import JSON
from service.http.problems import Problem
from service.settings import Settings
from service.tasks.memory import Memory

P = ParamSpec("P")
T = TypeVar("T")
DECODE_ON_LOOP = 100_000  # bytes of JSON that take a quarter of a millisecond; a larger body goes to a process


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
    keep: bool = False  # the whole input with the result, for a picture or an aligned copy
    scope: Mapping[str, str] = field(default_factory=dict)  # root_path and request_id, for problems inside an answer


@dataclass(frozen=True)
class Limits:
    """The largest body in bytes, the longest gap that is interpolated in seconds, and the most points of a scan.

    Those of a batch have the most items, and the limits of each `item`.
    """

    bytes: int
    gap_s: float = 0.0
    points: int = 0
    setting: str = "CHIRON_MAX_BODY_BYTES"  # that sets `bytes`
    items: int = 1
    item: "Limits | None" = None


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
    kind: str  # of the models' task, of which the default is one if any is served
    tag: str
    description: str
    accepts: tuple[str, ...]  # media types of a request
    offers: tuple[str, ...]  # media types of an answer
    with_query: tuple[str, ...]  # media types of requests that have their options in the query
    limits: Callable[[Settings], Limits]
    memory: Callable[[str], Memory]  # by the media type of a body
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
    align: Callable[[ResultT, BundleMeta], bytes] | None = None  # the input in the frame of the found face, as .ply
    warnings: Callable[[ResultT], Sequence[str]] = lambda result: ()  # warnings about the answer
    one_a_frame: str | None = None  # suffix of .json files of single frames: a folder of these is one input
    is_short: Callable[[RequestT], bool] = lambda request: True  # whether a decoded request takes a few milliseconds
    also: tuple[str, ...] = ()  # further kinds of task, whose models a request may name
    kept: Callable[[PreparedT], int] | None = None  # bytes of a prepared request with its answer; None: all reserved

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of task whose models answer here, that of the default first."""
        return (self.kind, *self.also)

    @property
    def name(self) -> str:
        """Return the name of the operation: the path with underscores."""
        return self.path[1:].replace("/", "_").replace(":", "_")


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


def _batch(item: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor[None] for name, tensor in item.items()}


def _single(batch: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor[0] for name, tensor in batch.items()}
