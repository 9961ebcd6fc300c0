"""The last moments of a stream, in a bounded memory, and the past that a model takes from them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from models.contract.task import HandForecast
from models.motion.hands import SNAP_S, HandClip, Past, past_window
from models.motion.partial_hands import LEAST_FRAMES, PartialPast, partial_window
from service.http.problems import Problem
from service.tasks.hands.checks import Poses, Seen

Convert = Callable[[Poses, Seen], tuple[Poses, Seen]]


class Window(NamedTuple):
    """The input of a model: its past, for a masked task what was seen of it, and how much that is unless it is everything."""

    past: Past
    seen: Bool[np.ndarray, "past hands joints"] | None
    part: PartialPast | None = None


class Recent:
    """The newest frames of a stream, at most `capacity` of them, oldest first, in metres; NaN is what was not seen.

    The arrays have room for twice as many. Once they are full, the newest frames move to their beginning, so that they always lie side by
    side and a frame is copied once on average.
    """

    def __init__(self, capacity: int, hands: int, joints: int, order_joints: int) -> None:
        self.capacity, room = capacity, 2 * capacity
        self._joints, self._points = (np.empty((room, hands, count, 3)) for count in (joints, order_joints))
        self._known, self._seen = (np.empty((room, hands, count), bool) for count in (joints, order_joints))
        self._times = np.empty(room)
        self._end = self._length = 0
        self._new = 0  # how many of the newest are not converted
        self._even = 0  # how many frames up to the newest are one step apart, with the same hands, whole

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._length

    @property
    def newest(self) -> float | None:
        """Return the time of the newest frame, in seconds; None without frames."""
        return float(self._times[self._end - 1]) if self._length else None

    @property
    def seconds(self) -> float:
        """Return the time from the oldest frame to the newest, 0 without frames."""
        return float(self.times[-1] - self.times[0]) if self._length else 0.0

    @property
    def times(self) -> Float[np.ndarray, " frames"]:
        """Return the times of the frames, in seconds."""
        return self._times[self._end - self._length : self._end]

    @property
    def joints(self) -> Float[np.ndarray, "frames hands joints 3"]:
        """Return the hands in the model's joint order."""
        return self._joints[self._end - self._length : self._end]

    @property
    def known(self) -> Bool[np.ndarray, "frames hands joints"]:
        """Return which of these joints were seen."""
        return self._known[self._end - self._length : self._end]

    @property
    def points(self) -> Float[np.ndarray, "frames hands order_joints 3"]:
        """Return the hands in the caller's joint order."""
        return self._points[self._end - self._length : self._end]

    @property
    def seen(self) -> Bool[np.ndarray, "frames hands order_joints"]:
        """Return which of these joints were seen."""
        return self._seen[self._end - self._length : self._end]

    def add(
        self,
        points: Float[np.ndarray, "hands order_joints 3"],
        seen: Bool[np.ndarray, "hands order_joints"],
        time: float,
        *,
        follows: bool,
    ) -> None:
        """Add a frame that is newer than the others; `follows` says that it is one even step after the newest."""
        now = self._next(time)
        whole = bool((seen.all(axis=1) == seen.any(axis=1)).all())
        same = follows and self._length > 1 and bool((self._seen[now - 1] == seen).all())
        self._even = (self._even + 1 if same else 1) if whole else 0
        self._points[now], self._seen[now] = points, seen

    def skip(self, time: float) -> None:
        """Add a frame that did not come, newer than the others: nothing was seen in it."""
        now = self._next(time)
        self._even, self._points[now], self._seen[now] = 0, np.nan, False

    def convert(self, convert: Convert) -> None:
        """Convert the frames that were added since the last call to the model's joint order, all at once.

        Frames that cannot be converted count as frames in which nothing was seen; raise the problem of the first of them.
        """
        begin, problem = self._end - min(self._new, self._length), None
        try:
            self._convert(slice(begin, self._end), convert)
        except Problem:
            for at in range(begin, self._end):
                try:
                    self._convert(slice(at, at + 1), convert)
                except Problem as error:
                    problem = problem or error
                    self._even, self._points[at], self._seen[at] = 0, np.nan, False
                    self._joints[at], self._known[at] = np.nan, False
        self._new = 0
        if problem is not None:
            raise problem

    def clear(self) -> None:
        """Forget all frames."""
        self._end = self._length = self._even = self._new = 0

    def window(self, task: HandForecast, fps: float, max_gap_s: float) -> Window:
        """Return the model's past, as new arrays: without resampling where each of its frames is one of the stream's at `fps`.

        Raises TooFewFrames and GapTooLong. No hand in the whole window is a past without hands.
        """
        stride = round(fps / task.fps)
        span = stride * (task.past - 1) + 1
        if stride > 0 and abs(stride * task.fps - fps) < SNAP_S and min(self._even, self._length) >= span:
            hands = tuple(int(hand) for hand in np.flatnonzero(self.known[-1].all(axis=1)))
            joints = self.joints[len(self) - span :: stride][:, list(hands)]
            return Window(Past(joints, 0, hands), np.ones(joints.shape[:3], bool) if task.masked else None)
        seconds = (task.past - 1) / task.fps
        enough = len(self) >= LEAST_FRAMES if task.masked else self.seconds >= seconds - SNAP_S
        if enough and not self.known[self.times >= self.times[-1] - seconds - SNAP_S].any():
            return Window(Past(np.empty((task.past, 0, *self.joints.shape[2:])), 0, ()), None)
        if task.masked:
            part = partial_window(self.joints, self.known, self.times, task.past, task.fps, max_gap_s)
            return Window(Past(part.joints, part.filled, part.hands), part.seen, part)
        clip = HandClip(self.joints, np.all(self.known, axis=2), self.times, task.layout)
        return Window(past_window(clip, task.past, task.fps, max_gap_s), None)

    def _convert(self, frames: slice, convert: Convert) -> None:
        joints, known = convert(self._points[frames], self._seen[frames])
        self._joints[frames], self._known[frames] = np.where(known[..., None], joints, np.nan), known

    def _next(self, time: float) -> int:
        """Return the place of a new frame, with its time."""
        if self._end == len(self._times):
            kept = slice(self._end - self.capacity + 1, self._end)
            for array in (self._joints, self._points, self._known, self._seen, self._times):
                array[: self.capacity - 1] = array[kept]
            self._end = self.capacity - 1
        self._times[self._end] = time
        self._new += 1
        self._end, self._length = self._end + 1, min(self._length + 1, self.capacity)
        return self._end - 1
