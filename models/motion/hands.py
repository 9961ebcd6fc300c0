"""Hand clips: timed poses with gaps, and resampling to the rate of a model.

Every computed pose is a weighted mean of two poses, and the weights depend on time alone. It therefore commutes exactly with rotation,
translation, scaling and mirroring.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import LEFT_RIGHT, Skeleton

SNAP_S = 1e-6  # times closer than this are the same instant: a hand at 10 m/s moves 10 micrometres in it


class WrongClip(ValueError):
    """Arrays that do not form a clip; the message gives the expected and the actual shapes or values."""


class TooFewFrames(ValueError):
    """A clip that is shorter than the requested window."""


class GapTooLong(ValueError):
    """A hand that is missing for longer than the longest gap that may be filled; the message says which hand and where."""


@dataclass(frozen=True)
class HandClip:
    """One or two hands (left, then right) over time: metres, any right-handed frame, in a joint order: Assembly101's, or one's own.

    `joints` (frames, hands, joints, 3) are NaN where `valid` (frames, hands) is False: a hand that was not seen has no position. `times`
    (frames,) are increasing seconds, not necessarily regular. Raises WrongClip if the shapes do not match. The values of `joints` are not
    read, so that a clip may be a memory-mapped view of a file.
    """

    joints: Float[
        np.ndarray, "..."
    ]  # jaxtyping checks shapes in tests only; __post_init__ checks them in production too
    valid: Bool[np.ndarray, "..."]
    times: Float[np.ndarray, "..."]
    order: Skeleton = ASSEMBLY101

    def __post_init__(self) -> None:
        shape, per_hand = self.joints.shape, len(self.order.joints)
        if len(shape) != 4 or shape[0] == 0 or shape[1] not in (1, 2) or shape[2:] != (per_hand, 3):
            raise WrongClip(f"expected joints of shape (frames, 1 or 2 hands, {per_hand}, 3), got {shape}")
        if self.valid.shape != shape[:2]:
            raise WrongClip(f"expected valid of shape {shape[:2]} for joints {shape}, got {self.valid.shape}")
        if self.times.shape != shape[:1]:
            raise WrongClip(f"expected times of shape {shape[:1]} for joints {shape}, got {self.times.shape}")
        if not np.isfinite(self.times).all():
            raise WrongClip(f"expected finite times, got {np.count_nonzero(~np.isfinite(self.times))} that are not")
        if (steps := np.diff(self.times)).size and steps.min() <= 0:
            frame = int(np.argmax(steps <= 0)) + 1
            raise WrongClip(
                f"expected times that increase from frame to frame, got {self.times[frame]:g} s in frame {frame} after "
                f"{self.times[frame - 1]:g} s"
            )

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.times)

    @property
    def hands(self) -> int:
        """Return the number of hands."""
        return self.joints.shape[1]

    @property
    def fps(self) -> float:
        """Return the frames per second, from the median time step, which pauses do not affect. Raises TooFewFrames for a single frame."""
        if len(self) < 2:
            raise TooFewFrames("expected at least 2 frames to measure a frame rate, got 1")
        return float(1 / np.median(np.diff(self.times)))

    def between(self, start: int, stop: int) -> "HandClip":
        """Return frames start to stop - 1 as views."""
        return HandClip(self.joints[start:stop], self.valid[start:stop], self.times[start:stop], self.order)


def clip_of(
    joints: Float[np.ndarray, "..."],
    times: Float[np.ndarray, "..."],
    valid: Bool[np.ndarray, "..."] | None = None,
    order: Skeleton = ASSEMBLY101,
) -> HandClip:
    """Build a clip whose hands are valid as `valid` says or, without it, wherever all coordinates are finite.

    Shapes are HandClip's. Raises WrongClip.
    """
    if joints.ndim != 4 or (valid is not None and valid.shape != joints.shape[:2]):
        shapes = f"{joints.shape}" if valid is None else f"{joints.shape} and {valid.shape}"
        raise WrongClip(f"expected joints (frames, hands, joints, 3) and valid (frames, hands), got {shapes}")
    mask = np.asarray(np.isfinite(joints).all(axis=(2, 3)) if valid is None else valid)
    return HandClip(np.where(mask[:, :, None, None], joints, np.nan).astype(joints.dtype), mask, times, order)


def sample(clip: HandClip, times: Float[np.ndarray, " samples"], max_gap: float) -> HandClip:
    """Sample the clip at `times` (seconds).

    A sample is the frame at that instant if there is one, otherwise the linear interpolation of the nearest valid frames around it. A hand
    is invalid if these frames are more than `max_gap` seconds apart, or if one of them does not exist.
    """
    joints = np.full((len(times), *clip.joints.shape[1:]), np.nan, dtype=clip.joints.dtype)
    valid = np.zeros((len(times), clip.hands), dtype=bool)
    for hand in range(clip.hands):
        frames = np.flatnonzero(clip.valid[:, hand])
        if len(frames) == 0:
            continue
        good, left, right, weight = between(clip.times[frames], times, max_gap)
        weight = weight[:, None, None]
        joints[good, hand] = (1 - weight) * clip.joints[frames[left], hand] + weight * clip.joints[frames[right], hand]
        valid[good, hand] = True
    return HandClip(joints, valid, times, clip.order)


class Between(NamedTuple):
    """The instants that lie between two known times close to each other: the places of these two, and the weight of the later one."""

    good: Bool[np.ndarray, " instants"]
    left: Int[np.ndarray, " good"]
    right: Int[np.ndarray, " good"]
    weight: Float[np.ndarray, " good"]


def between(known: Float[np.ndarray, " known"], times: Float[np.ndarray, " instants"], max_gap: float) -> Between:
    """Return how to interpolate at `times` from one or more increasing `known` times that are at most `max_gap` apart, in seconds.

    An instant that is a known time has that time on both sides.
    """
    next_ = np.searchsorted(known, times - SNAP_S)  # the first known time that is not before the instant
    right = np.minimum(next_, len(known) - 1)
    exact = np.abs(known[right] - times) <= SNAP_S
    left = np.where(exact, right, np.maximum(next_ - 1, 0))
    gap = known[right] - known[left]
    good = exact | ((left < right) & (gap <= max_gap + SNAP_S))
    left, right, gap = left[good], right[good], np.where(exact, 1.0, gap)[good]
    return Between(good, left, right, np.where(exact[good], 0.0, (times[good] - known[left]) / gap))


def resample(
    clip: HandClip, fps: float, *, max_gap: float, anchor: Literal["start", "end"] | float = "start"
) -> HandClip:
    """Resample the clip to a regular `fps` with `sample`. A frame of the clip that falls on the new grid is kept bit for bit.

    The grid contains the clip's first frame ("start"), its last frame ("end"), or begins `anchor` seconds after the first. Raises
    TooFewFrames if no grid frame falls inside the clip.
    """
    first, last = clip.times[0], clip.times[-1]
    start = first + anchor if isinstance(anchor, (int, float)) else first
    count = int(np.floor((last - start + SNAP_S) * fps)) + 1
    if count < 1:
        raise TooFewFrames(
            f"expected a clip longer than {start - first:g} s, where the grid begins, got {last - first:g} s"
        )
    steps = np.arange(count) / fps
    return sample(clip, last - steps[::-1] if anchor == "end" else start + steps, max_gap)


class Past(NamedTuple):
    """The input of a forecast: the poses of the visible hands, the number of filled poses, and which of the clip's hands these are."""

    joints: Float[np.ndarray, "frames hands joints 3"]
    filled: int
    hands: tuple[int, ...]


