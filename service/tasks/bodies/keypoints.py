"""Keypoints of a caller's detector to the form that models of bodies expect: checked, in their order, short gaps bridged.

Everything is float64, and weights depend on time alone, so that the mirror image of a request becomes exactly the mirror
image of the input.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.motion.bodies import at_places, resampled
from models.motion.hands import SNAP_S
from models.motion.missing import unseen_keypoints
from models.motion.timing import Timing
from models.skeletons.body import convert_body, convert_confidence, orders_with, undefined_joints
from models.skeletons.body_orders import BODIES, get_body_order
from models.skeletons.skeleton import Skeleton, UnknownOrder
from models.skeletons.units import Implausible
from service.http.problems import Problem
from service.tasks.bodies.wire import Clip, DecodedClips
from service.tasks.fields import timing

UNSURE = 0.2  # a keypoint with a lower confidence is no more than a guess of most detectors
LEAST_JOINTS = 6  # an arm, a leg or a torso alone fits any pose of the rest
MOST_CONFIDENT = 10.0  # a score above 1 is clipped up to here; a larger number is no score


@dataclass(frozen=True)
class Keypoints:
    """A clip's keypoints, NaN where missing, and their confidence, 0 where missing."""

    pointer: str
    points: Float[np.ndarray, "frames joints dims"]
    confidence: Float[np.ndarray, "frames joints"]
    filled: int = 0  # keypoints that were missing and are interpolated
    clipped: int = 0  # confidences above 1, which detectors of heatmaps give; they are 1 here
    warnings: tuple[str, ...] = ()

    @property
    def present(self) -> Bool[np.ndarray, "frames joints"]:
        """Return the mask of keypoints that are not missing."""
        return self.confidence > 0


def order_of(request: DecodedClips) -> Skeleton:
    """Return the request's joint order. Raises unknown-joints."""
    try:
        return get_body_order(request.options.joints)
    except UnknownOrder as error:
        raise Problem.at("unknown-joints", request.pointer("joints"), str(error)) from None


def timing_of_request(request: DecodedClips[Any], gap_s: float) -> Timing:
    """Return the times of a request's frames, which all its clips share where they are stated.

    Raises invalid-request, and gap-too-long for frames that are too far apart to interpolate between.
    """
    options, lengths = request.options, sorted({len(clip.values) for clip in request.clips})
    pointer = request.pointer("timestamps")
    if options.timestamps is not None and len(lengths) > 1:
        raise Problem.at("invalid-request", pointer, "expected clips of one length beside timestamps, got several")
    result = timing(options.fps, options.timestamps, lengths[0], pointer)
    frame, seconds = result.longest_step
    if not result.even and seconds > gap_s + SNAP_S:
        detail = (
            f"expected frames at most {gap_s:g} s apart, got {seconds:.3f} s from frame {frame} to the next; "
            "send the clip in two pieces"
        )
        raise Problem.at("gap-too-long", pointer, detail)
    return result


def even(keypoints: Keypoints, timing: Timing, *, from_end: bool = False) -> Keypoints:
    """Return the keypoints at even times, between the frames around by linear interpolation.

    A keypoint is missing where a frame that it depends on lacks it.
    """
    if timing.even:
        return keypoints
    places = timing.grid(from_end=from_end)
    points = at_places(keypoints.points, places)
    confidence = at_places(keypoints.confidence[..., None], places)[..., 0]
    return replace(keypoints, points=points, confidence=np.where(np.isfinite(points).all(axis=-1), confidence, 0.0))


