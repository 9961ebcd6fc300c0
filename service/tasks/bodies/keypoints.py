"""From keypoints as a caller's detector gives them to what models of bodies are shown: checked, in the model's order, short gaps bridged.

Everything is float64, and weights depend on time alone, so that the mirror image of a request becomes exactly the mirror image.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from models.motion.bodies import resampled
from models.motion.hands import SNAP_S
from models.skeletons.body import (
    convert_body,
    convert_confidence,
    get_body_order,
    undefined_joints,
)
from models.skeletons.skeleton import Skeleton, UnknownOrder
from service.http.problems import Problem
from service.tasks.bodies.wire import BodiesAsked, Clip


@dataclass(frozen=True)
class Keypoints:
    """A clip's keypoints, NaN where missing, and their confidence, 0 there; `filled` were missing and are interpolated."""

    pointer: str
    points: Float[np.ndarray, "frames joints dims"]
    confidence: Float[np.ndarray, "frames joints"]
    filled: int = 0

    @property
    def there(self) -> Bool[np.ndarray, "frames joints"]:
        return self.confidence > 0


def order_of(asked: BodiesAsked) -> Skeleton:
    """The request's joint order. Raises unknown-joints."""
    try:
        return get_body_order(asked.options.joints)
    except UnknownOrder as error:
        raise Problem.at("unknown-joints", asked.pointer("joints"), str(error)) from None


def keypoints_of(clip: Clip, order: Skeleton, dims: int) -> Keypoints:
    """The clip in numbers of so many dimensions. Raises wrong-shape, not-finite, out-of-range, or gap-too-long where nobody is seen.

    What has confidence 0 is missing, as what is null.
    """
    values, count, joints = clip.values, clip.count, len(order.joints)
    if not len(values):
        raise Problem.at("too-few-frames", clip.pointer, "wanted at least one frame; came none")
    if values.shape[1] not in (joints, 0):
        came = f"[{values.shape[0]}][{values.shape[1]}]"
        detail = f"wanted [frames][{joints}] keypoints in {order.name} order; came {came}"
        raise Problem.at("wrong-shape", clip.pointer, detail)
    for frame, joint in np.argwhere((count > 0) & (count != dims) & (count != dims + 1))[:1]:
        wanted = f"wanted {dims} coordinates, with or without a confidence; came {count[frame, joint]} numbers"
        raise Problem.at("wrong-shape", f"{clip.pointer}/{frame}/{joint}", wanted)
    points = values[..., :dims]
    given = (count > 0) & ~(clip.raw & np.isnan(points).all(axis=-1))
    confidence = np.where(count > dims, values[..., dims], 1.0)
    for frame, joint, number in np.argwhere(~np.isfinite(points) & given[..., None])[:1]:
        raise Problem.at("not-finite", f"{clip.pointer}/{frame}/{joint}/{number}", "is not a finite number")
    for frame, joint in np.argwhere(~((confidence >= 0) & (confidence <= 1)) & given)[:1]:
        finite = np.isfinite(confidence[frame, joint])
        detail = "is not a confidence from 0 to 1" if finite else "is not a finite number"
        kind = "out-of-range" if finite else "not-finite"
        raise Problem.at(kind, f"{clip.pointer}/{frame}/{joint}/{dims}", detail)
    there = given & (confidence > 0)
    if not there.any():
        raise Problem.at("gap-too-long", clip.pointer, "no keypoint is seen in any frame")
    return Keypoints(clip.pointer, np.where(there[..., None], points, np.nan), np.where(there, confidence, 0.0))


def check_reach(seen: Keypoints, far: Float[np.ndarray, "frames joints dims"], limit: float, said: str) -> None:
    """Raise out-of-range at the first number of `far`, a measure of each coordinate, that is beyond the limit."""
    for frame, joint, axis in np.argwhere(np.abs(far) > limit)[:1]:
        raise Problem.at("out-of-range", f"{seen.pointer}/{frame}/{joint}/{axis}", said)


def in_order(seen: Keypoints, order: Skeleton, wanted: Skeleton) -> Keypoints:
    """The keypoints in the model's order; what the request's cannot give is missing. Raises gap-too-long if that is all."""
    if order.name == wanted.name:
        return seen
    points = convert_body(seen.points, order, wanted, partial=True)
    confidence = convert_confidence(seen.confidence, order, wanted)
    if not (confidence > 0).any():
        raise Problem.at("gap-too-long", seen.pointer, f"no joint of {wanted.name} bodies is seen in any frame")
    return replace(seen, points=points, confidence=confidence)


def bridged(seen: Keypoints, fps: float, max_gap_s: float) -> Keypoints:
    """The keypoints with those that are missing between two seen ones at most `max_gap_s` apart on the line between them, and with the
    lower confidence of the two."""
    points, confidence, filled = seen.points.copy(), seen.confidence.copy(), 0
    for joint in np.flatnonzero(seen.there.any(axis=0) & ~seen.there.all(axis=0)):
        frames, absent = np.flatnonzero(seen.there[:, joint]), np.flatnonzero(~seen.there[:, joint])
        place = np.searchsorted(frames, absent)
        inside = (place > 0) & (place < len(frames))
        absent, before, after = absent[inside], frames[place[inside] - 1], frames[place[inside]]
        short = after - before <= (max_gap_s + SNAP_S) * fps
        absent, before, after = absent[short], before[short], after[short]
        share = ((absent - before) / (after - before))[:, None]
        points[absent, joint] = (1 - share) * points[before, joint] + share * points[after, joint]
        confidence[absent, joint] = np.minimum(confidence[before, joint], confidence[after, joint])
        filled += len(absent)
    return replace(seen, points=points, confidence=confidence, filled=filled)


def at_rate(seen: Keypoints, fps: float, to: float) -> Keypoints:
    """The keypoints at `to` frames a second from the first frame on; missing where a neighbour that counts is."""
    points = resampled(seen.points, fps, to)
    confidence = resampled(seen.confidence[..., None], fps, to)[..., 0]
    return replace(seen, points=points, confidence=np.where(np.isfinite(points).all(axis=-1), confidence, 0.0))


def reverse(seen: Keypoints) -> Keypoints:
    """Backwards in time."""
    return replace(seen, points=seen.points[::-1], confidence=seen.confidence[::-1])


def check_joints(order: Skeleton, wanted: Skeleton, pointer: str, who: str) -> None:
    """For a model that takes no confidence: raise missing-joints if the order lacks what it wants."""
    if lacking := undefined_joints(order, wanted):
        detail = f"{who} takes no confidence and wants {', '.join(lacking)}, which {order.name} bodies have not"
        raise Problem.at("missing-joints", pointer, detail)


def check_gaps(seen: Keypoints, wanted: Skeleton, who: str, max_gap_s: float) -> None:
    """For a model that takes no confidence: raise gap-too-long if a keypoint is still missing."""
    absent = [wanted.joints[joint] for joint in np.flatnonzero(~seen.there.all(axis=0))]
    if absent:
        detail = (
            f"{who} takes no confidence, and for too long there is no {', '.join(absent)}: "
            f"at most {max_gap_s:g} s between two frames in which one is seen are bridged"
        )
        raise Problem.at("gap-too-long", seen.pointer, detail)


def rounded(points: Float[np.ndarray, "..."], size: float) -> Float[np.ndarray, "..."]:
    """To a ten-millionth of `size` or less: below float32's own rounding."""
    return np.round(points, int(np.clip(7 - np.floor(np.log10(size)), 0, 300)))
