"""The stages of a request in any process: it is decoded, prepared, sent through the network and answered.

A request that walks in another process stays there until it is answered, under a number: what is prepared of it never comes
back, only the tensors for the network and the answer do.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from service.tasks.endpoint import Body, Done, Encoded, Endpoint, Limits, advance, call
from service.tasks.memory import memory_limit


class Turn(NamedTuple):
    """The items that a request has for the network, or its answer."""

    model: str | None  # the model's name; None if there is no model of the kind
    pointer: str  # to the name in the request
    items: list[Tensors] | None  # without a batch axis; None if the model is not known or the answer is there
    answer: Encoded | None
    seconds: dict[str, float]  # by stage
    kept: int | None = None  # bytes that the request takes from now on, with its answer; None: as many as before


class Walk:
    """One request of an endpoint; its calls may come from different threads, one at a time."""

    def __init__(self, endpoint: Endpoint[Any, Any, Any]) -> None:
        self._endpoint = endpoint
        self._steps: Any = None
        self._name, self._pointer, self._media = None, "", ""
        self._meta: Any = None  # of the model, once it is known

    def begin(
        self, body: Body, models: Mapping[str, BundleMeta], default: str | None, limits: Limits, *, short: bool = False
    ) -> Turn | None:
        """Decode a body and prepare it for the model that it names, or for the default. Raises Problem.

        The turn has neither items nor an answer if the model is not among `models`. It is None if the request should be `short`, and is
        not.
        """
        endpoint, start = self._endpoint, time.perf_counter()
        request = call(endpoint.raised, endpoint.decode, body)
        if short and not endpoint.is_short(request):
            return None
        decoded = time.perf_counter()
        self._name, self._pointer, self._media = request.model or default, request.pointer("model"), body.answer
        self._meta = models.get(self._name or "")
        seconds = {"decode": decoded - start}
        if self._meta is None:
            return Turn(self._name, self._pointer, None, None, seconds)
        prepared = call(endpoint.raised, endpoint.prepare, request, self._meta, limits)
        self._steps = endpoint.steps(prepared)
        turn = self._next(None, {**seconds, "prepare": time.perf_counter() - decoded})
        return turn._replace(kept=endpoint.kept(prepared)) if endpoint.kept else turn

    def proceed(self, outputs: list[Tensors]) -> Turn:
        """Take the network's outputs for the items of the turn before. Raises Problem."""
        return self._next(outputs, {})

    def _next(self, outputs: list[Tensors] | None, seconds: dict[str, float]) -> Turn:
        endpoint, start = self._endpoint, time.perf_counter()
        turn = call(endpoint.raised, advance, self._steps, outputs)
        stepped = time.perf_counter()
        seconds = {**seconds, "step": stepped - start}
        if not isinstance(turn, Done):
            return Turn(self._name, self._pointer, turn, None, seconds)
        answer = call(endpoint.raised, endpoint.encode, turn.result, self._meta, self._media)
        return Turn(self._name, self._pointer, None, answer, {**seconds, "encode": time.perf_counter() - stepped})


_walks: dict[int, Walk] = {}  # of the requests that walk in this process, by number


def begin(number: int, path: str, memory: int, *arguments: Any) -> Turn:
    """Call Walk.begin for the endpoint at a path, and keep the request under a number if it has further turns.

    Raises body-too-large if it takes more than `memory` bytes.
    """
    from service.tasks.catalogue import BY_PATH

    walk = Walk(BY_PATH[path])
    with memory_limit(memory):
        turn = walk.begin(*arguments)
    assert turn is not None, "expected a turn: only short requests may be declined"
    if turn.items is not None:
        _walks[number] = walk
    return turn


def proceed(number: int, outputs: list[Tensors]) -> Turn:
    """Call Walk.proceed for the request of this number, and forget it once it is answered or has failed."""
    walk = _walks.pop(number)
    turn = walk.proceed(outputs)
    if turn.items is not None:
        _walks[number] = walk
    return turn


def forget(number: int) -> None:
    """Forget a request that nobody waits for any longer."""
    _walks.pop(number, None)
