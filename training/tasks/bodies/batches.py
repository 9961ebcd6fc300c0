"""Common parts of the batches of the three body tasks: augmentation, the order of samples, and the recordings of a split.

The training batch of a step is a function of the seed and the step alone. In a batch the mirror plane is x = 0; a missing keypoint is 0
after centring, and so is its confidence. The data lie in <data folder>/body.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.skeletons.body import convert_body
from models.skeletons.body_orders import get_body_order
from training.data.splits import Split


@dataclass(frozen=True)
class BodyAugmentation:
    """Random changes of training samples.

    `mirror` is the share of samples that are mirrored, and `drop` the share of keypoints that are removed. Clips of actions that are
    spread over a number of frames are cut to a random piece of at least the share `crop`. 3D clips of actions turn about the vertical by
    up to `turn_deg` degrees.

    The other fields stand for other detectors and cameras. Each sample keeps only the joints that one of the orders `seen_as`, or the
    model's own, would give. Half of the samples get normal noise on their keypoints, in their unit, of a standard deviation between 0 and
    `noise`; the others stay clean. A whole sample is scaled by up to the factor `zoom`, up or down, and shifted by up to `shift`.
    """

    mirror: float = 0.0
    drop: float = 0.0
    crop: float = 1.0
    turn_deg: float = 0.0
    seen_as: tuple[str, ...] = ()
    noise: float = 0.0
    zoom: float = 1.0
    shift: float = 0.0

    def change_keypoints(
        self, keypoints: Float[np.ndarray, "batch frames joints numbers"], order: str, rng: np.random.Generator
    ) -> None:
        """Change the keypoints in place with every change but `mirror`, which the target shares; a missing keypoint stays 0."""
        if self.seen_as:
            choice = rng.integers(len(self.seen_as) + 1, size=len(keypoints))
            for number, other in enumerate(self.seen_as):
                keypoints[choice == number] = as_seen(keypoints[choice == number], order, other)
        present = keypoints.any(axis=-1, keepdims=True)
        one = (len(keypoints), 1, 1, 1)
        if self.noise:
            level = self.noise * np.maximum(0, rng.uniform(-1, 1, size=one))
            keypoints[..., :2] += level * rng.normal(size=keypoints[..., :2].shape)
        if self.zoom != 1:
            keypoints[..., :2] *= self.zoom ** rng.uniform(-1, 1, size=one)
        if self.shift:
            keypoints[..., :2] += rng.uniform(-self.shift, self.shift, size=(*one[:-1], 2))
        if self.noise or self.shift:
            keypoints *= present
        keypoints[rng.random(keypoints.shape[:-1]) < self.drop] = 0


UNCHANGED = BodyAugmentation()


def as_seen(
    keypoints: Float[np.ndarray, "batch frames joints numbers"], order: str, other: str
) -> Float[np.ndarray, "batch frames joints numbers"]:
    """Convert keypoints from `order` to another order and back.

    Joints that the other order lacks become missing (0). Joints that are computed from others, such as the pelvis, are recomputed.
    """
    own, foreign = get_body_order(order), get_body_order(other)
    points = np.where(keypoints.any(axis=-1, keepdims=True), keypoints, np.nan)
    return np.nan_to_num(convert_body(convert_body(points, own, foreign, partial=True), foreign, own, partial=True))


class Deck:
    """The numbers 0 to count - 1, shuffled and dealt in batches once an epoch; a last incomplete batch is left out of its epoch."""

    def __init__(self, count: int, batch: int) -> None:
        self.count, self.batch = count, batch
        self.steps_an_epoch = max(1, count // batch)
        self._shuffled: tuple[tuple[int, int], np.ndarray] | None = None

    def deal(self, seed: int, step: int) -> Int[np.ndarray, " batch"]:
        """Return the numbers of batch `step`."""
        epoch, number = divmod(step, self.steps_an_epoch)
        if self._shuffled is None or self._shuffled[0] != (seed, epoch):
            self._shuffled = (seed, epoch), np.random.default_rng([seed, 0, epoch]).permutation(self.count)
        return self._shuffled[1][number * self.batch : (number + 1) * self.batch]


class Decks:
    """A deck for each source; every batch has about as many numbers of each source, and the sources' numbers follow each other."""

    def __init__(self, counts: Sequence[int], batch: int) -> None:
        present = [i for i, count in enumerate(counts) if count]
        shares = [len(part) for part in np.array_split(np.arange(batch), len(present))]
        self.starts = [sum(counts[:i]) for i in present]
        self.decks = [Deck(counts[i], min(share, counts[i])) for i, share in zip(present, shares, strict=True)]

    @property
    def steps_an_epoch(self) -> int:
        """Return the number of batches after which every number has been dealt at least once."""
        return max(deck.steps_an_epoch for deck in self.decks)

    def deal(self, seed: int, step: int) -> Int[np.ndarray, " batch"]:
        """Return the numbers of batch `step`."""
        dealt = zip(self.starts, self.decks, strict=True)
        return np.concatenate([start + deck.deal(seed, step) for start, deck in dealt])


def counts_to(own: Split, split: Split, hold_out: bool) -> bool:
    """Return whether a recording of split `own` belongs to `split`; without `hold_out`, validation recordings are trained on as well."""
    return own == split or (split == "train" and own == "validation" and not hold_out)


def thinned(count: int, limit: int, batch: int) -> Iterator[Int[np.ndarray, " batch"]]:
    """Deal every n-th number of 0 to count - 1 in batches, with n such that about `limit` are left."""
    chosen = np.arange(0, count, max(1, count // limit))
    return (chosen[i : i + batch] for i in range(0, len(chosen), batch))
