"""POST /poses/lift and `chiron lift`: 2D keypoints to a lifter's windows, and its poses back to the caller's frames."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from models.contract.task import PoseLift
from models.motion.bodies import at_places, edge_padded, normalise, shown
from models.motion.bones import scaled_body, steady_body
from models.motion.plausible_bodies import check_in_image
from models.motion.proportions import check_order
from models.skeletons.body import undefined_joints
from models.skeletons.body_orders import get_body_order
from service.http.problems import Problem
from service.tasks.bodies.clips import PreparedClips, encode_clips, prepare_each
from service.tasks.bodies.keypoints import (
    Keypoints,
    at_rate,
    bridged,
    check_enough,
    check_gaps,
    check_joints,
    check_reach,
    even,
    in_order,
    keypoints_of,
    order_of,
    plausible,
    rounded,
    seen_or_missing,
    timing_of_request,
)
from service.tasks.bodies.schemas import LiftOptions
from service.tasks.bodies.wire import Clip, DecodedClips
from service.tasks.endpoint import Limits

CHUNK = 512  # poses of one call: some milliseconds of a core, so that other requests come in between
FAR = 20.0  # half widths of the image from its middle: no camera has a keypoint there


@dataclass(frozen=True)
class LiftClip:
    """A clip, checked: `tensors` are the inputs for consecutive stretches, without a batch axis, float32."""

    times: Float[np.ndarray, " frames"]  # of the frames of the request, in seconds from the first
    fps: float
    filled: int
    unseen: list[int]
    clipped: int
    tensors: list[Tensors]
    options: LiftOptions
    warnings: tuple[str, ...] = ()


def prepare(request: DecodedClips[LiftOptions], model: BundleMeta, limits: Limits) -> PreparedClips[LiftClip]:
    """Check the request against the model's task and bring it to the model's order, unit and rate. Raises problems."""
    task, options = model.task, request.options
    assert isinstance(task, PoseLift), f"{model.name} lifts no poses"
    order, target = order_of(request), get_body_order(task.seen_order)
    if not task.confidence:
        check_joints(order, target, request.pointer("joints"), model.name)
    timing = timing_of_request(request, limits.gap_s)

    def prepared(clip: Clip) -> LiftClip:
        seen = seen_or_missing(keypoints_of(clip, order, 2))
        with plausible(clip.pointer):
            check_in_image(seen.points, options.image)
        points = normalise(seen.points, options.image)
        check_reach(seen, points, FAR, f"expected at most {FAR / 2:g} image widths from the middle; check `image`")
        with plausible(clip.pointer):
            doubt = check_order(seen.points, order)
        unseen = np.flatnonzero(~seen.present.any(axis=1)).tolist()
        normal = Keypoints(seen.pointer, points, seen.confidence)
        known = in_order(normal, order, target)
        with plausible(clip.pointer):
            check_enough(known)
        ready = bridged(even(known, timing), timing.fps, limits.gap_s)
        if not task.confidence:
            check_gaps(ready, target, model.name, limits.gap_s)
        tensors = _stretches(_at_models_rate(ready, timing.fps, task.fps), task)
        times = timing.times if options.timestamps else np.arange(len(clip.values)) / timing.fps
        warnings = timing.warnings + seen.warnings + ((doubt,) if doubt else ())
        return LiftClip(times, timing.fps, ready.filled, unseen, seen.clipped, tensors, options, warnings)

    return prepare_each(request, task, prepared)


def poses_of(clip: LiftClip, outputs: list[Tensors], task: PoseLift) -> Float[np.ndarray, "frames joints 3"]:
    """Return poses at the caller's frames, in metres, float64, of the height and with the bones asked for. Raises not-finite."""
    poses = np.concatenate([output["poses"] for output in outputs]).astype(np.float64)
    if not np.isfinite(poses).all():
        raise Problem("not-finite", "the model has no finite poses for these keypoints")
    order, poses = get_body_order(task.order), at_places(poses, np.round(clip.times * task.fps, 6))
    if clip.options.keep_bones:
        poses = steady_body(poses, order)
    if clip.options.height is not None:
        poses = scaled_body(poses, order, clip.options.height)
    return rounded(poses, 1.0)


def answer(clip: LiftClip, outputs: list[Tensors], task: PoseLift) -> dict[str, Any]:
    """Return the answer for one clip. Raises not-finite."""
    return {
        "times": np.round(clip.times, 6),
        "poses": poses_of(clip, outputs, task),
        "filled_keypoints": clip.filled,
        "unseen_frames": clip.unseen,
        "clipped_confidences": clip.clipped,
    }


def describe(request: DecodedClips[LiftOptions], task: PoseLift) -> dict[str, Any]:
    """Return what an answer says of all its clips."""
    return {
        "fps": request.options.fps or timing_of_request(request, np.inf).fps,
        "units": "m",
        "axes": "camera",
        "joints": task.order,
        "names": list(get_body_order(task.order).joints),
        "missing_joints": list(undefined_joints(order_of(request), get_body_order(task.seen_order))),
    }


encode = partial(encode_clips, answer, describe)


def _at_models_rate(keypoints: Keypoints, fps: float, to: float) -> Float[np.ndarray, "new joints 3"]:
    """Resample to the model's rate, at least up to the last frame, which is repeated after that."""
    frames, more = len(keypoints.points), math.ceil(fps / to)
    extended = Keypoints(
        keypoints.pointer,
        np.concatenate([keypoints.points, keypoints.points[-1:].repeat(more, axis=0)]),
        np.concatenate([keypoints.confidence, keypoints.confidence[-1:].repeat(more, axis=0)]),
    )
    new = at_rate(extended, fps, to)
    count = math.ceil((frames - 1) * to / fps - 1e-6) + 1
    return shown(new.points, new.confidence)[:count]


def _stretches(keypoints: Float[np.ndarray, "new joints 3"], task: PoseLift) -> list[Tensors]:
    """Return windows of at most CHUNK poses, each with the frames around it that its first and last poses depend on."""
    padded, around = edge_padded(keypoints[..., : 3 if task.confidence else 2], task.receptive), task.receptive - 1
    starts = range(0, len(keypoints), CHUNK)
    return [{"keypoints": np.ascontiguousarray(padded[start : start + CHUNK + around])} for start in starts]
