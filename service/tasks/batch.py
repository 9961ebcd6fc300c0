"""Many requests of one endpoint in one request: answers in order, and the problem of each item that failed.

`batch_of` makes the endpoint of the batch from that of one item. Its steps decode, prepare, step and encode the items by the functions of
that endpoint, some items at a time, so that memory is bounded and other requests come in between. All items are for one model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from types import GenericAlias
from typing import Annotated, Any, NamedTuple

import msgspec
from pydantic import BaseModel, Field, create_model

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from service.http.negotiation import JSON, MSGPACK, typed
from service.http.openapi import BINARY
from service.http.problems import Problem, ProblemDocument, describe
from service.tasks.endpoint import Body, Done, Encoded, Endpoint, Limits, Steps, advance, call
from service.tasks.memory import Memory, memory_limit

SUFFIX = ":batch"  # of the paths
AT_ONCE, BYTES_AT_ONCE = 32, 1 << 20  # items that are decoded together, and their bytes unless one alone has more
SMALL_BYTES = (
    16 << 10
)  # of an item: AT_ONCE such items fit into the constant memory of a batch, a hundred times their size
ANSWER_BYTES, ANSWER_FACTOR = 16 << 20, 4  # of all answers together: a constant, and for each byte of the request
DESCRIPTION = """Answer many requests in one: `answers` has what `POST {path}` answers to each, in order, and null for one that failed.

`failed` has the problem of each of these, with its `index`; pointers are into the item. Items do not influence each other. All are
for one model: that of the options, else that of the first item, else the service's choice. Items are limited in number and bytes
before any of them is decoded.
"""


class Item(NamedTuple):
    """An item of a batch as it came: the content of its body, whose type the endpoint of one knows, and its options."""

    data: Any  # a buffer
    media: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """A batch whose items are not decoded yet."""

    items: Sequence[Item]
    model: str | None  # that the options or the first item name
    at: str  # the pointer to that name
    body: Body  # without its data
    size: int  # of the data

    def pointer(self, name: str) -> str:
        """Return the pointer to the model's name; errors of other fields are those of an item."""
        return self.at


class PreparedBatch(NamedTuple):
    """A batch, the model of all its items, and the limits of each of them."""

    batch: Batch
    model: BundleMeta
    limits: Limits


class Answers(NamedTuple):
    """The answer to each item in the form that was asked for, None for one that failed, and the problems of these."""

    answers: list[bytes | None]
    failed: list[dict[str, Any]]


class FailedItem(ProblemDocument):
    """The problem of an item, with pointers into the item."""

    index: int = Field(description="of the item, from 0")


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    options: dict[str, Any] = {}


class _Named(msgspec.Struct):
    model: Any = None


_DECODERS = {JSON: msgspec.json.Decoder(_Fields), MSGPACK: msgspec.msgpack.Decoder(_Fields)}
_NAMES = {JSON: msgspec.json.Decoder(_Named), MSGPACK: msgspec.msgpack.Decoder(_Named)}
_ENCODERS = {JSON: msgspec.json.Encoder(), MSGPACK: msgspec.msgpack.Encoder()}


def batch_of_clips(one: Endpoint[Any, Any, Any]) -> Endpoint[Batch, PreparedBatch, Answers]:
    """Return the endpoint for many items of `one`, as JSON or MessagePack: `items`, and `options` for all of them."""
    media = tuple(form for form in one.accepts if form in _DECODERS)
    return batch_of(one, media, split_fields, lambda: _operation(one, media), lambda: _examples(one))


def batch_of(
    one: Endpoint[Any, Any, Any],
    accepts: tuple[str, ...],
    decode: Callable[[Body], Batch],
    operation: Callable[[], dict[str, Any]],
    examples: Callable[[], dict[str, dict[str, Any]]] = dict,
    with_query: tuple[str, ...] = (),
) -> Endpoint[Batch, PreparedBatch, Answers]:
    """Return the endpoint for many items of `one` in a request, which `decode` splits into items."""
    return Endpoint(
        path=one.path + SUFFIX,
        kind=one.kind,
        also=one.also,
        tag=one.tag,
        description=DESCRIPTION.format(path=one.path),
        accepts=accepts,
        offers=tuple(form for form in one.offers if form in _ENCODERS),
        with_query=with_query,
        limits=lambda settings: replace(
            one.limits(settings),
            bytes=settings.max_items_bytes,
            setting="CHIRON_MAX_ITEMS_BYTES",
            items=settings.max_items,
            item=one.limits(settings),
        ),
        memory=lambda media: Memory(16, 64 << 20),  # most items are not decoded at a time; answers are twice in memory
        on_loop_bytes=0,
        errors=(*one.errors, "too-many-items"),
        raised={},
        answer=_answer(one.answer),
        operation=operation,
        examples=examples,
        example=one.example,
        decode=decode,
        prepare=prepare,
        steps=lambda prepared: steps(one, prepared),
        encode=encode,
        reads=dict,
        writes={},
    )


def split_fields(body: Body) -> Batch:
    """Return the items of a JSON or MessagePack body, whose numbers are not read. Raises malformed-body and invalid-request."""
    fields = typed(_DECODERS[body.media].decode, body.data)
    model, at = fields.options.get("model"), "/options/model"
    if "model" not in fields.options:
        at = "/items/0/model"
        with suppress(msgspec.DecodeError):  # the item's own decoder says what is wrong with it
            model = _NAMES[body.media].decode(fields.items[0]).model
    items = [Item(raw, body.media, fields.options) for raw in fields.items]
    return Batch(items, model if isinstance(model, str) else None, at, replace(body, data=b""), len(body.data))


