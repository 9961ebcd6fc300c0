"""The way from prepared clips through the network to an answer, which every task on bodies shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from service.tasks.bodies.wire import DecodedClips, encode
from service.tasks.endpoint import Encoded, Steps
from service.tasks.fields import with_model


class HasTensors(Protocol):
    """The least that a prepared clip has: the network's inputs, without a batch axis, float32."""

    @property
    def tensors(self) -> Sequence[Tensors]: ...


ClipT = TypeVar("ClipT", bound=HasTensors)


@dataclass(frozen=True)
class PreparedClips(Generic[ClipT]):
    """A request, checked and in the model's form: one item for each answer."""

    request: DecodedClips[Any]
    task: Any
    clips: list[ClipT]


@dataclass(frozen=True)
class ComputedClips(Generic[ClipT]):
    """The network's outputs for each prepared clip."""

    prepared: PreparedClips[ClipT]
    outputs: list[list[Tensors]]


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
    pairs = zip(prepared.clips, computed.outputs, strict=True)
    parts = [answer(clip, outputs, prepared.task) for clip, outputs in pairs]
    document = {
        **describe(request, prepared.task),
        **({"clips": parts} if request.array == "clips" else parts[0]),
    }
    return encode(with_model(document, model), media, request.dtype)
