"""Batches for lifting: windows of 2D keypoints, and the 3D poses in their middle (`batches` has their common parts)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import shown
from models.skeletons.body import mirrored
from models.skeletons.body_orders import get_body_order
from training.data.splits import Split
from training.engine.batches import Batch
from training.engine.fingerprint import LATER
from training.tasks.bodies.batches import UNCHANGED, BodyAugmentation, Deck, Decks, as_seen, counts_to, thinned
from training.tasks.bodies.clips import BodyClip, UnknownBodies
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.motion_windows import MotionWindows
from training.tasks.bodies.own.sets import OwnBodies, parts_of, source_of
from training.tasks.bodies.sources import lift_clips, motion_clips
from training.tasks.bodies.virtual_cameras import DetectorNoise, VirtualCameras

DRAWN = "drawn cameras"


@dataclass(frozen=True)
class LiftData:
    """Windows of 2D keypoints and the 3D poses in their middle.

    `sources` are hdm05_11, cmu_9act, reactidle and bandai_namco, which four virtual cameras see, or human36m and humaneva with the
    `keypoints` of a detector. Keypoints are in `seen_order`, targets in `order`. A window covers the poses of `outputs` consecutive frames
    and `receptive` - 1 frames more.

    `fps` resamples motion (default: its own rate). `turns` adds virtual cameras for training, by angles in degrees. With `share` below 1,
    each training recording has known poses in one run of that share of its frames. Keypoints around it are still seen, unless `cut` cuts
    the recording there, as VideoPose3D does. Without `hold_out`, validation recordings are trained on as well. `subjects` are the only
    ones whose recordings are trained on, and `actions` the only labels of recordings in any split; empty, they restrict nothing.

    With `cameras`, a new camera sees each training sample of motion, a detector makes the errors of `noise`, and every batch has as many
    samples of each source. Of `augmentation` only `seen_as` applies then. Half of the validation windows are seen by such cameras as well.

    `own` are the sources that are sets of one's own; their digests are part of the fingerprint.
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
    augmentation: BodyAugmentation = UNCHANGED
    validation: int = 2000  # windows of each source
    cut: bool = field(default=False, metadata=LATER)
    subjects: tuple[str, ...] = field(default=(), metadata=LATER)
    actions: tuple[str, ...] = field(default=(), metadata=LATER)
    cameras: VirtualCameras | None = field(default=None, metadata=LATER)
    noise: DetectorNoise | None = field(default=None, metadata=LATER)
    own: tuple[OwnBodies, ...] = field(default=(), metadata=LATER | {"described_as": "digests"})

    def __post_init__(self) -> None:
        if self.cameras and self.seen_order != self.order:
            raise ValueError(f"expected one joint order with virtual cameras, got {self.seen_order} and {self.order}")

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read; "." is the folder itself."""
        return parts_of(self.sources, self.own)

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the sets of one's own, by name."""
        return {one.name: one.sha256 for one in self.own}

    def load(self, folder: Path) -> "LiftBatches":
        """Return the batches of the data under `folder`. Reading them for the first time raises what `lift_clips` raises."""
        return LiftBatches(self, folder / "body")


@dataclass(frozen=True)
class LiftFrames:
    """The frames of many clips in one array. Window i starts at start[i], in the clip that reaches from first[i] to last[i]."""

    keypoints: Float[np.ndarray, "frames seen_joints channels"]
    targets: Float[np.ndarray, "frames joints 3"]
    first: Int[np.ndarray, " windows"]
    last: Int[np.ndarray, " windows"]
    start: Int[np.ndarray, " windows"]


