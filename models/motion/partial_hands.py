"""Hands of which some joints were seen: the past of a forecaster that is told what was seen, from two frames on.

Every place is a weighted mean of places where the joint was seen, and the weights depend on time and on what was seen alone. So the past of
a moved clip is the moved past, exactly.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from models.motion.hands import SNAP_S, GapTooLong, TooFewFrames, between
from models.skeletons.skeleton import LEFT_RIGHT

LEAST_FRAMES = 2  # a joint that was seen once has no velocity
LEAST_JOINTS = 0.5  # of a hand, which were seen LEAST_FRAMES times
LOST = 0.5  # of the window, in whose newer part a hand must have been seen

Joints = Float[np.ndarray, "frames hands joints 3"]
Seen = Bool[np.ndarray, "frames hands joints"]


@dataclass(frozen=True)
class PartialPast:
    """The input of a forecast, with the mask of what was seen, and how much that is.

    A joint that was not seen in a frame has the place where it was last seen, or else where it is seen first; one that was never seen is
    NaN. `motion_s` and `lost_s` are seconds for each hand: from the first to the last time that it was seen, and from then to the end.
    """

    joints: Float[np.ndarray, "past hands joints 3"]
    seen: Bool[np.ndarray, "past hands joints"]
    filled: int
    hands: tuple[int, ...]
    motion_s: tuple[float, ...]
    lost_s: tuple[float, ...]


def partial_window(
    joints: Joints, seen: Seen, times: Float[np.ndarray, " frames"], frames: int, fps: float, max_gap: float
) -> PartialPast:
    """Return the last `frames` of one hand or two at `fps`, ending at the last of `times` (increasing seconds).

    A place between two seen ones at most `max_gap` seconds apart is interpolated, joint by joint. `filled` counts the poses that were not
    seen at all and were interpolated. A clip shorter than one frame of the window is extended along the line from its first place to its
    last. A hand is left out unless half of its joints were seen twice, and one of them in the newer half of the window.

    Raises TooFewFrames for a single frame, and GapTooLong if no hand remains.
    """
    if len(times) < LEAST_FRAMES:
        raise TooFewFrames(f"expected at least {LEAST_FRAMES} frames, which show a motion, got {len(times)}")
    step, begin, end = 1 / fps, times[0], times[-1]
    window = end - np.arange(frames)[::-1] / fps
    if len(times) >= frames and seen.all() and np.abs(times[-frames:] - window).max() <= SNAP_S:
        both = tuple(range(joints.shape[1]))  # nothing to interpolate, which is how most clips come
        motion_s = (float(window[-1] - max(window[0], begin)),) * len(both)
        return PartialPast(joints[-frames:], seen[-frames:], 0, both, motion_s, (0.0,) * len(both))
    recent = times >= window[0] - SNAP_S
    filled = _filled(seen, times, recent, max_gap)
    if end - begin < step - SNAP_S:
        joints, seen, times = _extended(joints, seen, times, step)
    places, known = _sample(joints, seen, times, window, max_gap)
    twice = known.sum(axis=0) >= LEAST_FRAMES
    newer = np.any(known[int(frames * (1 - LOST)) :], axis=0)
    plausible = (twice.mean(axis=1) >= LEAST_JOINTS) & (twice & newer).any(axis=1)
    hands = tuple(int(hand) for hand in np.flatnonzero(plausible))
    if not hands:
        raise GapTooLong(_describe(twice, newer, window))
    kept = list(hands)
    shown = np.any(known[:, kept], axis=2)  # frames, hands
    first, last = shown.argmax(axis=0), frames - 1 - shown[::-1].argmax(axis=0)
    begun = np.maximum(window[first], begin)
    return PartialPast(
        joints=_rested(places[:, kept], known[:, kept]),
        seen=known[:, kept],
        filled=int(filled[kept].sum()),
        hands=hands,
        motion_s=tuple((window[last] - begun).tolist()),
        lost_s=tuple((end - window[last]).tolist()),
    )


def _sample(
    joints: Joints,
    seen: Seen,
    times: Float[np.ndarray, " frames"],
    instants: Float[np.ndarray, " past"],
    max_gap: float,
) -> tuple[Float[np.ndarray, "past hands joints 3"], Bool[np.ndarray, "past hands joints"]]:
    """Interpolate every joint by itself; joints that were seen in the same frames are one group."""
    shape = (len(instants), *joints.shape[1:])
    places, known = np.full(shape, np.nan), np.zeros(shape[:3], bool)
    for hand in range(joints.shape[1]):
        columns = np.ascontiguousarray(seen[:, hand].T)
        groups: dict[bytes, list[int]] = {}
        for joint, column in enumerate(columns):
            groups.setdefault(column.tobytes(), []).append(joint)
        for group in groups.values():
            frames = np.flatnonzero(columns[group[0]])
            if not len(frames):
                continue
            good, left, right, weight = between(times[frames], instants, max_gap)
            weight = weight[:, None, None]
            before, after = (joints[frames[side][:, None], hand, group] for side in (left, right))
            rows = np.flatnonzero(good)[:, None]
            places[rows, hand, group] = (1 - weight) * before + weight * after
            known[rows, hand, group] = True
    return places, known


def _extended(
    joints: Joints, seen: Seen, times: Float[np.ndarray, " frames"], step: float
) -> tuple[
    Float[np.ndarray, "frames+1 hands joints 3"],
    Bool[np.ndarray, "frames+1 hands joints"],
    Float[np.ndarray, " frames+1"],
]:
    """Add a frame `step` before the last one: each joint on the line through the places where it was first and last seen."""
    first, last = seen.argmax(axis=0), len(seen) - 1 - seen[::-1].argmax(axis=0)
    moving = seen.any(axis=0) & (first < last)
    start, end = (np.take_along_axis(joints, at[None, :, :, None], axis=0) for at in (first, last))
    apart = np.where(moving, times[last] - times[first], 1.0)
    share = (times[last] - (times[-1] - step)) / apart
    earlier = end + share[None, :, :, None] * (start - end)
    return (
        np.concatenate([np.where(moving[None, :, :, None], earlier, np.nan), joints]),
        np.concatenate([moving[None], seen]),
        np.concatenate([[times[-1] - step], times]),
    )


def _rested(
    places: Float[np.ndarray, "past hands joints 3"], known: Bool[np.ndarray, "past hands joints"]
) -> Float[np.ndarray, "past hands joints 3"]:
    """Return the places with each joint at rest before it is first seen, between, and after it was last seen."""
    frames = np.arange(len(known))[:, None, None]
    source = np.maximum.accumulate(np.where(known, frames, -1), axis=0)
    source = np.where(source < 0, known.argmax(axis=0), source)
    return np.take_along_axis(places, source[..., None], axis=0)


def _filled(
    seen: Seen, times: Float[np.ndarray, " frames"], recent: Bool[np.ndarray, " frames"], max_gap: float
) -> Float[np.ndarray, " hands"]:
    """Return, for each hand, the number of recent frames without it that lie in a gap of at most `max_gap` seconds."""
    counts = np.zeros(seen.shape[1])
    shown = np.any(seen, axis=2)
    for hand, frames in enumerate(shown.T):
        missing = times[~frames & recent]
        if len(missing) and frames.any():
            counts[hand] = between(times[frames], missing, max_gap).good.sum()
    return counts


def _describe(
    twice: Bool[np.ndarray, "hands joints"], newer: Bool[np.ndarray, "hands joints"], window: Float[np.ndarray, " past"]
) -> str:
    """Describe why no hand was seen enough."""
    span = window[-1] - window[0]
    parts: list[str] = []
    for hand in range(len(twice)):
        name = f"the {LEFT_RIGHT[hand]} hand" if len(twice) == 2 else "the hand"
        count = int(twice[hand].sum())
        if count and not (twice & newer)[hand].any():
            parts.append(f"{name} was not seen in the last {LOST * span:.3f} s")
        else:
            parts.append(f"{count} of {twice.shape[1]} joints of {name} were seen twice in the last {span:.3f} s")
    return (
        f"so little was seen that no forecast is plausible: expected half of a hand's joints twice; {', '.join(parts)}"
    )
