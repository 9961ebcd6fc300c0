"""Windows of past and future, cut from recordings of hands so that none spans a gap.

A window set does not copy frames. It keeps the recordings, which may be mapped from a file, and an index of track and first frame.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models.motion.hands import SNAP_S, HandClip, resample
from models.skeletons.hand import ASSEMBLY101
from training.tasks.hands.recordings import Recording

MAX_GAP_S = 0.05  # between frames of an irregular recording: Leap's longest regular step is 0.043 s
SAME_RATE = 0.002  # relative: 59.94 fps passes for 60


class TooSlow(ValueError):
    """A recording with a lower frame rate than its windows; resample it first if interpolated frames are acceptable."""


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


@dataclass(frozen=True)
class WindowSet:
    """Windows numbered from 0 to len - 1, in the order of their recordings.

    `nodes` is 21 (one hand) or 42 (left, then right). `recordings` are (source, name, label); `recording_of` is the recording of each
    window, as an index.
    """

    window: Window
    nodes: int
    recordings: list[tuple[str, str, str]]
    recording_of: Int[np.ndarray, " windows"]
    tracks: list[Track]
    track_of: Int[np.ndarray, " windows"]
    start_of: Int[np.ndarray, " windows"]

    def __len__(self) -> int:
        return len(self.start_of)

    def past_future(
        self, indices: Int[np.ndarray, " batch"]
    ) -> tuple[Float[np.ndarray, "batch past nodes 3"], Float[np.ndarray, "batch future nodes 3"]]:
        """Return past and future of the windows with these numbers, in metres, float32."""
        track_of, start_of = self.track_of[indices], self.start_of[indices]
        windows = np.empty((len(indices), self.window.frames, self.nodes, 3), dtype=np.float32)
        for number in np.unique(track_of):
            track, rows = self.tracks[number], track_of == number
            windows[rows] = track.points[start_of[rows][:, None] + track.step * np.arange(self.window.frames)]
        return windows[:, : self.window.past], windows[:, self.window.past :]


def cut(
    recordings: Iterable[Recording],
    window: Window,
    hands: int = 2,
    *,
    phases: Literal["all", "first"] = "all",
    lone: bool = False,
    max_gap: float = MAX_GAP_S,
) -> WindowSet:
    """Return all windows in which the hands are valid in every frame.

    `hands=2` requires both hands. `hands=1` treats each hand by itself; `lone` then drops the windows that `hands=2` would return, so that
    the two sets have no window in common. If the recording's rate is a multiple of the window's, frames are taken without interpolation,
    and skipped frames must be valid too. Windows then begin at every frame (`phases="all"`, for training) or on one grid at the window's
    rate ("first", for measuring). Other recordings are resampled over gaps of at most `max_gap` seconds.

    Raises TooSlow, WrongHands.
    """
    nodes = hands * len(ASSEMBLY101.joints)
    described: list[tuple[str, str, str]] = []
    tracks: list[Track] = []
    recording_of, track_of, start_of = ([np.empty(0, np.int64)] for _ in range(3))
    for recording in recordings:
        described.append((recording.source, recording.name, recording.label))
        for clip, step in _at_rate(recording, window, phases, max_gap):
            for points, valid in _streams(recording, clip, hands, lone, step * (window.frames - 1) + 1):
                starts = _spread(valid, period=step * window.stride, phases=step if phases == "all" else 1)
                recording_of.append(np.full(len(starts), len(described) - 1))
                track_of.append(np.full(len(starts), len(tracks)))
                start_of.append(starts)
                tracks.append(Track(points, step))
    return WindowSet(
        window,
        nodes,
        described,
        np.concatenate(recording_of),
        tracks,
        np.concatenate(track_of),
        np.concatenate(start_of),
    )


def _at_rate(
    recording: Recording, window: Window, phases: Literal["all", "first"], max_gap: float
) -> Iterator[tuple[HandClip, int]]:
    """Yield clips and steps: every step-th frame of a clip is a frame at the window's rate."""
    clip = recording.clip
    if clip.times[-1] - clip.times[0] < (window.frames - 1) / window.fps - SNAP_S:
        return
    ratio = clip.fps / window.fps
    step = round(ratio)
    if ratio < 1 - SAME_RATE:
        raise TooSlow(
            f"{recording.source} {recording.name}: expected at least {window.fps:g} frames per second for windows of "
            f"{window.name}, got {clip.fps:.4g}; resample it first, or leave it out"
        )
    regular = np.abs(np.diff(clip.times) - 1 / clip.fps).max() <= SNAP_S
    if regular and abs(ratio - step) <= SAME_RATE * ratio:
        yield clip, step
    else:
        for phase in range(int(ratio) if phases == "all" else 1):
            yield resample(clip, window.fps, anchor=phase / clip.fps, max_gap=max_gap), 1


def _streams(
    recording: Recording, clip: HandClip, hands: int, lone: bool, reach: int
) -> Iterator[tuple[Float[np.ndarray, "frames nodes 3"], Bool[np.ndarray, " starts"]]]:
    """Yield the points of both hands, or of each hand, with a mask of the frames from which `reach` frames are all valid."""
    if hands not in (1, 2) or hands > clip.hands:
        raise WrongHands(
            f"{recording.source} {recording.name}: expected windows of 1 to {min(2, clip.hands)} hands, got {hands}"
        )
    both = _unbroken(np.all(clip.valid, axis=1), reach)
    if hands == 2:
        yield clip.joints.reshape(len(clip), hands * len(ASSEMBLY101.joints), 3), both
        return
    for hand in range(clip.hands):
        single = _unbroken(clip.valid[:, hand], reach)
        yield clip.joints[:, hand], single & ~both if lone and clip.hands == 2 else single


def _unbroken(valid: Bool[np.ndarray, " frames"], reach: int) -> Bool[np.ndarray, " starts"]:
    """Return for each frame i whether the frames i to i + reach - 1 are all valid."""
    count = np.concatenate([[0], np.cumsum(valid)])
    return count[reach:] - count[:-reach] == reach


def _spread(unbroken: Bool[np.ndarray, " starts"], period: int, phases: int) -> Int[np.ndarray, " windows"]:
    """Return, of each run of true frames, the frames that are 0 to phases - 1 after a multiple of `period` from its first."""
    frames = np.flatnonzero(unbroken)
    begins = np.diff(frames, prepend=-2) > 1
    first = np.maximum.accumulate(np.where(begins, frames, 0)) if len(frames) else frames
    return frames[(frames - first) % period < phases]