def keypoints_of(clip: Clip, order: Skeleton, dims: int) -> Keypoints:
    """Check the clip and return its keypoints in `dims` dimensions.

    A keypoint of confidence 0 is missing, like null, and so is one of zeros or -1. Confidences above 1 are clipped.

    Raises wrong-shape, too-few-frames, not-finite, out-of-range, and gap-too-long if no person is visible.
    """
    values, count, joints = clip.values, clip.count, len(order.joints)
    if not len(values):
        raise Problem.at("too-few-frames", clip.pointer, "expected at least one frame, got none")
    if values.shape[1] not in (joints, 0):
        fitting = " or ".join(orders_with(values.shape[1]))
        detail = (
            f"expected [frames][{joints}] keypoints in {order.name} order, got [{values.shape[0]}][{values.shape[1]}]"
        )
        detail += f"; {values.shape[1]} joints fit {fitting}" if fitting else "; GET /joints lists the orders"
        raise Problem.at("wrong-shape", clip.pointer, detail)
    for frame, joint in np.argwhere((count > 0) & (count != dims) & (count != dims + 1))[:1]:
        detail = f"expected {dims} coordinates, with or without a confidence, got {count[frame, joint]} numbers"
        raise Problem.at("wrong-shape", f"{clip.pointer}/{frame}/{joint}", detail)
    points = values[..., :dims]
    given = (count > 0) & ~(clip.raw & np.isnan(points).all(axis=-1))
    confidence = np.where(count > dims, values[..., dims], 1.0)
    for frame, joint, axis in np.argwhere(~np.isfinite(points) & given[..., None])[:1]:
        detail = f"expected a finite number, got {points[frame, joint, axis]}"
        raise Problem.at("not-finite", f"{clip.pointer}/{frame}/{joint}/{axis}", detail)
    for frame, joint in np.argwhere(~((confidence >= 0) & (confidence <= MOST_CONFIDENT)) & given)[:1]:
        kind = "out-of-range" if np.isfinite(confidence[frame, joint]) else "not-finite"
        detail = f"expected a confidence from 0 to 1, got {confidence[frame, joint]:g}"
        raise Problem.at(kind, f"{clip.pointer}/{frame}/{joint}/{dims}", detail)
    clipped = int(np.count_nonzero((confidence > 1) & given))
    confidence = np.minimum(confidence, 1.0)
    given &= ~unseen_keypoints(points)
    present = given & (confidence > 0)
    if not present.any():
        raise Problem.at("gap-too-long", clip.pointer, "expected a person, got no keypoint in any frame")
    points, confidence = np.where(present[..., None], points, np.nan), np.where(present, confidence, 0.0)
    return Keypoints(clip.pointer, points, confidence, clipped=clipped)


def seen_or_missing(keypoints: Keypoints) -> Keypoints:
    """Return the keypoints with confidence 1, or missing where the detector gives less than UNSURE.

    Models that learnt from motion capture know no other confidences, and are far off where they are shown others. Detectors that
    give a place to every joint, seen or not, give those they guess a low confidence. Raises gap-too-long if no keypoint is left.
    """
    sure = keypoints.confidence >= UNSURE
    if not sure.any():
        detail = (
            f"expected keypoints with a confidence of {UNSURE:g} or more, got at most {keypoints.confidence.max():.2g}"
        )
        raise Problem.at("gap-too-long", keypoints.pointer, detail)
    warnings = keypoints.warnings
    if unsure := int(np.count_nonzero(keypoints.present & ~sure)):
        warnings += (f"{unsure} keypoints with a confidence below {UNSURE:g} were read as missing",)
    points = np.where(sure[..., None], keypoints.points, np.nan)
    return replace(keypoints, points=points, confidence=sure.astype(np.float64), warnings=warnings)


@contextmanager
def plausible(pointer: str) -> Iterator[None]:
    """Turn Implausible into the problem implausible at `pointer`."""
    try:
        yield
    except Implausible as error:
        raise Problem.at("implausible", pointer, str(error)) from None


def check_enough(keypoints: Keypoints) -> None:
    """Raise Implausible if so few joints are seen that they could be anything: less than LEAST_JOINTS in half of the frames."""
    counts = np.count_nonzero(keypoints.present, axis=1)
    counts = counts[counts > 0]  # a person may be out of sight
    if len(counts) and (usual := float(np.median(counts))) < LEAST_JOINTS:
        raise Implausible(f"expected {LEAST_JOINTS} joints of a person or more in most frames, got {usual:g}")


def check_reach(
    keypoints: Keypoints, distances: Float[np.ndarray, "frames joints dims"], limit: float, detail: str
) -> None:
    """Raise out-of-range at the first coordinate whose distance, in any measure, is beyond the limit."""
    for frame, joint, axis in np.argwhere(np.abs(distances) > limit)[:1]:
        raise Problem.at("out-of-range", f"{keypoints.pointer}/{frame}/{joint}/{axis}", detail)


