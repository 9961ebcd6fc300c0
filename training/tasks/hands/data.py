"""Hand windows in batches, from one or several sources, for training and for measuring.

The training batch of step s depends on the seed and s alone, so a run that is killed and resumed sees the same batches as one that is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from models.contract.symmetry import random_rotation
from models.skeletons.hand import ASSEMBLY101, pair_of
from models.skeletons.skeleton import Skeleton
from training.engine.batches import Batch
from training.engine.fingerprint import LATER
from training.tasks.hands.actions import has_words
from training.tasks.hands.carrying import with_carried_hands
from training.tasks.hands.draws import EVERY_WINDOW, Draw, chances
from training.tasks.hands.faults import NONE, Faults, with_faults, without_unseen_hands
from training.tasks.hands.frame_windows import cut_at_frames
from training.tasks.hands.own.sets import OwnSet
from training.tasks.hands.recordings import HandSource, Recording
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import Window, WindowSet, cut

Clips = Float[np.ndarray, "batch frames nodes 3"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes that keep a training window plausible; a network that is symmetric under a change does not need it.

    `mirror` is the share of two-hand windows whose left and right are exchanged, `reverse` the share of windows played backwards, and
    `one_hand` the share of two-hand batches that show one hand only. `rotate` turns every window at random. `scale` resizes every window
    by a random factor between 1/scale and scale. `faults` are those of a tracker, in the past alone. `carried` is the share of windows
    whose hands are carried along smooth paths. A window that lacks frames is not played backwards.
    """

    mirror: float = 0.0
    rotate: bool = False
    one_hand: float = 0.2
    reverse: float = 0.0
    scale: float = 1.0
    faults: Faults = field(default=NONE, metadata=LATER)
    carried: float = field(default=0.0, metadata=LATER)


class NoWindows(ValueError):
    """Recordings to train on or to choose by that give no window; the message says how many are too short or too slow."""


@dataclass(frozen=True)
class HandData:
    """The hand windows of `sources` as a value; `tempi` are the playback speeds of training recordings, 1.25 being a quarter faster.

    `draw` says how training windows are drawn; by default each is shown once an epoch. `masked` adds the input `seen`, (batch, past, nodes)
    float32, which is 1 where a joint was seen; positions that were not are 0. `least` admits incomplete training windows, as `cut` does:
    frames that do not exist are NaN in the target and not seen in the past. Measuring uses complete windows only. `actions` keeps the
    recordings whose label has one of these words or phrases, in every split. With `rates`, a window's past ends at each frame of a
    recording whose rate, or a whole fraction of it, is between these multiples of the window's (`cut_at_frames`). `own` are the sources
    that are sets of one's own; their digests are part of the fingerprint.

    Raises ValueError if joints may be unseen and the data are not `masked`.
    """

    sources: tuple[str, ...]
    window: Window
    batch: int = 16
    augmentation: Augmentation = Augmentation()
    tempi: tuple[float, ...] = (1.0,)
    draw: Draw = field(default=EVERY_WINDOW, metadata=LATER)
    masked: bool = field(default=False, metadata=LATER)
    least: tuple[int, int] | None = field(default=None, metadata=LATER)
    actions: tuple[str, ...] = field(default=(), metadata=LATER)
    rates: tuple[float, float] | None = field(default=None, metadata=LATER)
    own: tuple[OwnSet, ...] = field(default=(), metadata=LATER | {"described_as": "digests"})

    def __post_init__(self) -> None:
        """Refuse pasts with unseen joints for a task that is not told of them."""
        past, future = self.least or (self.window.past, self.window.future)
        if not (2 <= past <= self.window.past and 1 <= future <= self.window.future) and self.least:
            raise ValueError(f"expected at least 2 past and 1 future frames of {self.window.name}, got {self.least}")
        if not self.masked and (self.augmentation.faults.hide or past < self.window.past):
            raise ValueError("expected masked data for pasts in which joints may be unseen")

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read; "." is the folder itself."""
        own = {one.name: one.part for one in self.own}
        return tuple(sorted({own.get(source, "hands") for source in self.sources})) or ("hands",)

    @property
    def layout(self) -> Skeleton:
        """Return the joint order of one hand, or of one body of the sets of one's own, which share a skeleton."""
        skeletons = {one.skeleton for one in self.own if one.skeleton}
        return next(iter(skeletons)).layout if skeletons else ASSEMBLY101

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the sets of one's own, by name."""
        return {one.name: one.sha256 for one in self.own}

    def source(self, name: str) -> HandSource | OwnSet:
        """Return the source of a name. Raises what `hand_source` raises."""
        return next((one for one in self.own if one.name == name), None) or hand_source(name)

    @property
    def measured_on(self) -> str:
        """Return the windows that errors are means over, such as "10+10@30"; they may follow each frame of a recording."""
        return self.window.name if self.rates is None else f"{self.window.name} from each frame"

    def load(self, folder: Path) -> "HandBatches":
        """Open the windows under the data folder `folder`; reading them raises UnknownSource, MalformedSource."""
        return HandBatches(self, folder / "hands")


