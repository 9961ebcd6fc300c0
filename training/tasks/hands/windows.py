"""Windows of past and future, cut from recordings of hands so that none spans a gap.

A window set does not copy frames. It keeps the recordings, which may be mapped from a file, and an index of track and first frame.
Windows are complete, unless a training asks for incomplete ones: those lack their first or last frames, where a recording begins or ends.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models.motion.hands import SNAP_S, HandClip, resample
from models.skeletons.hand import ASSEMBLY101
from training.tasks.hands.recordings import Recording

MAX_GAP_S = 0.05  # between frames of an irregular recording: Leap's longest regular step is 0.043 s
SAME_RATE = 0.002  # relative: 59.94 fps passes for 60
SLOWEST = 0.8  # of the window's rate: below, more than one frame in five would be made up


class WrongHands(ValueError):
    """A number of hands that a recording does not have."""


@dataclass(frozen=True)
class Window:
    """`past` + `future` frames at `fps`; consecutive windows are `stride` frames apart."""

    past: int
    future: int
    fps: float
    stride: int = 1

    @property
    def name(self) -> str:
        """Return the name, such as "10+10@30"."""
        return f"{self.past}+{self.future}@{self.fps:g}"

    @property
    def frames(self) -> int:
        """Return the number of frames, past and future together."""
        return self.past + self.future


PRESETS = {
    window.name: window
    for window in (Window(10, 10, 30), Window(30, 30, 30), Window(60, 60, 60), Window(80, 20, 60), Window(70, 30, 60))
}


@dataclass(frozen=True)
class Track:
    """Poses of one recording in metres; windows take every `step`-th of them."""

    points: Float[np.ndarray, "frames nodes 3"]
    step: int

    def poses(
        self, starts: Int[np.ndarray, " windows"], numbers: Int[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "windows frames nodes 3"]:
        """Return the frames with these numbers of the windows that start there; any pose where the recording has none."""
        return self.points[np.clip(starts[:, None] + self.step * numbers, 0, len(self.points) - 1)]

    def after(self, starts: Int[np.ndarray, " windows"]) -> Int[np.ndarray, " windows"]:
        """Return the start of the windows that are one frame, at the windows' rate, after those that start there."""
        return starts + self.step


