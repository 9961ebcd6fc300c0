"""Windows that end their past at a frame of the recording, as a forecaster is asked in every frame of a tracker.

`windows.cut` lays one grid over a recording. A newest pose there may lie between two frames, the second of which no tracker has seen yet.
Here the newest pose is a frame as it was recorded. The poses before it are interpolated at the window's rate, as a service does
(`models.motion.partial_hands`), and so are those after it, which are the truth.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from models.motion.hands import between
from training.tasks.hands.recordings import Recording
from training.tasks.hands.windows import MAX_GAP_S, SAME_RATE, Cut, Track, Window, WindowSet, WrongHands, collect

PAUSE = 1.5  # usual steps of a recording: a longer one has lost a frame


@dataclass(frozen=True)
class FrameTrack(Track):
    """Poses of one recording at their own `times`, in seconds; a window starts at the frame that is the newest of its past."""

    times: Float[np.ndarray, " frames"]
    window: Window

    def poses(
        self, starts: Int[np.ndarray, " windows"], numbers: Int[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "windows frames nodes 3"]:
        """Return the frames with these numbers, interpolated over gaps of at most MAX_GAP_S; NaN in longer ones."""
        instants = _instants(self.times[starts], numbers, self.window)
        good, left, right, weight = between(self.times, instants.ravel(), MAX_GAP_S)
        weight = weight.astype(np.float32)[:, None, None]
        out = np.full((instants.size, *self.points.shape[1:]), np.nan, np.float32)
        out[good] = (1 - weight) * self.points[left] + weight * self.points[right]
        return out.reshape(*instants.shape, *self.points.shape[1:])

    def after(self, starts: Int[np.ndarray, " windows"]) -> Int[np.ndarray, " windows"]:
        """Return the next frame of the recording, or -1 where one was lost."""
        later = np.minimum(starts + self.step, len(self.times) - 1)
        usual = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
        return np.where(self.times[later] - self.times[starts] <= PAUSE * usual, later, -1)


def cut_at_frames(
    recordings: Iterable[Recording],
    window: Window,
    hands: int = 2,
    *,
    rates: tuple[float, float],
    lone: bool = False,
    least: tuple[int, int] | None = None,
) -> WindowSet:
    """Return a window for every frame of which enough of the past and of the future is there.

    `rates` are the least and the greatest rate of frames, as multiples of the window's: each whole fraction of a recording's rate within
    them gives windows of its own, so that a recording of 120 Hz is one of 60 Hz too. `hands`, `lone` and `least` are as in `windows.cut`;
    a window of one hand that has as much of both is `lone` no more. Recordings whose rate has no such fraction count as slow. Raises
    WrongHands.
    """

    def steps(recording: Recording) -> list[int]:
        return _steps(recording.clip.fps / window.fps, rates)

    def windows_of(recording: Recording, needed: tuple[int, int]) -> Iterator[Cut]:
        for step in steps(recording):
            for points, valid, has, taken in _streams(recording, step, hands, lone, window):
                frames = np.flatnonzero(valid)
                legal = np.flatnonzero(np.all(has >= needed, axis=1) & ~taken[frames])
                yield FrameTrack(points[frames], 1, recording.clip.times[::step][frames], window), legal, has[legal]

    return collect(recordings, window, hands, least, lambda recording: not steps(recording), windows_of)


def _steps(ratio: float, rates: tuple[float, float]) -> list[int]:
    """Return the steps with which frames of `ratio` times the window's rate have one within `rates`."""
    low, high = rates[0] * (1 - SAME_RATE), rates[1] * (1 + SAME_RATE)
    return [step for step in range(1, int(ratio / low) + 1) if low <= ratio / step <= high]


def _streams(
    recording: Recording, step: int, hands: int, lone: bool, window: Window
) -> Iterator[
    tuple[
        Float[np.ndarray, "frames nodes 3"],
        Bool[np.ndarray, " frames"],
        Int[np.ndarray, "valid 2"],
        Bool[np.ndarray, " frames"],
    ]
]:
    """Yield the points of both hands, or of each; where they are valid; what valid frames have; and what windows of both have as well."""
    clip = recording.clip
    if hands not in (1, 2) or hands > clip.hands:
        raise WrongHands(
            f"{recording.source} {recording.name}: expected windows of 1 to {min(2, clip.hands)} hands, got {hands}"
        )
    joints, valid, times = clip.joints[::step], clip.valid[::step], clip.times[::step]
    whole = np.all(valid, axis=1)
    both = np.zeros((len(times), 2), int)
    both[whole] = _around(times[whole], window)
    if hands == 2:
        yield joints.reshape(len(times), -1, 3), whole, both[whole], np.zeros(len(times), bool)
        return
    for hand in range(clip.hands):
        has = _around(times[valid[:, hand]], window)
        taken = np.zeros(len(times), bool)
        if lone and clip.hands == 2:
            taken[valid[:, hand]] = np.all(both[valid[:, hand]] == has, axis=1)
        yield joints[:, hand], valid[:, hand], has, taken


def _around(times: Float[np.ndarray, " frames"], window: Window) -> Int[np.ndarray, "frames 2"]:
    """Return how many frames of a window's past end at each of these times without a gap, and how many of its future follow."""
    if not len(times):
        return np.zeros((0, 2), int)
    numbers = np.arange(window.frames)
    instants = _instants(times, numbers, window)
    good = between(times, instants.ravel(), MAX_GAP_S).good.reshape(instants.shape)
    past, future = good[:, : window.past][:, ::-1], good[:, window.past :]
    return np.stack([np.cumprod(part, axis=1).sum(axis=1) for part in (past, future)], axis=1)


def _instants(
    newest: Float[np.ndarray, " windows"], numbers: Int[np.ndarray, " frames"], window: Window
) -> Float[np.ndarray, "windows frames"]:
    """Return the times of the frames with these numbers, of which number past - 1 is the newest one of the past."""
    return newest[:, None] + (numbers - (window.past - 1)) / window.fps
