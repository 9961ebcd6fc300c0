"""Windows of two hands in epochs of a fixed number of seconds, for the comparison of forecasters.

An epoch has one window for every `every_s` seconds of each training recording, at a random phase that is drawn anew in every epoch. All
windows of a recording overlap, so an epoch of every window would show the same motion a hundred times.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from training.tasks.hands.data import Augmentation, HandBatches, HandData
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import Window, WindowSet


@dataclass(frozen=True)
class EpochData:
    """The windows of two hands of `sources` as a value; validation uses about `limit` windows of each source.

    Windows are not augmented: every network sees the motion as it was recorded.
    """

    sources: tuple[str, ...]
    window: Window
    batch: int = 8
    every_s: float = 4.0
    limit: int = 60

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read."""
        return ("hands",)

    def load(self, folder: Path) -> "EpochBatches":
        """Open the windows under the data folder `folder`; reading them raises UnknownSource, MalformedSource."""
        return EpochBatches(self, folder / "hands")


class EpochBatches(HandBatches):
    """The windows of an EpochData, read when they are first used. `folder` is the subfolder `hands` of the data folder."""

    def __init__(self, data: EpochData, folder: Path) -> None:
        super().__init__(HandData(data.sources, data.window, data.batch, Augmentation(one_hand=0.0)), folder)
        self.every_s, self.limit = data.every_s, data.limit

    @cached_property
    def training(self) -> list[WindowSet]:
        """Return the training windows of two hands as one set."""
        return [self.windows("train", 2, phases="all")]

    @cached_property
    def validation(self) -> list[tuple[str, WindowSet]]:
        """Return the validation windows of two hands with their source, one set for each source."""
        return [
            (source, windows)
            for source in self.data.sources
            if len(windows := self.windows("validation", 2, (source,), phases="first"))
        ]

    def validation_batches(self, limit: int | None = None):
        """Yield the validation windows in batches with their source, thinned to about `limit` for each source."""
        return super().validation_batches(limit or self.limit)

    @cached_property
    def shares(self) -> list[int]:
        """Return how many windows of each training recording an epoch has: its length over `every_s`, and none without a window."""
        (windows,) = self.training
        there = np.bincount(windows.recording_of, minlength=len(windows.recordings))
        recordings = (r for source in self.data.sources for r in hand_source(source).read(self.folder, "train"))
        lengths = [float(r.clip.times[-1] - r.clip.times[0]) for r in recordings]
        return [
            min(max(round(length / self.every_s), 1), int(n)) if n else 0
            for length, n in zip(lengths, there, strict=True)
        ]

    def windows_an_epoch(self) -> int:
        """Return the number of windows of an epoch."""
        return sum(self.shares)

    def steps_an_epoch(self) -> int:
        """Return the number of full batches in an epoch, at least one; the remainder of an epoch is not shown."""
        return len(self._chunks_of(self.windows_an_epoch()))

    def _chunks_of(self, windows: int) -> range:
        return range(0, max(windows - self.data.batch + 1, 1), self.data.batch)

    def _epoch(self, seed: int, epoch: int) -> list[tuple[WindowSet, Int[np.ndarray, " batch"]]]:
        """Return the windows of an epoch in shuffled batches: evenly spread over each recording, from a random phase on."""
        if self._shuffled is None or self._shuffled[0] != (seed, epoch):
            rng = np.random.default_rng([seed, 0, epoch])
            (windows,) = self.training
            of_recording = np.split(
                np.argsort(windows.recording_of, kind="stable"),
                np.cumsum(np.bincount(windows.recording_of, minlength=len(self.shares)))[:-1],
            )
            drawn = rng.permutation(
                np.concatenate(
                    [
                        there[((np.arange(share) + rng.random()) * len(there) / share).astype(int)]
                        for there, share in zip(of_recording, self.shares, strict=True)
                        if share
                    ]
                )
            )
            batches = [(windows, drawn[i : i + self.data.batch]) for i in self._chunks_of(len(drawn))]
            self._shuffled = (seed, epoch), batches
        return self._shuffled[1]
