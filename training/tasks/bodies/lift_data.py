"""Batches of lifting: windows of 2D keypoints to the pose in the middle, through cameras (body_batches.py says what holds of all)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import shown
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
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.sources import lift_clips


@dataclass(frozen=True)
class LiftData:
    """Windows of 2D keypoints and the 3D poses in their middle.

    `sources` are among hdm05_11, cmu_9act, reactidle and bandai_namco, seen by four virtual cameras, and human36m and humaneva with the
    detector's `keypoints`. Keypoints are in `seen_order`, targets in `order`. A window gives the poses of `outputs` consecutive frames and
    has `receptive` - 1 frames more than these; `fps` brings motion to this rate, by default its own, and `turns` lets more virtual cameras
    see what is trained on. With a `share` below 1 only one run of
    this share of each training recording's frames has known poses; the frames around are seen all the same. Without `hold_out` validation
    recordings are trained on as well.
    """

    sources: tuple[str, ...]
    receptive: int = 27
    outputs: int = 1
    batch: int = 256
    order: str = "h36m-17"
    seen_order: str = "h36m-17"
    keypoints: str = "cpn_ft_h36m_dbb"
    fps: float | None = None
    turns: tuple[float, ...] = ()
    share: float = 1.0
    hold_out: bool = True
    with_confidence: bool = False
    augmentation: BodyAugmentation = AS_THEY_ARE
    validation: int = 2000  # windows of each source

    def load(self, folder: Path) -> "LiftBatches":
        """The windows of what is under `folder`. Raises, at first use, what `lift_clips` raises."""
        return LiftBatches(self, folder / "body")


@dataclass(frozen=True)
class LiftFrames:
    """The frames of many clips one after the other; window i is those from start[i] on, of the clip from first[i] to last[i]."""

    keypoints: Float[np.ndarray, "frames seen_joints channels"]
    targets: Float[np.ndarray, "frames joints 3"]
    first: Int[np.ndarray, " windows"]
    last: Int[np.ndarray, " windows"]
    start: Int[np.ndarray, " windows"]


class LiftBatches:
    """The windows of a LiftData, read at first use."""

    def __init__(self, data: LiftData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.seen, self.skeleton = get_body_order(data.seen_order), get_body_order(data.order)

    @cached_property
    def recordings(self) -> list[LiftClip]:
        """All clips of all cameras. Whole clips, padded with `body_motion.edge_padded`, are what to measure a network on."""
        how = {"keypoints": self.data.keypoints, "fps": self.data.fps, "turns": self.data.turns}
        return [c for s in self.data.sources for c in lift_clips(self.folder, s, self.seen, self.skeleton, **how)]

    def clips(self, split: Split, source: str | None = None) -> list[LiftClip]:
        """The clips of a split, of one source or of all."""
        ours = [clip for clip in self.recordings if source in (None, clip.source)]
        return [clip for clip in ours if counts_to(clip.split, split, self.data.hold_out)]

    @cached_property
    def training(self) -> LiftFrames:
        return self.frames(self.clips("train"), self.data.share)

    @cached_property
    def deck(self) -> Deck:
        return Deck(len(self.training.start), self.data.batch)

    def frames(self, clips: list[LiftClip], share: float = 1.0) -> LiftFrames:
        """The windows of these clips. Raises UnknownBodies where there are none."""
        outputs, lengths = self.data.outputs, [len(clip.targets) for clip in clips]
        runs = [known_run(clip.name, n, share, outputs) for clip, n in zip(clips, lengths, strict=True)]
        counts = [max(0, len(run) - outputs + 1) for run in runs]
        if not sum(counts):
            raise UnknownBodies(f"no {outputs} consecutive frames of {', '.join(self.data.sources)} in this split")
        ends = np.cumsum(lengths)
        first, last = (np.repeat(edge, counts) for edge in (ends - lengths, ends - 1))
        channels = 3 if self.data.with_confidence else 2
        return LiftFrames(
            keypoints=np.concatenate([shown(clip.keypoints, clip.confidence)[..., :channels] for clip in clips]),
            targets=np.concatenate([clip.targets for clip in clips]),
            first=first,
            last=last,
            start=first + np.concatenate([run.start + np.arange(n) for run, n in zip(runs, counts, strict=True)]),
        )

    def batch(self, frames: LiftFrames, chosen: Int[np.ndarray, "batch"]) -> Batch:
        """{"keypoints": (batch, receptive + outputs - 1, joints, 2 or, with confidence, 3)}, targets (batch, outputs, joints, 3) in metres.

        A window that reaches beyond its clip sees the clip's first or last frame there.
        """
        start, half = frames.start[chosen, None], self.data.receptive // 2
        around = start - half + np.arange(self.data.receptive + self.data.outputs - 1)
        around = np.clip(around, frames.first[chosen, None], frames.last[chosen, None])
        return {"keypoints": frames.keypoints[around]}, frames.targets[start + np.arange(self.data.outputs)]

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Batch `step` of the run of this seed."""
        inputs, targets = self.batch(self.training, self.deck.deal(seed, step))
        keypoints, rng, how = inputs["keypoints"], np.random.default_rng([seed, 1, step]), self.data.augmentation
        flip = rng.random(len(keypoints)) < how.mirror
        keypoints[flip], targets[flip] = mirrored(keypoints[flip], self.seen), mirrored(targets[flip], self.skeleton)
        how.seen(keypoints, self.data.seen_order, rng)
        return {"keypoints": keypoints[rank::ranks]}, targets[rank::ranks]

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Windows of the validation recordings with their source, one in so many that `validation` of each source are left."""
        for source in self.data.sources:
            if clips := self.clips("validation", source):
                frames = self.frames(clips)
                for chosen in some_of(len(frames.start), self.data.validation, self.data.batch):
                    yield source, self.batch(frames, chosen)


def known_run(name: str, frames: int, share: float, least: int = 1) -> range:
    """A run of this share of a recording's frames, at least `least` of them where there are so many, at a place its name decides."""
    wanted = min(frames, max(least, round(share * frames)))
    begin = zlib.crc32(name.encode()) % (frames - wanted + 1)
    return range(begin, begin + wanted)
