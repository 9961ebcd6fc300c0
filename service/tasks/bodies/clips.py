"""The way from prepared clips through the network to an answer, which every task on bodies shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from service.http.problems import Problem
from service.tasks.bodies.wire import Clip, DecodedClips, encode
from service.tasks.endpoint import Encoded, Steps
from service.tasks.fields import with_model

LOST = (
    "gap-too-long",
    "implausible",
)  # kinds of problem that one person of several may have without harm to the others


class HasTensors(Protocol):
    """The least that a prepared clip has: the network's inputs, without a batch axis, float32, and what is doubtful."""

    @property
    def tensors(self) -> Sequence[Tensors]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


ClipT = TypeVar("ClipT", bound=HasTensors)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class PreparedClips(Generic[ClipT]):
    """A request, checked and in the model's form: one item for each answer, and the problems of people who get none.

    `together` tells that all people of the request are one item.
    """

    request: DecodedClips[Any]
    task: Any
    clips: list[ClipT]
    lost: dict[int, Problem] = field(default_factory=dict)  # by the place of the person in the request
    together: bool = False

    @property
    def first(self) -> int:
        """Return the place in the request of the first clip."""
        return next(index for index in range(len(self.request.clips)) if index not in self.lost)


def prepare_each(request: DecodedClips[Any], task: Any, prepared: Callable[[Clip], ClipT]) -> PreparedClips[ClipT]:
    """Prepare every clip; a person of several who is lost leaves a problem. Raises the problem of the last if all are lost."""
    clips, lost = answered(request, prepared)
    return PreparedClips(request, task, clips, lost)


def answered(
    request: DecodedClips[Any], function: Callable[[Clip], ResultT]
) -> tuple[list[ResultT], dict[int, Problem]]:
    """Return function(clip) of every clip, and the problems of people who are lost, by their place. Raises Problem."""
    results: list[ResultT] = []
    lost: dict[int, Problem] = {}
    for index, clip in enumerate(request.clips):
        try:
            results.append(function(clip))
        except Problem as problem:
            if request.array != "persons" or problem.kind not in LOST or len(lost) + 1 == len(request.clips):
                raise
            lost[index] = problem
    return results, lost


@dataclass(frozen=True)
class ComputedClips(Generic[ClipT]):
    """The network's outputs for each prepared clip."""

    prepared: PreparedClips[ClipT]
    outputs: list[list[Tensors]]


def warnings_of(computed: ComputedClips[Any]) -> list[str]:
    """Return what is doubtful in the clips, each once."""
    prepared = computed.prepared
    return list(
        dict.fromkeys((*prepared.request.warnings, *(text for clip in prepared.clips for text in clip.warnings)))
    )


def steps(prepared: PreparedClips[ClipT]) -> Steps[ComputedClips[ClipT]]:
    """Ask the network about all clips at once."""
    outputs = yield [tensors for clip in prepared.clips for tensors in clip.tensors]
    by_clip = []
    for clip in prepared.clips:
        own, outputs = outputs[: len(clip.tensors)], outputs[len(clip.tensors) :]
        by_clip.append(own)
    return ComputedClips(prepared, by_clip)


def encode_clips(
    answer: Callable[[ClipT, list[Tensors], Any], dict[str, Any]],
    describe: Callable[[DecodedClips[Any], Any], Mapping[str, Any]],
    computed: ComputedClips[ClipT],
    model: BundleMeta,
    media: str,
) -> Encoded:
    """Return the answer: what `describe` says of all clips, and what `answer` makes of each. Raises not-finite."""
    prepared, request = computed.prepared, computed.prepared.request
    parts = [
        {**answer(clip, outputs, prepared.task), "warnings": [*request.warnings, *clip.warnings]}
        for clip, outputs in zip(prepared.clips, computed.outputs, strict=True)
    ]
    document = dict(describe(request, prepared.task))
    if request.array == "persons" and not prepared.together:
        rest = iter(parts)
        document["persons"] = [None if index in prepared.lost else next(rest) for index in range(len(request.clips))]
    else:
        document |= {"clips": parts} if request.array == "clips" else parts[0]
    if request.array == "persons":
        reasons = ((index, problem.kind, problem.detail) for index, problem in prepared.lost.items())
        document["lost"] = [{"person": index, "kind": kind, "detail": detail} for index, kind, detail in reasons]
    return encode(with_model(document, model), media, request.dtype)