def in_order(keypoints: Keypoints, order: Skeleton, target: Skeleton) -> Keypoints:
    """Convert the keypoints to the model's order; joints that the request cannot give are missing.

    Raises gap-too-long if no joint of the model's order is seen.
    """
    if order.name == target.name:
        return keypoints
    points = convert_body(keypoints.points, order, target, partial=True)
    confidence = convert_confidence(keypoints.confidence, order, target)
    if not (confidence > 0).any():
        detail = f"expected joints of {target.name} bodies, got none in any frame"
        raise Problem.at("gap-too-long", keypoints.pointer, detail)
    return replace(keypoints, points=points, confidence=confidence)


def bridged(keypoints: Keypoints, fps: float, gap_s: float) -> Keypoints:
    """Interpolate keypoints that are missing between two present ones at most `gap_s` apart.

    They are on the line between the two, with the lower confidence of the two.
    """
    points, confidence, filled = keypoints.points.copy(), keypoints.confidence.copy(), 0
    for joint in np.flatnonzero(keypoints.present.any(axis=0) & ~keypoints.present.all(axis=0)):
        frames, absent = np.flatnonzero(keypoints.present[:, joint]), np.flatnonzero(~keypoints.present[:, joint])
        place = np.searchsorted(frames, absent)
        inside = (place > 0) & (place < len(frames))
        absent, before, after = absent[inside], frames[place[inside] - 1], frames[place[inside]]
        short = after - before <= (gap_s + SNAP_S) * fps
        absent, before, after = absent[short], before[short], after[short]
        share = ((absent - before) / (after - before))[:, None]
        points[absent, joint] = (1 - share) * points[before, joint] + share * points[after, joint]
        confidence[absent, joint] = np.minimum(confidence[before, joint], confidence[after, joint])
        filled += len(absent)
    return replace(keypoints, points=points, confidence=confidence, filled=filled)


def at_rate(keypoints: Keypoints, fps: float, to: float) -> Keypoints:
    """Resample the keypoints to `to` frames a second from the first frame on.

    A keypoint is missing where a frame that it depends on lacks it.
    """
    points = resampled(keypoints.points, fps, to)
    confidence = resampled(keypoints.confidence[..., None], fps, to)[..., 0]
    return replace(keypoints, points=points, confidence=np.where(np.isfinite(points).all(axis=-1), confidence, 0.0))


def reverse(keypoints: Keypoints) -> Keypoints:
    """Return the keypoints backwards in time."""
    return replace(keypoints, points=keypoints.points[::-1], confidence=keypoints.confidence[::-1])


def check_joints(order: Skeleton, target: Skeleton, pointer: str, model: str) -> None:
    """Raise missing-joints if the order lacks joints of a model that takes no confidence."""
    if lacking := undefined_joints(order, target):
        fitting = ", ".join(name for name, other in BODIES.items() if not undefined_joints(other, target))
        detail = (
            f"{model} takes no confidence and expects {', '.join(lacking)}, which {order.name} bodies lack; "
            f"orders that have them: {fitting}"
        )
        raise Problem.at("missing-joints", pointer, detail)


def check_gaps(keypoints: Keypoints, target: Skeleton, model: str, gap_s: float) -> None:
    """Raise gap-too-long if a keypoint is still missing for a model that takes no confidence."""
    absent = [target.joints[joint] for joint in np.flatnonzero(~keypoints.present.all(axis=0))]
    if absent:
        detail = (
            f"{model} takes no confidence and expects {', '.join(absent)} in every frame; "
            f"gaps of at most {gap_s:g} s between two frames are interpolated"
        )
        raise Problem.at("gap-too-long", keypoints.pointer, detail)


def rounded(points: Float[np.ndarray, "..."], size: float) -> Float[np.ndarray, "..."]:
    """Round to a ten-millionth of `size` or less, which is below the rounding of float32."""
    return np.round(points, int(np.clip(7 - np.floor(np.log10(size)), 0, 300)))