class LiftBatches:
    """The windows of a LiftData, read when first used."""

    def __init__(self, data: LiftData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.seen, self.skeleton = get_body_order(data.seen_order), get_body_order(data.order)

    @cached_property
    def recordings(self) -> list[LiftClip]:
        """Return all clips of all cameras. Measure a network on whole clips, padded with `models.motion.bodies.edge_padded`."""
        data = self.data
        return [
            clip
            for source in data.sources
            for clip in lift_clips(
                self.folder,
                source_of(source, data.own),
                self.seen,
                self.skeleton,
                keypoints=data.keypoints,
                fps=data.fps,
                turns=data.turns,
            )
        ]

    def clips(self, split: Split, source: str | None = None) -> list[LiftClip]:
        """Return the clips of a split, from one source or from all."""
        return [clip for clip in self.recordings if source in (None, clip.source) and self.counts(clip, split)]

    def counts(self, clip: LiftClip | BodyClip, split: Split) -> bool:
        """Return whether a clip belongs to a split."""
        data = self.data
        return (
            counts_to(clip.split, split, data.hold_out)
            and (split != "train" or not data.subjects or clip.subject in data.subjects)
            and (not data.actions or clip.label in data.actions)
        )

    @cached_property
    def training(self) -> LiftFrames:
        return self.frames(self.clips("train"), self.data.share)

    @cached_property
    def deck(self) -> Deck | Decks:
        if self.data.cameras:
            return Decks(self.motion("train").counts, self.data.batch)
        return Deck(len(self.training.start), self.data.batch)

    @cached_property
    def captured(self) -> list[list[BodyClip]]:
        """Return the captured motion of each source."""
        sources = [source_of(source, self.data.own) for source in self.data.sources]
        return [motion_clips(self.folder, source, self.skeleton, self.data.fps) for source in sources]

    @cache  # noqa: B019 - batches live as long as their training
    def motion(self, split: Split) -> MotionWindows:
        """Return the windows of captured motion of a split, source after source."""
        own = [[clip for clip in clips if self.counts(clip, split)] for clips in self.captured]
        return MotionWindows.of(own, self.data.outputs)

    def frames(self, clips: list[LiftClip], share: float = 1.0) -> LiftFrames:
        """Collect the windows of these clips, with poses known in a `share` of each. Raises UnknownBodies if there are none."""
        outputs, lengths = self.data.outputs, [len(clip.targets) for clip in clips]
        runs = [known_run(clip.name, n, share, outputs) for clip, n in zip(clips, lengths, strict=True)]
        counts = [max(0, len(run) - outputs + 1) for run in runs]
        if not sum(counts):
            raise UnknownBodies(f"no {outputs} consecutive frames of {', '.join(self.data.sources)} in this split")
        begins = np.cumsum(lengths) - lengths
        seen = runs if self.data.cut else [range(n) for n in lengths]
        first = np.repeat(begins + [one.start for one in seen], counts)
        last = np.repeat(begins + [one.stop - 1 for one in seen], counts)
        channels = 3 if self.data.with_confidence else 2
        return LiftFrames(
            keypoints=np.concatenate([shown(clip.keypoints, clip.confidence)[..., :channels] for clip in clips]),
            targets=np.concatenate([clip.targets for clip in clips]),
            first=first,
            last=last,
            start=np.repeat(begins, counts)
            + np.concatenate([run.start + np.arange(n) for run, n in zip(runs, counts, strict=True)]),
        )

    def batch(self, frames: LiftFrames, chosen: Int[np.ndarray, "batch"]) -> Batch:
        """Return {"keypoints": (batch, receptive + outputs - 1, joints, 2, or 3 with confidence)} and targets in metres.

        Targets are (batch, outputs, joints, 3). A window that reaches beyond its clip repeats the clip's first or last frame.
        """
        start, half = frames.start[chosen, None], self.data.receptive // 2
        window = start - half + np.arange(self.data.receptive + self.data.outputs - 1)
        window = np.clip(window, frames.first[chosen, None], frames.last[chosen, None])
        return {"keypoints": frames.keypoints[window]}, frames.targets[start + np.arange(self.data.outputs)]

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass over the training samples."""
        return self.deck.steps_an_epoch

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return this rank's share of training batch `step`."""
        if self.data.cameras:
            rng = np.random.default_rng([seed, 1, step])
            inputs, targets = self.drawn(self.motion("train"), self.deck.deal(seed, step), rng)
            return {"keypoints": inputs["keypoints"][rank::ranks]}, targets[rank::ranks]
        inputs, targets = self.batch(self.training, self.deck.deal(seed, step))
        keypoints, rng, changes = inputs["keypoints"], np.random.default_rng([seed, 1, step]), self.data.augmentation
        flip = rng.random(len(keypoints)) < changes.mirror
        keypoints[flip], targets[flip] = mirrored(keypoints[flip], self.seen), mirrored(targets[flip], self.skeleton)
        changes.change_keypoints(keypoints, self.data.seen_order, rng)
        return {"keypoints": keypoints[rank::ranks]}, targets[rank::ranks]

    def drawn(self, windows: MotionWindows, chosen: Int[np.ndarray, " batch"], rng: np.random.Generator) -> Batch:
        """Return windows as virtual cameras see them and a detector finds them."""
        data, cameras = self.data, self.data.cameras
        assert cameras is not None
        points = windows.window(chosen, data.receptive, data.outputs)
        keypoints, targets = cameras.views(points, self.skeleton, rng)
        if data.noise:
            data.noise.disturb(keypoints, rng)
        choice = rng.integers(len(data.augmentation.seen_as) + 1, size=len(keypoints))
        for number, other in enumerate(data.augmentation.seen_as):
            keypoints[choice == number] = as_seen(keypoints[choice == number], data.order, other)
        half = data.receptive // 2
        channels = 3 if data.with_confidence else 2
        return {"keypoints": keypoints[..., :channels]}, targets[:, half : half + data.outputs]

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the source with each batch of validation windows, thinned to about `validation` windows a source."""
        if self.data.cameras:
            yield from self._validation_drawn()
        for source in self.data.sources:
            if clips := self.clips("validation", source):
                frames = self.frames(clips)
                for chosen in thinned(len(frames.start), self.data.validation, self.data.batch):
                    yield source, self.batch(frames, chosen)

    def _validation_drawn(self) -> Iterator[tuple[str, Batch]]:
        """Yield windows of each source by virtual cameras, which are the same every time."""
        windows, begin = self.motion("validation"), 0
        for number, (source, count) in enumerate(zip(self.data.sources, windows.counts, strict=True)):
            rng = np.random.default_rng([2, number])
            for chosen in thinned(count, self.data.validation, self.data.batch):
                yield f"{source}, {DRAWN}", self.drawn(windows, begin + chosen, rng)
            begin += count


def known_run(name: str, frames: int, share: float, least: int = 1) -> range:
    """Choose a run of this share of a recording's frames, of at least `least` frames if it has them; its name decides the place."""
    length = min(frames, max(least, round(share * frames)))
    begin = zlib.crc32(name.encode()) % (frames - length + 1)
    return range(begin, begin + length)