class HandBatches:
    """The windows of a HandData, read when they are first used. `folder` is the subfolder `hands` of the data folder."""

    def __init__(self, data: HandData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self._shuffled: tuple[tuple[int, int], list[tuple[WindowSet, np.ndarray]]] | None = None
        self._read: dict[tuple[str, str], Sequence[Recording]] = {}

    def windows(
        self,
        split: str,
        hands: int,
        sources: tuple[str, ...] | None = None,
        *,
        phases: Literal["all", "first"],
        window: Window | None = None,
        least: tuple[int, int] | None = None,
    ) -> WindowSet:
        """Return the windows of two hands, or of single hands where no window has two, in a split.

        `sources` and `window` default to the data's own. `phases` and `least` are as in `cut`; data with `rates` have one phase.
        """
        recordings = [
            recording for source in sources or self.data.sources for recording in self._recordings(split, source)
        ]
        window, lone = window or self.data.window, hands == 1
        if self.data.rates is not None:
            return cut_at_frames(recordings, window, hands, rates=self.data.rates, lone=lone, least=least)
        return cut(recordings, window, hands, phases=phases, lone=lone, least=least)

    def recordings(self, split: str, source: str) -> int:
        """Return the number of recordings of a source in a split."""
        return len(self._recordings(split, source))

    def _recordings(self, split: str, source: str) -> Sequence[Recording]:
        """Return the recordings of a source in a split, read once: each number of hands and tempo is cut from the same ones."""
        if (split, source) not in self._read:
            read, words = self.data.source(source).read(self.folder, split), self.data.actions
            self._read[split, source] = [one for one in read if not words or has_words(one.label, words)]
        return self._read[split, source]

    @cached_property
    def training(self) -> list[WindowSet]:
        """Return the training windows, one set for each number of hands and tempo. Raises NoWindows."""
        tempi = [replace(self.data.window, fps=self.data.window.fps / tempo) for tempo in self.data.tempi]
        sets = [
            self.windows("train", hands, window=window, phases="all", least=self.data.least)
            for hands in (1, 2)
            for window in tempi
        ]
        self._refuse_none("training", sets, sets[:1])
        return [windows for windows in sets if len(windows)]

    @cached_property
    def as_recorded(self) -> list[WindowSet]:
        """Return the complete training windows at their own tempo, on which forecasts without weights are fitted."""
        if self.data.tempi == (1.0,) and self.data.least is None:
            return self.training
        return [w for hands in (1, 2) if len(w := self.windows("train", hands, phases="all"))]

    @cached_property
    def validation(self) -> list[tuple[str, WindowSet]]:
        """Return the validation windows with their source, one set for each source and number of hands. Raises NoWindows."""
        sets = [
            (source, self.windows("validation", hands, (source,), phases="first"))
            for source in self.data.sources
            for hands in (1, 2)
        ]
        self._refuse_none("validation", [windows for _, windows in sets], [windows for _, windows in sets[::2]])
        return [(source, windows) for source, windows in sets if len(windows)]

    def _refuse_none(self, split: str, sets: list[WindowSet], once: list[WindowSet]) -> None:
        """Raise NoWindows if no set has a window; `once` are sets that have each recording once."""
        if any(map(len, sets)):
            return
        lists = zip(*((windows.recordings, windows.short, windows.slow) for windows in once), strict=True)
        recordings, short, slow = (sum(map(len, numbers)) for numbers in lists)
        raise NoWindows(
            f"expected {split} windows of {self.data.window.name} from {', '.join(self.data.sources)}, got none from {recordings} "
            f"recordings; {short} are too short and {slow} too slow"
        )

    def steps_an_epoch(self) -> int:
        """Return the number of batches in which every training window is shown once, or as many if they are drawn."""
        return sum(self._shares)

    @cached_property
    def _shares(self) -> list[int]:
        """Return the number of batches of an epoch of each training set."""
        every = [len(self._chunks(windows)) for windows in self.training]
        if self.data.draw == EVERY_WINDOW:
            return every
        shares = [float(chance.sum()) for chance in self._chances]
        return [max(1, round(sum(every) * share)) if share else 0 for share in shares]

    @cached_property
    def _chances(self) -> list[Float[np.ndarray, " windows"]]:
        return chances(self.training, self.data.draw)

    def _chunks(self, windows: WindowSet) -> range:
        return range(0, max(len(windows) - self.data.batch + 1, 1), self.data.batch)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are {"past": (batch, past, nodes, 3)}, for masked data with "seen", and the target is (batch, future, nodes, 3), in
        metres, float32. The target is NaN where the recording has no pose, and for a hand that the past never shows.
        """
        epoch, number = divmod(step, self.steps_an_epoch())
        windows, indices = self._epoch(seed, epoch)[number]
        rng = np.random.default_rng([seed, 1, step])
        past, future = windows.past_future(indices)
        how, frames, order = self.data.augmentation, past.shape[1], self.data.layout
        clip = np.concatenate([past, future], axis=1)
        if how.carried:
            clip = with_carried_hands(clip, how.carried, frames - 1, self.data.window.fps, rng, order)
        clip = augment(clip, how, rng, order)
        past, future = clip[:, :frames], clip[:, frames:]
        inputs = {"past": past}
        if self.data.masked or how.faults != NONE:
            past, seen = with_faults(past, how.faults, rng, order)
            future = without_unseen_hands(future, seen, order)
            inputs = self.inputs(past, seen)
        return {name: x[rank::ranks] for name, x in inputs.items()}, future[rank::ranks]

    def inputs(
        self, past: Float[np.ndarray, "batch past nodes 3"], seen: Bool[np.ndarray, "batch past nodes"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the inputs of a task by name; everything is seen by default."""
        if not self.data.masked:
            return {"past": past}
        return {"past": past, "seen": np.ones(past.shape[:-1], np.float32) if seen is None else seen.astype(np.float32)}

    def _epoch(self, seed: int, epoch: int) -> list[tuple[WindowSet, np.ndarray]]:
        """Return shuffled batches of equal numbers of nodes: every window once, or as many windows as are drawn."""
        if self._shuffled is None or self._shuffled[0] != (seed, epoch):
            rng = np.random.default_rng([seed, 0, epoch])
            batches: list[tuple[WindowSet, np.ndarray]] = []
            size = self.data.batch
            for number, windows in enumerate(self.training):
                if self.data.draw == EVERY_WINDOW:
                    order = rng.permutation(len(windows))
                    batches += [(windows, order[i : i + size]) for i in self._chunks(windows)]
                elif self._shares[number]:
                    chance = self._chances[number]
                    drawn = rng.choice(len(windows), size=(self._shares[number], size), p=chance / chance.sum())
                    batches += [(windows, indices) for indices in drawn]
            self._shuffled = (seed, epoch), [batches[i] for i in rng.permutation(len(batches))]
        return self._shuffled[1]

    def validation_batches(self, limit: int = 500) -> Iterator[tuple[str, Batch]]:
        """Yield the validation windows in batches with their source, thinned to about `limit` for each source and number of hands."""
        for source, windows in self.validation:
            chosen = np.arange(0, len(windows), max(1, len(windows) // limit))
            for i in range(0, len(chosen), self.data.batch):
                past, future = windows.past_future(chosen[i : i + self.data.batch])
                yield source, (self.inputs(past), future)

    def validation_groups(self, limit: int = 300) -> Iterator[tuple[Clips, Clips]]:
        """Yield past and future of about `limit` validation windows of each source and number of hands."""
        for _, windows in self.validation:
            yield windows.past_future(np.arange(0, len(windows), max(1, len(windows) // limit)))


def augment(
    clip: Clips, how: Augmentation, rng: np.random.Generator, order: Skeleton = ASSEMBLY101
) -> Float[np.ndarray, "batch frames shown 3"]:
    """Return the clips changed at random, each by its own draw; whether one hand is dropped is one draw for the batch."""
    batch, two = len(clip), clip.shape[2] == 2 * len(order.joints)
    clip = clip.copy()
    if how.mirror and two:
        chosen = rng.random(batch) < how.mirror
        clip[chosen] = (clip[chosen] * np.array([-1, 1, 1], dtype=np.float32))[:, :, list(pair_of(order).mirror)]
    if how.reverse:
        chosen = rng.random(batch) < how.reverse
        chosen &= np.isfinite(clip[:, :, 0, 0]).all(axis=1)
        clip[chosen] = clip[chosen][:, ::-1]
    if how.scale != 1:
        reach = abs(np.log(how.scale))
        clip *= np.exp(rng.uniform(-reach, reach, size=batch)).astype(np.float32)[:, None, None, None]
    if how.rotate:
        turns = np.stack([random_rotation(rng) for _ in range(batch)]).astype(np.float32)
        clip = np.einsum("bij,bfnj->bfni", turns, clip)
    if two and rng.random() < how.one_hand:
        half = clip.shape[2] // 2
        clip = np.where((rng.random(batch) < 0.5)[:, None, None, None], clip[:, :, :half], clip[:, :, half:])
    return np.ascontiguousarray(clip)
