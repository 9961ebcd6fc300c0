"""Batches for the three tasks on bodies: lifting, forecasting and recognition; for training and for measuring.

The training batch of step s is a function of the seed and s alone, as for hands. In a batch a missing keypoint is 0, after centring, and
the confidence that goes with it 0; the mirror plane is x = 0 throughout. Data lie under <folder>/body.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.contract.body import convert_body, get_body_order, mirrored
from models.contract.body_motion import about_y, box_of, boxed, cropped, evenly, penn_sample, shown, steady_sample
from training.data.action_clips import ActionSet
from training.data.bodies import BodyClip, Split, UnknownBodies, seen_points
from training.data.body_sources import action_set, flat_clips, lift_clips
from training.data.lift_clips import LiftClip
from training.data.nw_ucla import Protocol

Batch = tuple[dict[str, np.ndarray], np.ndarray]


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
    augmentation: BodyAugmentation = BodyAugmentation()
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
        return [clip for clip in ours if _counts(clip.split, split, self.data.hold_out)]

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
                for chosen in _some(len(frames.start), self.data.validation, self.data.batch):
                    yield source, self.batch(frames, chosen)


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
    augmentation: BodyAugmentation = BodyAugmentation()
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
            if source not in (None, clip.source) or not _counts(clip.split, split, data.hold_out):
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
            for chosen in _some(len(frames.rows), self.data.validation, self.data.batch):
                yield source, self.batch(frames, chosen)


@dataclass(frozen=True)
class ActionData:
    """Clips of one length and their class.

    `source` is kinetics, penn_action, nw_ucla (with a `protocol`), jhmdb (with a `fold`) or one of motion, in three dimensions and, if
    `turned`, seen from the front; bodies are in the source's own joint `order` unless another is named. By default a clip is spread evenly
    over `frames`; with tempo "crop" so many consecutive ones are taken, at random in training and from the middle elsewhere, what a clip
    lacks being 0. Of clips not trained on it is `test_frames`, if told.
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
    augmentation: BodyAugmentation = BodyAugmentation()

    def load(self, folder: Path) -> "ActionBatches":
        """The clips of what is under `folder`. Raises, at first use, what `action_set` raises."""
        return ActionBatches(self, folder / "body")


class ActionBatches:
    """The clips of an ActionData, read at first use."""

    def __init__(self, data: ActionData, folder: Path) -> None:
        self.data, self.folder = data, folder

    @cached_property
    def clips(self) -> ActionSet:
        how = {
            "turned": self.data.turned,
            "protocol": self.data.protocol,
            "fold": self.data.fold,
            "order": self.data.order,
        }
        return action_set(self.folder, self.data.source, **how)

    def chosen(self, split: Split) -> Int[np.ndarray, "clips"]:
        """The numbers of a split's clips."""
        splits = self.clips.splits
        return np.array([i for i, own in enumerate(splits) if _counts(own, split, self.data.hold_out)], dtype=int)

    @cached_property
    def training(self) -> Int[np.ndarray, "clips"]:
        return self.chosen("train")

    @cached_property
    def deck(self) -> Deck:
        return Deck(len(self.training), self.data.batch)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """{"clips": (batch, persons, frames, joints, dims + 1)}, the confidence last; classes (batch,) int64."""
        numbers = self.training[self.deck.deal(seed, step)][rank::ranks]
        drawn = [self._augmented(int(i), np.random.default_rng([seed, 1, step, int(i)])) for i in numbers]
        return {"clips": np.stack([clip for clip, _ in drawn])}, np.array([label for _, label in drawn], dtype=np.int64)

    def _augmented(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        points, confidence = self.clips.read(i)
        how, frames, label = self.data.augmentation, self.data.frames, int(self.clips.labels[i])
        if how.turn_deg and self.clips.dims == 3:
            points = about_y(points, np.deg2rad(rng.uniform(-how.turn_deg, how.turn_deg)))
        clip, length = shown(points, confidence), points.shape[1]
        if self.data.tempo == "crop":
            clip = cropped(clip, int(rng.integers(max(0, length - frames) + 1)), frames)
        else:
            kept = max(1, round(length * rng.uniform(how.crop, 1)))
            clip = clip[:, int(rng.integers(length - kept + 1)) + evenly(kept, frames)]
        if rng.random() < how.mirror:
            clip, label = mirrored(clip, self.clips.skeleton), self.clips.class_mirror[label]
        clip[rng.random(clip.shape[:-1]) < how.drop] = 0
        return clip, label

    def batches(self, split: Split) -> Iterator[tuple[str, Batch]]:
        """All clips of a split in order, without augmentation, with their source."""
        chosen, frames = self.chosen(split), self.data.test_frames or self.data.frames
        for numbers in (chosen[i : i + self.data.batch] for i in range(0, len(chosen), self.data.batch)):
            clips = [shown(*self.clips.read(int(i))) for i in numbers]
            if self.data.tempo == "crop":
                clips = [cropped(clip, max(0, clip.shape[1] - frames) // 2, frames) for clip in clips]
            else:
                clips = [clip[:, evenly(clip.shape[1], frames)] for clip in clips]
            yield self.data.source, ({"clips": np.stack(clips)}, self.clips.labels[numbers].astype(np.int64))

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """All validation clips."""
        return self.batches("validation")


def known_run(name: str, frames: int, share: float, least: int = 1) -> range:
    """A run of this share of a recording's frames, at least `least` of them where there are so many, at a place its name decides."""
    wanted = min(frames, max(least, round(share * frames)))
    begin = zlib.crc32(name.encode()) % (frames - wanted + 1)
    return range(begin, begin + wanted)


def _counts(own: Split, split: Split, hold_out: bool) -> bool:
    """Whether a recording counts to a split; what is held out of training counts to both where it is not to be."""
    return own == split or (split == "train" and own == "validation" and not hold_out)


def _some(count: int, limit: int, batch: int) -> Iterator[Int[np.ndarray, " batch"]]:
    """One number in so many of 0 to count - 1 that about `limit` are left, in batches."""
    chosen = np.arange(0, count, max(1, count // limit))
    return (chosen[i : i + batch] for i in range(0, len(chosen), batch))
