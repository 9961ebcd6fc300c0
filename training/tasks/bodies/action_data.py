"""Batches for recognition: clips of people, and the class of each clip (`batches` has their common parts)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import about_y, cropped, evenly, shown
from models.skeletons.body import mirrored
from training.data.splits import Split
from training.engine.batches import Batch
from training.engine.fingerprint import LATER
from training.tasks.bodies.action_clips import ActionSet
from training.tasks.bodies.batches import UNCHANGED, BodyAugmentation, Deck, counts_to
from training.tasks.bodies.lifted_like import LiftedLike
from training.tasks.bodies.readers.nw_ucla import Protocol
from training.tasks.bodies.sources import action_set


@dataclass(frozen=True)
class ActionData:
    """Clips of one length and their classes.

    `source` is kinetics, penn_action, nw_ucla (with a `protocol`), jhmdb (with a `fold`), a source of 3D motion or named_actions, which are
    made of several. `turned` shows 3D people from the front. Bodies are in the source's own joint order, or in `order`. With tempo "spread"
    a clip is sampled evenly at `frames` frames. With "crop" it is cut to as many consecutive frames, at random in training and from the
    middle elsewhere, and padded with 0 if it is shorter. `test_frames` replaces `frames` for clips that are not trained on.

    Training clips in three dimensions that are spread get the faults of lifted ones with `lifted_like`. With `even`, a class with four
    times the clips of another is drawn twice as often. Clips of the classes `left_out` are in no split, and these are no classes.
    """

    source: str
    frames: int = 64
    batch: int = 64
    tempo: Literal["spread", "crop"] = "spread"
    test_frames: int | None = None
    turned: bool = False
    protocol: Protocol = "cross-view"
    fold: int = 1
    order: str | None = None
    hold_out: bool = True
    augmentation: BodyAugmentation = UNCHANGED
    lifted_like: LiftedLike | None = field(default=None, metadata=LATER)
    even: bool = field(default=False, metadata=LATER)
    left_out: tuple[str, ...] = field(default=(), metadata=LATER)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read."""
        return ("body",)

    def load(self, folder: Path) -> "ActionBatches":
        """Return the batches of the data under `folder`. Reading them for the first time raises what `action_set` raises."""
        return ActionBatches(self, folder / "body")


class ActionBatches:
    """The clips of an ActionData, read when first used."""

    def __init__(self, data: ActionData, folder: Path) -> None:
        self.data, self.folder = data, folder

    @cached_property
    def clips(self) -> ActionSet:
        data = self.data
        return action_set(
            self.folder,
            data.source,
            turned=data.turned,
            protocol=data.protocol,
            fold=data.fold,
            order=data.order,
            left_out=data.left_out,
        )

    def chosen(self, split: Split) -> Int[np.ndarray, "clips"]:
        """Return the numbers of the clips in a split."""
        splits = self.clips.splits
        return np.array([i for i, own in enumerate(splits) if counts_to(own, split, self.data.hold_out)], dtype=int)

    @cached_property
    def training(self) -> Int[np.ndarray, "clips"]:
        return self.chosen("train")

    @cached_property
    def deck(self) -> Deck:
        return Deck(len(self.training), self.data.batch)

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass over the training samples."""
        return self.deck.steps_an_epoch

    @cached_property
    def odds(self) -> Float[np.ndarray, "clips"]:
        """Return the probability of each training clip that `even` draws."""
        labels = self.clips.labels[self.training]
        odds = np.bincount(labels)[labels] ** -0.5
        return odds / odds.sum()

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return {"clips": (batch, persons, frames, joints, dims + 1)} with the confidence last, and classes (batch,) int64."""
        if self.data.even:
            dealt = np.random.default_rng([seed, 0, step]).choice(len(self.training), self.data.batch, p=self.odds)
            keys = [
                [seed, 1, step, int(i), place] for place, i in enumerate(self.training[dealt])
            ]  # a clip may come twice
        else:
            keys = [[seed, 1, step, int(i)] for i in self.training[self.deck.deal(seed, step)]]
        drawn = [self._augmented(key[3], np.random.default_rng(key)) for key in keys[rank::ranks]]
        return {"clips": np.stack([clip for clip, _ in drawn])}, np.array([label for _, label in drawn], dtype=np.int64)

    def _augmented(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        points, confidence = self.clips.read(i)
        changes, frames, label = self.data.augmentation, self.data.frames, int(self.clips.labels[i])
        if changes.turn_deg and self.clips.dims == 3:
            points = about_y(points, np.deg2rad(rng.uniform(-changes.turn_deg, changes.turn_deg)))
        like = self.data.lifted_like
        if like is not None:
            points = like.change(points, self.clips.skeleton, rng)
        clip, length = shown(points, confidence), points.shape[1]
        if self.data.tempo == "crop":
            clip = cropped(clip, int(rng.integers(max(0, length - frames) + 1)), frames)
        else:
            kept = max(1, round(length * rng.uniform(changes.crop, 1)))
            chosen = (
                evenly(kept, frames) if like is None else np.round((kept - 1) * like.places(frames, rng)).astype(int)
            )
            clip = clip[:, int(rng.integers(length - kept + 1)) + chosen]
        if rng.random() < changes.mirror:
            clip, label = mirrored(clip, self.clips.skeleton), self.clips.class_mirror[label]
        clip[rng.random(clip.shape[:-1]) < changes.drop] = 0
        return clip, label

    def batches(self, split: Split) -> Iterator[tuple[str, Batch]]:
        """Yield the source with each batch of a split's clips, all of them, in order and without augmentation."""
        chosen = self.chosen(split)
        for numbers in (chosen[i : i + self.data.batch] for i in range(0, len(chosen), self.data.batch)):
            yield self.data.source, ({"clips": self.inputs(numbers)}, self.clips.labels[numbers].astype(np.int64))

    def inputs(self, numbers: Int[np.ndarray, " batch"]) -> Float[np.ndarray, "batch persons frames joints numbers"]:
        """Return these clips as a network is shown them, without augmentation."""
        frames = self.data.test_frames or self.data.frames
        clips = [shown(*self.clips.read(int(i))) for i in numbers]
        if self.data.tempo == "crop":
            clips = [cropped(clip, max(0, clip.shape[1] - frames) // 2, frames) for clip in clips]
        else:
            clips = [clip[:, evenly(clip.shape[1], frames)] for clip in clips]
        return np.stack(clips)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the source with each batch of validation clips."""
        return self.batches("validation")
