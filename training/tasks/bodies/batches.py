"""What batches for the tasks on bodies have in common: changes of samples, an order to deal them in, and which recordings count.

The training batch of step s is a function of the seed and s alone, as for hands. In a batch a missing keypoint is 0, after centring, and
the confidence that goes with it 0; the mirror plane is x = 0 throughout. Data lie under <folder>/body.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.skeletons.body import convert_body, get_body_order
from training.data.splits import Split


@dataclass(frozen=True)
class BodyAugmentation:
    """Changes of training samples at random.

    `mirror` is the share of samples that are mirrored, left for right; `drop` of keypoints that are taken away. Clips of actions that are
    spread are cut to a piece of at least the share `crop`; those in three dimensions are turned about the vertical by up to `turn_deg`.

    For keypoints of any detector and camera: each sample is seen as `seen_as`, one of these joint orders or our own, would have it, what
    that lacks missing; its keypoints are off by normal `noise`, in their unit; and the whole of it is larger or smaller by up to the
    factor `zoom` and moved aside by up to `shift`.
    """

    mirror: float = 0.0
    drop: float = 0.0
    crop: float = 1.0
    turn_deg: float = 0.0
    seen_as: tuple[str, ...] = ()
    noise: float = 0.0
    zoom: float = 1.0
    shift: float = 0.0

    def seen(
        self, keypoints: Float[np.ndarray, "batch frames joints numbers"], order: str, rng: np.random.Generator
    ) -> None:
        """Change what is seen, in place; a missing keypoint stays 0. All but `mirror`, which its target shares."""
        if self.seen_as:
            which = rng.integers(len(self.seen_as) + 1, size=len(keypoints))
            for number, other in enumerate(self.seen_as):
                keypoints[which == number] = as_seen(keypoints[which == number], order, other)
        there = keypoints.any(axis=-1, keepdims=True)
        one = (len(keypoints), 1, 1, 1)
        if self.noise:
            keypoints[..., :2] += self.noise * rng.normal(size=keypoints[..., :2].shape)
        if self.zoom != 1:
            keypoints[..., :2] *= self.zoom ** rng.uniform(-1, 1, size=one)
        if self.shift:
            keypoints[..., :2] += rng.uniform(-self.shift, self.shift, size=(*one[:-1], 2))
        if self.noise or self.shift:
            keypoints *= there
        keypoints[rng.random(keypoints.shape[:-1]) < self.drop] = 0


AS_THEY_ARE = BodyAugmentation()


def as_seen(
    keypoints: Float[np.ndarray, "batch frames joints numbers"], order: str, other: str
) -> Float[np.ndarray, "batch frames joints numbers"]:
    """Bodies in one order as they are had from another: its lacks are missing, 0, and what is computed, such as the pelvis, is half-way."""
    ours, theirs = get_body_order(order), get_body_order(other)
    points = np.where(keypoints.any(axis=-1, keepdims=True), keypoints, np.nan)
    return np.nan_to_num(convert_body(convert_body(points, ours, theirs, partial=True), theirs, ours, partial=True))


class Deck:
    """The numbers 0 to count - 1, dealt in batches, each once an epoch; what does not fill a batch is left out of that epoch."""

    def __init__(self, count: int, batch: int) -> None:
        self.count, self.batch = count, batch
        self.steps_an_epoch = max(1, count // batch)
        self._shuffled: tuple[tuple[int, int], np.ndarray] | None = None

    def deal(self, seed: int, step: int) -> Int[np.ndarray, " batch"]:
        epoch, number = divmod(step, self.steps_an_epoch)
        if self._shuffled is None or self._shuffled[0] != (seed, epoch):
            self._shuffled = (seed, epoch), np.random.default_rng([seed, 0, epoch]).permutation(self.count)
        return self._shuffled[1][number * self.batch : (number + 1) * self.batch]


def counts_to(own: Split, split: Split, hold_out: bool) -> bool:
    """Whether a recording counts to a split; what is held out of training counts to both where it is not to be."""
    return own == split or (split == "train" and own == "validation" and not hold_out)


def some_of(count: int, limit: int, batch: int) -> Iterator[Int[np.ndarray, " batch"]]:
    """One number in so many of 0 to count - 1 that about `limit` are left, in batches."""
    chosen = np.arange(0, count, max(1, count // limit))
    return (chosen[i : i + batch] for i in range(0, len(chosen), batch))