@dataclass(frozen=True)
class WindowSet:
    """Windows numbered from 0 to len - 1, in the order of their recordings.

    `nodes` is 21 (one hand) or 42 (left, then right), or those of a skeleton of one's own, which all recordings share. `recordings` are
    (source, name, label); `recording_of` is the recording of each window, as an index. A window lacks its first `lacks_of[:, 0]` frames and
    its last `lacks_of[:, 1]`. `short` and `slow` are the recordings, as indices, that give no window because they are shorter than one, or
    slower than SLOWEST of its rate.
    """

    window: Window
    nodes: int
    recordings: list[tuple[str, str, str]]
    recording_of: Int[np.ndarray, " windows"]
    tracks: list[Track]
    track_of: Int[np.ndarray, " windows"]
    start_of: Int[np.ndarray, " windows"]
    lacks_of: Int[np.ndarray, "windows 2"]
    short: list[int]
    slow: list[int]

    def __len__(self) -> int:
        return len(self.start_of)

    def past_future(
        self, indices: Int[np.ndarray, " batch"]
    ) -> tuple[Float[np.ndarray, "batch past nodes 3"], Float[np.ndarray, "batch future nodes 3"]]:
        """Return past and future of the windows with these numbers, in metres, float32; frames that a window lacks are NaN."""
        windows = self.frames(indices, np.arange(self.window.frames))
        return windows[:, : self.window.past], windows[:, self.window.past :]

    def consecutive(self, indices: Int[np.ndarray, " batch"]) -> Bool[np.ndarray, " batch-1"]:
        """Return whether each of these windows is one frame, at the windows' rate, before the next of them."""
        track_of, start_of = self.track_of[indices], self.start_of[indices]
        after = np.empty_like(start_of)
        for number in np.unique(track_of):
            rows = track_of == number
            after[rows] = self.tracks[number].after(start_of[rows])
        return (np.diff(track_of) == 0) & (start_of[1:] == after[:-1])

    def frames(
        self, indices: Int[np.ndarray, " batch"], numbers: Int[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "batch frames nodes 3"]:
        """Return the frames with these numbers of the windows with these numbers, in metres, float32; NaN where a window lacks one."""
        track_of, start_of, lacks_of = self.track_of[indices], self.start_of[indices], self.lacks_of[indices]
        windows = np.empty((len(indices), len(numbers), self.nodes, 3), dtype=np.float32)
        for number in np.unique(track_of):
            rows = track_of == number
            windows[rows] = self.tracks[number].poses(start_of[rows], numbers)
        if lacks_of.any():
            windows[(numbers < lacks_of[:, :1]) | (numbers >= self.window.frames - lacks_of[:, 1:])] = np.nan
        return windows


@dataclass(frozen=True)
class Usage:
    """The number of recordings, and of those that give no window: too short, too slow, or never without a gap for so long."""

    recordings: int
    short: int
    slow: int
    gaps: int

    @property
    def used(self) -> int:
        """Return the number of recordings that give a window."""
        return self.recordings - self.short - self.slow - self.gaps


def usage(sets: Sequence[WindowSet]) -> Usage:
    """Count the recordings that several sets of windows, all cut from the same recordings, make use of."""
    first = sets[0]
    used = {number for windows in sets for number in windows.recording_of.tolist()}
    recordings, short, slow = (len(x) for x in (first.recordings, first.short, first.slow))
    return Usage(recordings, short, slow, recordings - len(used) - short - slow)


def cut(
    recordings: Iterable[Recording],
    window: Window,
    hands: int = 2,
    *,
    phases: Literal["all", "first"] = "all",
    lone: bool = False,
    least: tuple[int, int] | None = None,
    max_gap: float = MAX_GAP_S,
) -> WindowSet:
    """Return all windows in which the hands are valid in every frame.

    `hands=2` requires both hands. `hands=1` treats each hand by itself; `lone` then drops the windows that `hands=2` would return, so that
    the two sets have no window in common. If the recording's rate is a multiple of the window's, frames are taken without interpolation,
    and skipped frames must be valid too. Windows then begin at every frame (`phases="all"`, for training) or on one grid at the window's
    rate ("first", for measuring). Other recordings are resampled over gaps of at most `max_gap` seconds, those with less than SLOWEST of
    the window's rate left out and counted.

    `least` allows incomplete windows, for training: where the hands appear or disappear, a window may lack frames if that many of its past
    and of its future are left.

    Raises WrongHands.
    """

    def windows_of(recording: Recording, needed: tuple[int, int]) -> Iterator[Cut]:
        for clip, step in _at_rate(recording.clip, window, phases, max_gap):
            for points, has, taken in _streams(recording, clip, hands, lone, step, window):
                legal = np.all(has >= needed, axis=1) & ~taken
                last = _spread(legal, period=step * window.stride, phases=step if phases == "all" else 1)
                yield Track(points, step), last - step * (window.past - 1), has[last]

    def slow(recording: Recording) -> bool:
        return recording.clip.fps < (SLOWEST - SAME_RATE) * window.fps

    return collect(recordings, window, hands, least, slow, windows_of)


Cut = tuple[Track, Int[np.ndarray, " windows"], Int[np.ndarray, "windows 2"]]


def collect(
    recordings: Iterable[Recording],
    window: Window,
    hands: int,
    least: tuple[int, int] | None,
    slow: Callable[[Recording], bool],
    windows_of: Callable[[Recording, tuple[int, int]], Iterable[Cut]],
) -> WindowSet:
    """Return the windows of all recordings that are long enough and not `slow`.

    `windows_of` takes a recording and the frames that a window needs of past and future. It yields tracks, with the starts of their windows
    and how many frames of past and future each has.
    """
    needed = least or (window.past, window.future)
    described: list[tuple[str, str, str]] = []
    tracks: list[Track] = []
    short: list[int] = []
    left_out: list[int] = []
    recording_of, track_of, start_of = ([np.empty(0, np.int64)] for _ in range(3))
    lacks_of = [np.empty((0, 2), np.int64)]
    joints = len(ASSEMBLY101.joints)
    for number, recording in enumerate(recordings):
        described.append((recording.source, recording.name, recording.label))
        times, joints = recording.clip.times, len(recording.clip.order.joints)
        if times[-1] - times[0] < (sum(needed) - 1) / window.fps - SNAP_S:
            short.append(number)
            continue
        if slow(recording):
            left_out.append(number)
            continue
        for track, starts, has in windows_of(recording, needed):
            recording_of.append(np.full(len(starts), number))
            track_of.append(np.full(len(starts), len(tracks)))
            start_of.append(starts)
            lacks_of.append(np.array([window.past, window.future]) - has)
            tracks.append(track)
    return WindowSet(
        window,
        hands * joints,
        described,
        np.concatenate(recording_of),
        tracks,
        np.concatenate(track_of),
        np.concatenate(start_of),
        np.concatenate(lacks_of),
        short,
        left_out,
    )


def _at_rate(
    clip: HandClip, window: Window, phases: Literal["all", "first"], max_gap: float
) -> Iterator[tuple[HandClip, int]]:
    """Yield clips and steps: every step-th frame of a clip is a frame at the window's rate."""
    ratio = clip.fps / window.fps
    step = round(ratio)
    regular = np.abs(np.diff(clip.times) - 1 / clip.fps).max() <= SNAP_S
    if regular and abs(ratio - step) <= SAME_RATE * ratio:
        yield clip, step
        return
    if ratio < 1:
        max_gap = max(max_gap, 1.5 / clip.fps)  # its own step is no gap
    for phase in range(max(1, int(ratio)) if phases == "all" else 1):
        yield resample(clip, window.fps, anchor=phase / clip.fps, max_gap=max_gap), 1


def _streams(
    recording: Recording, clip: HandClip, hands: int, lone: bool, step: int, window: Window
) -> Iterator[tuple[Float[np.ndarray, "frames nodes 3"], Int[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]]:
    """Yield the points of both hands, or of each hand; what `_around` says of them; and where a window of both hands has as much."""
    if hands not in (1, 2) or hands > clip.hands:
        raise WrongHands(
            f"{recording.source} {recording.name}: expected windows of 1 to {min(2, clip.hands)} hands, got {hands}"
        )
    both = _around(np.all(clip.valid, axis=1), step, window)
    if hands == 2:
        yield clip.joints.reshape(len(clip), -1, 3), both, np.zeros(len(clip), bool)
        return
    for hand in range(clip.hands):
        single = _around(clip.valid[:, hand], step, window)
        taken = np.all(both == single, axis=1) if lone and clip.hands == 2 else np.zeros(len(clip), bool)
        yield clip.joints[:, hand], single, taken


def _around(valid: Bool[np.ndarray, " frames"], step: int, window: Window) -> Int[np.ndarray, "frames 2"]:
    """Return how much of a window's past ends at each frame, and how much of its future follows, before a frame that is not valid."""
    frames = np.arange(len(valid))
    before = np.maximum.accumulate(np.where(valid, -1, frames))
    after = np.minimum.accumulate(np.where(valid, len(valid), frames)[::-1])[::-1]
    past = (frames - before - 1) // step + 1
    future = np.maximum(after - 1 - frames, 0) // step
    return np.stack([np.minimum(past, window.past), np.minimum(future, window.future)], axis=1)


def _spread(legal: Bool[np.ndarray, " frames"], period: int, phases: int) -> Int[np.ndarray, " windows"]:
    """Return, of each run of true frames, the frames that are 0 to phases - 1 after a multiple of `period` from its first."""
    frames = np.flatnonzero(legal)
    begins = np.diff(frames, prepend=-2) > 1
    first = np.maximum.accumulate(np.where(begins, frames, 0)) if len(frames) else frames
    return frames[(frames - first) % period < phases]
