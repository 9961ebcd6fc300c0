"""Motion clips: timed hand poses with gaps, their units, and resampling to the rate a model wants.
 Everything that computes a pose here is a weighted mean of two poses with weights that depend on time alone, so that it
commutes exactly with rotation, translation, scaling and mirror.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import LEFT_RIGHT

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # in metres
SNAP_S = 1e-6  # times nearer than this are the same instant: a hand at 10 m/s moves 10 micrometres in it


class UnknownUnit(ValueError):
    """No unit of that name; the message lists those there are."""


class WrongClip(ValueError):
    """Arrays that do not make a clip; the message says what was wanted and what came."""


class TooFewFrames(ValueError):
    """A clip shorter than the window asked of it."""


class GapTooLong(ValueError):
    """A hand that is missing for longer than may be bridged; the message says which and where."""


def to_metres(unit: str) -> float:
    """The factor that takes lengths in `unit` to metres. Raises UnknownUnit."""
    if unit not in UNITS:
        raise UnknownUnit(f"no unit {unit!r}; known are {', '.join(UNITS)}")
    return UNITS[unit]


@dataclass(frozen=True)
class HandClip:
    """One or two hands (left, then right) over time: metres, Assembly101 joint order, any right-handed frame.

    `joints` are NaN where `valid` is False: an absent hand has no position. `times` are seconds, increasing, not
    necessarily regular. Raises WrongClip if the arrays do not fit together. Values are not looked at, so that a clip
    may be a view of a file.
    """

    joints: Float[np.ndarray, "..."]  # (frames, hands, 21, 3); shapes are checked below, in production too
    valid: Bool[np.ndarray, "..."]  # (frames, hands)
    times: Float[np.ndarray, "..."]  # (frames,)

    def __post_init__(self) -> None:
        shape, per_hand = self.joints.shape, len(ASSEMBLY101.joints)
        if len(shape) != 4 or shape[0] == 0 or shape[1] not in (1, 2) or shape[2:] != (per_hand, 3):
            raise WrongClip(f"a clip's joints are (frames, 1 or 2 hands, {per_hand}, 3), not {shape}")
        if self.valid.shape != shape[:2]:
            raise WrongClip(f"a clip of joints {shape} has valid {shape[:2]}, not {self.valid.shape}")
        if self.times.shape != shape[:1]:
            raise WrongClip(f"a clip of joints {shape} has times {shape[:1]}, not {self.times.shape}")
        if not (np.isfinite(self.times).all() and (np.diff(self.times) > 0).all()):
            raise WrongClip("a clip's times are finite and increase from frame to frame; these do not")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def hands(self) -> int:
        return self.joints.shape[1]

    @property
    def fps(self) -> float:
        """Frames a second by the median step, which pauses do not move. Raises TooFewFrames for a single frame."""
        if len(self) < 2:
            raise TooFewFrames("a rate takes at least 2 frames; the clip has 1")
        return float(1 / np.median(np.diff(self.times)))

    def between(self, start: int, stop: int) -> "HandClip":
        """Frames start to stop - 1, as views."""
        return HandClip(self.joints[start:stop], self.valid[start:stop], self.times[start:stop])


def clip_of(
    joints: Float[np.ndarray, "..."],
    times: Float[np.ndarray, "..."],
    valid: Bool[np.ndarray, "..."] | None = None,
) -> HandClip:
    """A clip whose hands are valid where `valid` says so or, without it, where all coordinates are finite.

    Shapes are HandClip's. Raises WrongClip.
    """
    if joints.ndim != 4 or (valid is not None and valid.shape != joints.shape[:2]):
        came = f"{joints.shape}" if valid is None else f"{joints.shape} and {valid.shape}"
        raise WrongClip(f"joints are (frames, hands, joints, 3) and valid is (frames, hands); came {came}")
    shown = np.asarray(np.isfinite(joints).all(axis=(2, 3)) if valid is None else valid)
    return HandClip(np.where(shown[:, :, None, None], joints, np.nan).astype(joints.dtype), shown, times)


def sample(clip: HandClip, times: Float[np.ndarray, " samples"], max_gap: float) -> HandClip:
    """The clip at `times` (seconds): the frame of that instant, else linear between the nearest valid ones around it.

    A hand is invalid where those are more than `max_gap` seconds apart, or where one of them is missing.
    """
    joints = np.full((len(times), *clip.joints.shape[1:]), np.nan, dtype=clip.joints.dtype)
    valid = np.zeros((len(times), clip.hands), dtype=bool)
    for hand in range(clip.hands):
        seen = np.flatnonzero(clip.valid[:, hand])
        if len(seen) == 0:
            continue
        when = clip.times[seen]
        next_ = np.searchsorted(when, times - SNAP_S)  # the first frame that is not before the instant
        right = np.minimum(next_, len(seen) - 1)
        exact = np.abs(when[right] - times) <= SNAP_S
        left = np.where(exact, right, np.maximum(next_ - 1, 0))
        gap = when[right] - when[left]
        good = exact | ((left < right) & (gap <= max_gap + SNAP_S))
        left, right, gap = left[good], right[good], np.where(exact, 1.0, gap)[good]
        weight = np.where(exact[good], 0.0, (times[good] - when[left]) / gap)[:, None, None]
        joints[good, hand] = (1 - weight) * clip.joints[seen[left], hand] + weight * clip.joints[seen[right], hand]
        valid[good, hand] = True
    return HandClip(joints, valid, times)


def resample(
    clip: HandClip, fps: float, *, max_gap: float, anchor: Literal["start", "end"] | float = "start"
) -> HandClip:
    """The clip at a regular `fps`, by `sample`. Frames of the clip that fall on the new grid are kept to the last bit.

    The grid holds the clip's first frame ("start"), its last ("end"), or begins `anchor` seconds after the first.
    Raises TooFewFrames if no grid frame falls inside the clip.
    """
    first, last = clip.times[0], clip.times[-1]
    start = first + anchor if isinstance(anchor, (int, float)) else first
    count = int(np.floor((last - start + SNAP_S) * fps)) + 1
    if count < 1:
        raise TooFewFrames(f"a grid from {start - first:g} s on wants a longer clip than {last - first:g} s")
    steps = np.arange(count) / fps
    return sample(clip, last - steps[::-1] if anchor == "end" else start + steps, max_gap)


class Past(NamedTuple):
    """What a forecast starts from: the hands in view, how many of their poses were bridged, and which of the clip's
    hands they are."""

    joints: Float[np.ndarray, "frames hands joints 3"]
    filled: int
    hands: tuple[int, ...]


def past_window(clip: HandClip, frames: int, fps: float, max_gap: float) -> Past:
    """The last `frames` of the clip at `fps`, ending at its last frame, in the clip's dtype.

    `filled` counts the absent poses bridged. A hand that is absent from all of these frames is left out. Raises
    TooFewFrames if the clip is shorter, GapTooLong if no hand is in view, or if one is missing at the end or for longer
    than `max_gap` seconds.
    """
    span = (frames - 1) / fps
    if clip.times[-1] - clip.times[0] < span - SNAP_S:
        raise TooFewFrames(
            f"{frames} frames at {fps:g} fps want {span:.3f} s of past; came {len(clip)} frames over "
            f"{clip.times[-1] - clip.times[0]:.3f} s"
        )
    recent = clip.times >= clip.times[-1] - span - SNAP_S
    hands = tuple(int(hand) for hand in np.flatnonzero(clip.valid[recent].any(axis=0)))
    if not hands:
        raise GapTooLong(f"no hand is in view in the last {span:.3f} s")
    window = sample(clip, clip.times[-1] - np.arange(frames)[::-1] / fps, max_gap)
    for hand in hands:
        if not window.valid[:, hand].all():
            raise GapTooLong(_describe_gap(clip, hand, window.times[~window.valid[:, hand]], max_gap))
    return Past(window.joints[:, list(hands)], int((~clip.valid[recent][:, list(hands)]).sum()), hands)


def _describe_gap(clip: HandClip, hand: int, uncovered: Float[np.ndarray, " instants"], max_gap: float) -> str:
    """Which frames of the clip are missing around the last instant that could not be had."""
    seen = clip.times[clip.valid[:, hand]]
    before, after = seen[seen < uncovered[-1]], seen[seen > uncovered[-1]]
    who = f"the {LEFT_RIGHT[hand]} hand" if clip.hands == 2 else "the hand"
    if len(after) == 0:
        return f"{who} is missing at the last frame; it was last seen in frame {_frame(clip, before)} of {len(clip)}"
    if len(before) == 0:
        return f"{who} comes into view only at frame {_frame(clip, after[:1])} of {len(clip)}"
    return (
        f"{who} is missing between frames {_frame(clip, before)} and {_frame(clip, after[:1])}: "
        f"{after[0] - before[-1]:.3f} s from pose to pose, and at most {max_gap:.3f} s are bridged"
    )


def _frame(clip: HandClip, instants: Sequence[float] | Float[np.ndarray, " instants"]) -> int:
    return int(np.searchsorted(clip.times, instants[-1]))


def future_to_fps(
    last: Float[np.ndarray, "*pose"], future: Float[np.ndarray, " frames *pose"], fps: float, out_fps: float
) -> tuple[Float[np.ndarray, " out_frames *pose"], Float[np.ndarray, " out_frames"]]:
    """A forecast at another rate: poses linear in time from the last observed one (t = 0), and their times.

    `future` has frames 1/fps apart, the first at 1/fps. Times, in seconds, run from 1/out_fps to the last one within
    the horizon. Frames on both grids are kept to the last bit.
    """
    known = np.concatenate([last[None], future])
    count = int(np.floor((len(future) / fps + SNAP_S) * out_fps))
    times = np.arange(1, count + 1) / out_fps
    place = times * fps
    nearest = np.minimum(np.rint(place), len(future))
    place = np.where(np.abs(nearest - place) <= SNAP_S * fps, nearest, place)
    left = np.floor(place).astype(int)
    weight = (place - left).reshape(-1, *[1] * last.ndim)
    out = (1 - weight) * known[left] + weight * known[np.minimum(left + 1, len(future))]
    return out.astype(future.dtype), times
