"""Hand windows in batches, from one or several sources, for training and for measuring.

The training batch of step s depends on the seed and s alone, so a run that is killed and resumed sees the same batches as one that is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.contract.symmetry import random_rotation
from models.skeletons.hand import HAND_PAIR
from training.engine.batches import Batch
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import Window, WindowSet, cut

Clips = Float[np.ndarray, "batch frames nodes 3"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes that keep a training window plausible; a network that is symmetric under a change does not need it.

    `mirror` is the share of two-hand windows whose left and right are exchanged, `reverse` the share of windows played backwards, and
    `one_hand` the share of two-hand batches that show one hand only. `rotate` turns every window at random. `scale` resizes every window
    by a random factor between 1/scale and scale.
    """

    mirror: float = 0.0
    rotate: bool = False
    one_hand: float = 0.2
    reverse: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class HandData:
    """The hand windows of `sources` as a value; `tempi` are the playback speeds of training recordings, 1.25 being a quarter faster."""

    sources: tuple[str, ...]
    window: Window
    batch: int = 16
    augmentation: Augmentation = Augmentation()
    tempi: tuple[float, ...] = (1.0,)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read."""
        return ("hands",)

    def load(self, folder: Path) -> "HandBatches":
        """Open the windows under the data folder `folder`; reading them raises UnknownSource, MalformedSource."""
        return HandBatches(self, folder / "hands")


class HandBatches:
    """The windows of a HandData, read when they are first used. `folder` is the subfolder `hands` of the data folder."""

    def __init__(self, data: HandData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self._shuffled: tuple[tuple[int, int], list[tuple[WindowSet, np.ndarray]]] | None = None

    def windows(
        self,
        split: str,
        hands: int,
        sources: tuple[str, ...] | None = None,
        *,
        phases: Literal["all", "first"],
        window: Window | None = None,
    ) -> WindowSet:
        """Return the windows of two hands, or of single hands where no window has two, in a split.

        `sources` and `window` default to the data's own. `phases` is as in `cut`.
        """
        recordings = [
            recording
            for source in sources or self.data.sources
            for recording in hand_source(source).read(self.folder, split)
        ]
        return cut(recordings, window or self.data.window, hands=hands, lone=hands == 1, phases=phases)

    def recordings(self, split: str, source: str) -> int:
        """Return the number of recordings of a source in a split."""
        return len(hand_source(source).read(self.folder, split))

    @cached_property
    def training(self) -> list[WindowSet]:
        """Return the training windows, one set for each number of hands and tempo."""
        tempi = [replace(self.data.window, fps=self.data.window.fps / tempo) for tempo in self.data.tempi]
        return [
            w
            for hands in (1, 2)
            for window in tempi
            if len(w := self.windows("train", hands, window=window, phases="all"))
        ]

    @cached_property
    def validation(self) -> list[tuple[str, WindowSet]]:
        """Return the validation windows with their source, one set for each source and number of hands."""
        return [
            (source, windows)
            for source in self.data.sources
            for hands in (1, 2)
            if len(windows := self.windows("validation", hands, (source,), phases="first"))
        ]

    def steps_an_epoch(self) -> int:
        """Return the number of batches in which every training window is shown once."""
        return sum(len(self._chunks(windows)) for windows in self.training)

    def _chunks(self, windows: WindowSet) -> range:
        return range(0, max(len(windows) - self.data.batch + 1, 1), self.data.batch)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are {"past": (batch, past, nodes, 3)} and the target is (batch, future, nodes, 3), in metres, float32.
        """
        epoch, number = divmod(step, self.steps_an_epoch())
        windows, indices = self._epoch(seed, epoch)[number]
        rng = np.random.default_rng([seed, 1, step])
        past, future = windows.past_future(indices)
        clip = augment(np.concatenate([past, future], axis=1), self.data.augmentation, rng)[rank::ranks]
        return {"past": clip[:, : past.shape[1]]}, clip[:, past.shape[1] :]

    def _epoch(self, seed: int, epoch: int) -> list[tuple[WindowSet, np.ndarray]]:
        """Return every window once, in shuffled batches of equal numbers of nodes."""
        if self._shuffled is None or self._shuffled[0] != (seed, epoch):
            rng = np.random.default_rng([seed, 0, epoch])
            batches = []
            for windows in self.training:
                order = rng.permutation(len(windows))
                batches += [(windows, order[i : i + self.data.batch]) for i in self._chunks(windows)]
            self._shuffled = (seed, epoch), [batches[i] for i in rng.permutation(len(batches))]
        return self._shuffled[1]

    def validation_batches(self, limit: int = 500) -> Iterator[tuple[str, Batch]]:
        """Yield the validation windows in batches with their source, thinned to about `limit` for each source and number of hands."""
        for source, windows in self.validation:
            chosen = np.arange(0, len(windows), max(1, len(windows) // limit))
            for i in range(0, len(chosen), self.data.batch):
                past, future = windows.past_future(chosen[i : i + self.data.batch])
                yield source, ({"past": past}, future)


def augment(clip: Clips, how: Augmentation, rng: np.random.Generator) -> Float[np.ndarray, "batch frames shown 3"]:
    """Return the clips changed at random, each by its own draw; whether one hand is dropped is one draw for the batch."""
    batch, _, nodes, _ = clip.shape
    clip = clip.copy()
    if how.mirror and nodes == len(HAND_PAIR.joints):
        chosen = rng.random(batch) < how.mirror
        clip[chosen] = (clip[chosen] * np.array([-1, 1, 1], dtype=np.float32))[:, :, list(HAND_PAIR.mirror)]
    if how.reverse:
        chosen = rng.random(batch) < how.reverse
        clip[chosen] = clip[chosen][:, ::-1]
    if how.scale != 1:
        reach = abs(np.log(how.scale))
        clip *= np.exp(rng.uniform(-reach, reach, size=batch)).astype(np.float32)[:, None, None, None]
    if how.rotate:
        turns = np.stack([random_rotation(rng) for _ in range(batch)]).astype(np.float32)
        clip = np.einsum("bij,bfnj->bfni", turns, clip)
    if nodes == len(HAND_PAIR.joints) and rng.random() < how.one_hand:
        half = nodes // 2
        clip = np.where((rng.random(batch) < 0.5)[:, None, None, None], clip[:, :, :half], clip[:, :, half:])
    return np.ascontiguousarray(clip)
