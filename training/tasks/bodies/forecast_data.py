"""Batches of forecasting poses in 2D: what was seen of a person to what comes (body_batches.py says what holds of all)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import (
    box_of,
    boxed,
    penn_sample,
    steady_sample,
)
from models.skeletons.body import get_body_order, mirrored
from training.data.splits import Split
from training.engine.batches import Batch
from training.tasks.bodies.batches import (
    AS_THEY_ARE,
    BodyAugmentation,
    Deck,
    counts_to,
    some_of,
)
from training.tasks.bodies.clips import BodyClip, seen_points
from training.tasks.bodies.sources import flat_clips


@dataclass(frozen=True)
class PoseForecastData:
    """Past 2D poses and the future ones.

    `sources` are penn_action and those of motion, as virtual cameras see it. Without `fps` samples are Penn Action's, spread over the clip
    (`body_motion.penn_sample`); with it, consecutive frames at that rate. Coordinates are in units of a box: round the whole "clip",
    counting guesses of what is not visible, as published for Penn Action, or round the "past" poses alone, guesses being missing, which is
    what one has when forecasting. Of training samples the share `forced` is shown true poses where the network would go on from its own.
    """

    sources: tuple[str, ...] = ("penn_action",)
    past: int = 1
    future: int = 16
    fps: float | None = None
    box: Literal["clip", "past"] = "clip"
    order: str = "penn-13"
    batch: int = 256
    hold_out: bool = True
    with_confidence: bool = False
    forced: float = 0.0
    augmentation: BodyAugmentation = AS_THEY_ARE
    validation: int = 2000  # samples of each source

    def load(self, folder: Path) -> "PoseForecastBatches":
        """The samples of what is under `folder`. Raises, at first use, what `flat_clips` raises."""
        return PoseForecastBatches(self, folder / "body")


@dataclass(frozen=True)
class ForecastFrames:
    """The frames of many clips one after the other, x, y and whether seen, NaN where missing; sample i has the frames rows[i]."""

    poses: Float[np.ndarray, "frames joints 3"]
    rows: Int[np.ndarray, "samples times"]


class PoseForecastBatches:
    """The samples of a PoseForecastData, read at first use."""

    def __init__(self, data: PoseForecastData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.skeleton = get_body_order(data.order)

    @cached_property
    def recordings(self) -> list[BodyClip]:
        """All clips in the order and at the rate asked for, in their own units."""
        return [c for s in self.data.sources for c in flat_clips(self.folder, s, self.skeleton, self.data.fps)]

    @cached_property
    def training(self) -> ForecastFrames:
        return self.frames("train")

    @cached_property
    def deck(self) -> Deck:
        return Deck(len(self.training.rows), self.data.batch)

    def frames(self, split: Split, source: str | None = None) -> ForecastFrames:
        """The samples of a split, of one source or of all."""
        data, begin = self.data, 0
        spread = penn_sample if data.fps is None else steady_sample
        poses = [np.empty((0, len(self.skeleton.joints), 3), np.float32)]
        rows = [np.empty((0, data.past + data.future), int)]
        for clip in self.recordings:
            if source not in (None, clip.source) or not counts_to(clip.split, split, data.hold_out):
                continue
            seen = clip.points if data.box == "clip" else seen_points(clip.points, clip.confidence)
            points = boxed(seen, box_of(seen)) if data.box == "clip" else seen
            poses.append(np.concatenate([points, clip.confidence[..., None]], axis=-1, dtype=np.float32))
            rows.append(spread(len(points), data.past, data.future) + begin)
            begin += len(points)
        return ForecastFrames(np.concatenate(poses), np.concatenate(rows))

    def batch(self, frames: ForecastFrames, chosen: Int[np.ndarray, "batch"]) -> Batch:
        """{"past": (batch, past, joints, 2 or, with confidence, 3)}, future (batch, future, joints, 3): x, y and 1 where seen, else 0."""
        poses, past = frames.poses[frames.rows[chosen]], self.data.past
        if self.data.box == "past":
            for pose in poses:
                pose[..., :2] = boxed(pose[..., :2], box_of(pose[:past, :, :2]))
        poses[np.isnan(poses).any(axis=-1)] = 0
        return {"past": poses[:, :past, :, : 3 if self.data.with_confidence else 2]}, poses[:, past:]

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Batch `step` of the run of this seed."""
        inputs, future = self.batch(self.training, self.deck.deal(seed, step))
        past, rng, how = inputs["past"], np.random.default_rng([seed, 1, step]), self.data.augmentation
        flip = rng.random(len(past)) < how.mirror
        past[flip], future[flip] = mirrored(past[flip], self.skeleton), mirrored(future[flip], self.skeleton)
        how.seen(past, self.data.order, rng)
        shown = {"past": past}
        if self.data.forced:
            forced = rng.random(len(past)) < self.data.forced
            shown["teacher"] = np.concatenate([future[..., :2], future[..., 2:] * forced[:, None, None, None]], axis=-1)
        return {name: x[rank::ranks] for name, x in shown.items()}, future[rank::ranks]

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """The validation samples with their source, one in so many that `validation` of each source are left."""
        for source in self.data.sources:
            frames = self.frames("validation", source)
            for chosen in some_of(len(frames.rows), self.data.validation, self.data.batch):
                yield source, self.batch(frames, chosen)