def prepare(batch: Batch, model: BundleMeta, limits: Limits) -> PreparedBatch:
    """Return the batch with its model. Raises too-many-items; no item is decoded yet."""
    if len(batch.items) > limits.items:
        detail = f"expected at most {limits.items} items (CHIRON_MAX_ITEMS), got {len(batch.items)}"
        raise Problem("too-many-items", detail)
    assert limits.item is not None, "the limits of a batch have those of an item"
    return PreparedBatch(batch, model, limits.item)


def steps(one: Endpoint[Any, Any, Any], prepared: PreparedBatch) -> Steps[Answers]:
    """Ask the network about some items at a time, and return all answers. A problem of an item is its answer."""
    batch = prepared.batch
    answers: list[bytes | None] = []
    failed: list[dict[str, Any]] = []
    free = ANSWER_BYTES + ANSWER_FACTOR * batch.size
    for group in _groups(batch.items):
        walks = [_ItemWalk(one, prepared, item) for item in group]
        while waiting := [walk for walk in walks if walk.tensors]:
            outputs = yield [tensors for walk in waiting for tensors in walk.tensors]
            for walk in waiting:
                count = len(walk.tensors)
                walk.advance(outputs[:count])
                outputs = outputs[count:]
        for walk in walks:
            answer = walk.answer
            free -= 0 if isinstance(answer, Problem) else len(answer)
            if not isinstance(answer, Problem) and free < 0:
                detail = "expected fewer bytes of answers in all; send fewer items, or ask for application/msgpack"
                answer = Problem("body-too-large", detail)
            if isinstance(answer, Problem):
                failed.append({"index": len(answers), **describe(answer, dict(batch.body.scope))})
            answers.append(None if isinstance(answer, Problem) else answer)
    return Answers(answers, failed)


def encode(result: Answers, model: BundleMeta, media: str) -> Encoded:
    """Return the answers and the problems in one document."""
    answers = [None if answer is None else msgspec.Raw(answer) for answer in result.answers]
    return Encoded(_ENCODERS[media].encode({"answers": answers, "failed": result.failed}), {})


class _ItemWalk:
    """One item on its way: the tensors that it waits for, or in the end its answer, which may be a problem."""

    def __init__(self, one: Endpoint[Any, Any, Any], prepared: PreparedBatch, item: Item) -> None:
        self._one, self._model, self._media = one, prepared.model, prepared.batch.body.answer
        self._steps: Any = None
        self.tensors: list[Tensors] = []
        self.answer: bytes | Problem = b""
        self._attempt(self._begin, prepared, item)

    def advance(self, outputs: list[Tensors]) -> None:
        """Take the network's outputs for the tensors."""
        self._attempt(self._next, outputs)

    def _attempt(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Problem as problem:
            self.tensors, self.answer = [], problem

    def _begin(self, prepared: PreparedBatch, item: Item) -> None:
        one, limits, size = self._one, prepared.limits, memoryview(item.data).nbytes
        if size > limits.bytes:
            detail = f"expected at most {limits.bytes} bytes in an item ({limits.setting}), got {size}"
            raise Problem("body-too-large", detail)
        body = replace(prepared.batch.body, data=bytes(item.data), media=item.media, options=item.options)
        with memory_limit(one.memory(item.media).of(size)) if size > SMALL_BYTES else nullcontext():
            request = call(one.raised, one.decode, body)
            if request.model not in (None, self._model.name):
                detail = f"expected the model of the batch, {self._model.name}, got {request.model[:80]!r}"
                raise Problem.at("invalid-request", request.pointer("model"), detail)
            self._steps = one.steps(call(one.raised, one.prepare, request, self._model, limits))
            self._next(None)

    def _next(self, outputs: list[Tensors] | None) -> None:
        turn = call(self._one.raised, advance, self._steps, outputs)
        self.tensors = [] if isinstance(turn, Done) else turn
        if isinstance(turn, Done):
            self.answer = call(self._one.raised, self._one.encode, turn.result, self._model, self._media).content


def _groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield consecutive items, as many as are decoded together."""
    group: list[Item] = []
    size = 0
    for item in items:
        own = memoryview(item.data).nbytes
        if group and (len(group) == AT_ONCE or size + own > BYTES_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(item)
        size += own
    yield group


def _answer(answer: type[BaseModel]) -> type[BaseModel]:
    """Return the schema of the answer to a batch of items with this answer."""
    answers: Any = GenericAlias(list, answer | None)
    return create_model(
        f"{answer.__name__}Batch",
        __doc__="The answers to a batch, and the problems of the items that failed.",
        answers=(answers, Field(description="one an item, in order; null for one that failed")),
        failed=(list[FailedItem], Field(description="the problems of the items that failed, by index")),
    )


def _operation(one: Endpoint[Any, Any, Any], media: Sequence[str]) -> dict[str, Any]:
    """Describe the request for OpenAPI."""
    item = one.operation()["requestBody"]["content"][JSON]["schema"]
    options = {"type": "object", "description": "fields of every item, over its own"}
    schema = {
        "title": f"{item['title']}Batch",
        "type": "object",
        "required": ["items"],
        "additionalProperties": False,
        "properties": {"items": {"type": "array", "minItems": 1, "items": item}, "options": options},
    }
    content = {form: {"schema": schema, "examples": _examples(one)} if form == JSON else BINARY for form in media}
    return {"requestBody": {"required": True, "content": content}}


def _examples(one: Endpoint[Any, Any, Any]) -> dict[str, dict[str, Any]]:
    """Return one example: all those of one item."""
    items = [example["value"] for example in one.examples().values()]
    return {"several": {"summary": "several in one request", "value": {"items": items}}}
