"""A request of a hand forecast in the model's form, and the network's answer to it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from models.contract.task import HandForecast
from models.motion.hands import Past
from models.skeletons.skeleton import Skeleton
from service.tasks.hands.wire import DecodedHands


@dataclass(frozen=True)
class PreparedHands:
    """A request, checked and in the model's form. Lengths are in metres from `centre`."""

    request: DecodedHands  # without its arrays
    task: HandForecast
    order: Skeleton
    sides: tuple[str, ...]  # the arrays of the answer: future, or those of left and right that the request has
    fps: float
    times: Float[np.ndarray, " times"]  # of the answer, in seconds after the last frame
    past: Past
    seen: (
        Bool[np.ndarray, "past hands joints"] | None
    )  # of a masked task: the joints that were seen; others are at rest, or NaN
    reference: Float[
        np.ndarray, "hands order_joints 3"
    ]  # the last whole pose of the hands in `past`, in the caller's order
    centre: Float[np.ndarray, "3"]
    warnings: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the model's inputs without a batch axis, float32: poses (frames, nodes, 3) and, of a masked task, what was seen."""
        joints = self.past.joints
        past = np.ascontiguousarray(joints.reshape(len(joints), -1, 3), dtype=np.float32)
        if self.seen is None:
            return {"past": past}
        seen = self.seen.reshape(len(joints), -1).astype(np.float32)
        return {"past": past if self.is_whole else np.where(np.isnan(past), np.float32(0), past), "seen": seen}

    @cached_property
    def is_whole(self) -> bool:
        """Return whether every joint of the past was seen."""
        return self.seen is None or bool(self.seen.all())

    @property
    def never_seen(self) -> Bool[np.ndarray, "hands joints"]:
        """Return the joints that were seen at no time, for which there is no forecast."""
        if self.seen is None:
            return np.zeros(self.past.joints.shape[1:3], bool)
        return ~np.any(self.seen, axis=0)


@dataclass(frozen=True)
class HandsForecast:
    """The part of the model's forecast that was asked for: its joints in metres from the centre, at the model's rate."""

    prepared: PreparedHands
    modes: Float[np.ndarray, "modes frames hands joints 3"]
    std: Float[np.ndarray, "frames hands joints"] | None = None  # of each coordinate of mode 0, in metres
    weights: Float[np.ndarray, " modes"] | None = None  # probabilities of the modes
