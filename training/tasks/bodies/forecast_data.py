"""Batches for forecasting 2D poses: past poses, and the poses that follow (`batches` has their common parts)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import box_of, boxed, boxed_by_past, penn_sample, steady_sample
from models.skeletons.body import mirrored
from models.skeletons.body_orders import get_body_order
from training.data.splits import Split
from training.engine.batches import Batch
from training.engine.fingerprint import LATER
from training.tasks.bodies.batches import UNCHANGED, BodyAugmentation, Deck, Decks, counts_to, thinned
from training.tasks.bodies.clips import BodyClip, seen_points
from training.tasks.bodies.own.sets import OwnBodies, parts_of, source_of
from training.tasks.bodies.sources import flat_clips


@dataclass(frozen=True)
class PoseForecastData:
    """Past 2D poses and the future ones.

    `sources` are penn_action, and sources of 3D motion as virtual cameras see them. With `fps`, samples are consecutive frames at that
    rate; without it, they are Penn Action's, spread over the clip (`models.motion.bodies.penn_sample`).

    Coordinates are in units of a box. The box "clip" surrounds the whole clip, guesses of invisible joints included, as published for Penn
    Action. The box "past" surrounds the past poses alone and makes guesses missing, because a forecaster knows no more than that.

    `balanced` training batches have as many samples of each source, however long its recordings are.

    `own` are the sources that are sets of one's own; their digests are part of the fingerprint.

    The share `forced` of the training samples comes with the true future as a `teacher` input (teacher forcing).
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
    balanced: bool = field(default=False, metadata=LATER)
    forced: float = 0.0
    augmentation: BodyAugmentation = UNCHANGED
    validation: int = 2000  # samples of each source
    own: tuple[OwnBodies, ...] = field(default=(), metadata=LATER | {"described_as": "digests"})

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read; "." is the folder itself."""
        return parts_of(self.sources, self.own)

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the sets of one's own, by name."""
        return {one.name: one.sha256 for one in self.own}

    def load(self, folder: Path) -> "PoseForecastBatches":
        """Return the batches of the data under `folder`. Reading them for the first time raises what `flat_clips` raises."""
        return PoseForecastBatches(self, folder / "body")


@dataclass(frozen=True)
class ForecastFrames:
    """The frames of many clips in one array: x, y and 1 if visible, NaN where missing. Sample i consists of the frames rows[i].

    Samples follow each other source by source; `counts` has the number of each source.
    """

    poses: Float[np.ndarray, "frames joints 3"]
    rows: Int[np.ndarray, "samples times"]
    counts: tuple[int, ...]


class PoseForecastBatches:
    """The samples of a PoseForecastData, read when first used."""

    def __init__(self, data: PoseForecastData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.skeleton = get_body_order(data.order)

    @cached_property
    def recordings(self) -> list[BodyClip]:
        """Return all clips in the data's joint order and at its rate, in their own units."""
        sources = [source_of(source, self.data.own) for source in self.data.sources]
        return [clip for one in sources for clip in flat_clips(self.folder, one, self.skeleton, self.data.fps)]

    @cached_property
    def training(self) -> ForecastFrames:
        return self.frames("train")

    @cached_property
    def deck(self) -> Deck | Decks:
        counts, batch = self.training.counts, self.data.batch
        return Decks(counts, batch) if self.data.balanced else Deck(sum(counts), batch)

    def frames(self, split: Split, source: str | None = None) -> ForecastFrames:
        """Collect the samples of a split, from one source or from all."""
        data, begin = self.data, 0
        sample_rows = penn_sample if data.fps is None else steady_sample
        poses = [np.empty((0, len(self.skeleton.joints), 3), np.float32)]
        rows = [np.empty((0, data.past + data.future), int)]
        counts = dict.fromkeys(data.sources, 0)
        for clip in self.recordings:
            if source not in (None, clip.source) or not counts_to(clip.split, split, data.hold_out):
                continue
            seen = clip.points if data.box == "clip" else seen_points(clip.points, clip.confidence)
            points = boxed(seen, box_of(seen)) if data.box == "clip" else seen
            poses.append(np.concatenate([points, clip.confidence[..., None]], axis=-1, dtype=np.float32))
            rows.append(sample_rows(len(points), data.past, data.future) + begin)
            counts[clip.source] += len(rows[-1])
            begin += len(points)
        return ForecastFrames(np.concatenate(poses), np.concatenate(rows), tuple(counts.values()))

    def batch(self, frames: ForecastFrames, chosen: Int[np.ndarray, "batch"]) -> Batch:
        """Return {"past": (batch, past, joints, 2, or 3 with confidence)} and the future (batch, future, joints, 3).

        The third number of the future is 1 if the joint is visible, else 0.
        """
        poses, past = frames.poses[frames.rows[chosen]], self.data.past
        if self.data.box == "past":
            poses[..., :2] = boxed_by_past(poses[..., :2], past)
        poses[np.isnan(poses).any(axis=-1)] = 0
        return {"past": poses[:, :past, :, : 3 if self.data.with_confidence else 2]}, poses[:, past:]

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass over the training samples."""
        return self.deck.steps_an_epoch

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return this rank's share of training batch `step`, with a `teacher` input if samples are forced."""
        inputs, future = self.batch(self.training, self.deck.deal(seed, step))
        past, rng, changes = inputs["past"], np.random.default_rng([seed, 1, step]), self.data.augmentation
        flip = rng.random(len(past)) < changes.mirror
        past[flip], future[flip] = mirrored(past[flip], self.skeleton), mirrored(future[flip], self.skeleton)
        changes.change_keypoints(past, self.data.order, rng)
        inputs = {"past": past}
        if self.data.forced:
            forced = rng.random(len(past)) < self.data.forced
            inputs["teacher"] = np.concatenate(
                [future[..., :2], future[..., 2:] * forced[:, None, None, None]], axis=-1
            )
        return {name: x[rank::ranks] for name, x in inputs.items()}, future[rank::ranks]

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the source with each batch of validation samples, thinned to about `validation` samples a source."""
        for source in self.data.sources:
            frames = self.frames("validation", source)
            for chosen in thinned(len(frames.rows), self.data.validation, self.data.batch):
                yield source, self.batch(frames, chosen)