def past_window(clip: HandClip, frames: int, fps: float, max_gap: float) -> Past:
    """Return the last `frames` of the clip at `fps`, ending at its last frame, in the clip's dtype.

    `filled` counts the missing poses that were interpolated. A hand that is missing at the end, enters late, or is missing for longer than
    `max_gap` seconds is left out. Raises TooFewFrames if the clip is shorter, and GapTooLong if no hand remains.
    """
    span = (frames - 1) / fps
    if clip.times[-1] - clip.times[0] < span - SNAP_S:
        raise TooFewFrames(
            f"expected {span:.3f} s of past, {frames} frames at {fps:g} fps, got {len(clip)} frames over "
            f"{clip.times[-1] - clip.times[0]:.3f} s; send a longer clip"
        )
    recent = clip.times >= clip.times[-1] - span - SNAP_S
    hands = tuple(int(hand) for hand in np.flatnonzero(clip.valid[recent].any(axis=0)))
    if not hands:
        raise GapTooLong(f"expected a visible hand in the last {span:.3f} s, got none")
    instants = clip.times[-1] - np.arange(frames)[::-1] / fps
    if len(clip) >= frames and np.abs(clip.times[-frames:] - instants).max() <= SNAP_S and clip.valid[-frames:].all():
        return Past(clip.joints[-frames:], 0, hands)  # nothing to interpolate, which is how most clips come
    window = sample(clip, instants, max_gap)
    complete = tuple(hand for hand in hands if window.valid[:, hand].all())
    if not complete:
        hand = hands[0]
        raise GapTooLong(_describe_gap(clip, hand, window.times[~window.valid[:, hand]], max_gap))
    hands = complete
    return Past(window.joints[:, list(hands)], int((~clip.valid[recent][:, list(hands)]).sum()), hands)


def _describe_gap(clip: HandClip, hand: int, uncovered: Float[np.ndarray, " instants"], max_gap: float) -> str:
    """Describe which frames of the clip are missing around the last instant that could not be interpolated."""
    known = clip.times[clip.valid[:, hand]]
    before, after = known[known < uncovered[-1]], known[known > uncovered[-1]]
    name = f"the {LEFT_RIGHT[hand]} hand" if clip.hands == 2 else "the hand"
    if len(after) == 0:
        return (
            f"{name} is missing in the last frame; it was last visible in frame {_frame(clip, before)} of {len(clip)}"
        )
    if len(before) == 0:
        return f"{name} is missing until frame {_frame(clip, after[:1])} of {len(clip)}"
    return (
        f"{name} is missing between frames {_frame(clip, before)} and {_frame(clip, after[:1])}: expected a gap of at most {max_gap:.3f} s "
        f"from pose to pose, got {after[0] - before[-1]:.3f} s"
    )


def _frame(clip: HandClip, instants: Sequence[float] | Float[np.ndarray, " instants"]) -> int:
    """Return the frame at the last of the instants."""
    return int(np.searchsorted(clip.times, instants[-1]))


def future_to_fps(
    last: Float[np.ndarray, "*pose"], future: Float[np.ndarray, " frames *pose"], fps: float, out_fps: float
) -> tuple[Float[np.ndarray, " out_frames *pose"], Float[np.ndarray, " out_frames"]]:
    """Resample a forecast to another rate, linearly in time from the last observed pose (t = 0); return the poses and their times.

    The frames of `future` are 1/fps apart, the first at 1/fps. Times, in seconds, run from 1/out_fps to the last one within the horizon. A
    frame on both grids is kept bit for bit.
    """
    count = int(np.floor((len(future) / fps + SNAP_S) * out_fps))
    times = np.arange(1, count + 1) / out_fps
    return future_at(last, future, fps, times), times


def future_at(
    last: Float[np.ndarray, "*pose"],
    future: Float[np.ndarray, " frames *pose"],
    fps: float,
    times: Float[np.ndarray, " instants"],
) -> Float[np.ndarray, " instants *pose"]:
    """Sample a forecast at `times`, in seconds from the last observed pose (t = 0), linearly in time.

    The frames of `future` are 1/fps apart, the first at 1/fps. Times are from 0 to the last of these; a time on the grid has its frame bit
    for bit.
    """
    known = np.concatenate([last[None], future])
    place = times * fps
    nearest = np.minimum(np.rint(place), len(future))
    on_grid = np.abs(nearest - place) <= SNAP_S * fps
    if on_grid.all():
        return known[nearest.astype(int)].astype(future.dtype, copy=False)
    place = np.where(on_grid, nearest, place)
    left = np.floor(place).astype(int)
    weight = (place - left).reshape(-1, *[1] * last.ndim)
    out = (1 - weight) * known[left] + weight * known[np.minimum(left + 1, len(future))]
    return out.astype(future.dtype)
