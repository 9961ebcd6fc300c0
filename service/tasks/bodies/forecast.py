"""POST /forecast/poses and `chiron forecast --of poses`: the last 2D poses to a forecaster's past, and its future back."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from models.contract.task import PoseForecast
from models.motion.bodies import box_of, boxed, shown
from models.motion.hands import future_to_fps
from models.motion.plausible_bodies import check_extent
from models.motion.proportions import check_order
from models.skeletons.body import convert_body, convert_confidence, undefined_joints
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from service.http.problems import Problem
from service.tasks.bodies.clips import PreparedClips, encode_clips, prepare_each
from service.tasks.bodies.keypoints import (
    Keypoints,
    at_rate,
    bridged,
    check_gaps,
    check_joints,
    check_reach,
    even,
    in_order,
    keypoints_of,
    order_of,
    plausible,
    reverse,
    rounded,
    seen_or_missing,
    timing_of_request,
)
from service.tasks.bodies.schemas import PosesOptions
from service.tasks.bodies.wire import Clip, DecodedClips
from service.tasks.endpoint import Limits

FAR = 1e9  # float64 keeps a ten-millionth of a unit there


@dataclass(frozen=True)
class ForecastClip:
    """A clip, checked: `tensors` are the model's input without a batch axis, float32, in units of the box."""

    fps: float
    order: Skeleton
    filled: int
    clipped: int
    box: tuple[Float[np.ndarray, "2"], float]
    seen: Bool[np.ndarray, " joints"]  # in some frame
    last: Float[np.ndarray, "joints 2"]  # the last pose in the model's order and box, NaN where missing
    tensors: list[Tensors]
    warnings: tuple[str, ...] = ()


def prepare(request: DecodedClips[PosesOptions], model: BundleMeta, limits: Limits) -> PreparedClips[ForecastClip]:
    """Check the request against the model's task and bring it to the model's order, unit and rate. Raises problems."""
    task = model.task
    assert isinstance(task, PoseForecast), f"{model.name} forecasts no poses"
    order, target = order_of(request), get_body_order(task.order)
    if not task.confidence:
        check_joints(order, target, request.pointer("joints"), model.name)
    timing = timing_of_request(request, limits.gap_s)

    def prepared(clip: Clip) -> ForecastClip:
        sent = seen_or_missing(keypoints_of(clip, order, 2))
        with plausible(clip.pointer):
            check_extent(sent.points)
        check_reach(sent, sent.points, FAR, f"expected at most {FAR:g} from 0")
        with plausible(clip.pointer):
            doubt = check_order(sent.points, order)
        steady = even(in_order(sent, order, target), timing, from_end=True)
        past = _past(bridged(steady, timing.fps, limits.gap_s), timing.fps, task, model.name)
        if not past.present.any():
            raise Problem.at(
                "gap-too-long", clip.pointer, f"expected joints that {model.name} knows in its past, got none"
            )
        if request.array == "persons" and not past.present[-1].any():
            frame = int(np.flatnonzero(sent.present.any(axis=1))[-1])
            raise Problem.at("gap-too-long", clip.pointer, f"last seen in frame {frame} of {len(sent.points)}")
        if not task.confidence:
            check_gaps(past, target, model.name, limits.gap_s)
        box = box_of(past.points)
        points = boxed(past.points, box)
        tensor = shown(points, past.confidence)[..., : 3 if task.confidence else 2]
        seen, last = np.asarray(past.present.any(axis=0)), points[-1].astype(np.float64)
        return ForecastClip(
            timing.fps,
            order,
            past.filled,
            sent.clipped,
            box,
            seen,
            last,
            [{"past": np.ascontiguousarray(tensor)}],
            timing.warnings + sent.warnings + ((doubt,) if doubt else ()),
        )

    return prepare_each(request, task, prepared)


def answer(clip: ForecastClip, outputs: list[Tensors], task: PoseForecast) -> dict[str, Any]:
    """Return the answer for one clip, in the caller's order, unit and rate, float64. Raises not-finite.

    Joints that the model does not know, or that were never seen, are NaN.
    """
    future, models_order = outputs[0]["future"].astype(np.float64), get_body_order(task.order)
    if not np.isfinite(future).all():
        raise Problem("not-finite", "the model has no finite forecast for these keypoints")
    last = np.where(np.isnan(clip.last), future[0], clip.last)
    assert task.fps is not None, "a model without a rate is not served"
    poses, times = future_to_fps(last, future, task.fps, clip.fps)
    middle, half = clip.box
    poses = convert_body(poses * half + middle, models_order, clip.order, partial=True)
    known = convert_confidence(clip.seen.astype(np.float64), models_order, clip.order) > 0
    poses[:, ~known] = np.nan
    return {
        "times": np.round(times, 6),
        "future": rounded(poses, half),
        "filled_keypoints": clip.filled,
        "clipped_confidences": clip.clipped,
        "unforecast_joints": [joint for joint, is_known in zip(clip.order.joints, known, strict=True) if not is_known],
    }


def describe(request: DecodedClips[PosesOptions], task: PoseForecast) -> dict[str, Any]:
    """Return what an answer says of all its clips."""
    lacking = undefined_joints(order_of(request), get_body_order(task.order))
    fps = request.options.fps or timing_of_request(request, np.inf).fps
    return {"fps": fps, "joints": order_of(request).name, "missing_joints": list(lacking)}


encode = partial(encode_clips, answer, describe)


def _past(keypoints: Keypoints, fps: float, task: PoseForecast, model: str) -> Keypoints:
    """Return the model's past, which ends with the last frame. Raises too-few-frames."""
    assert task.fps is not None, "a model without a rate is not served"
    backwards = at_rate(reverse(keypoints), fps, task.fps)
    if len(backwards.points) < task.past:
        span = (task.past - 1) / task.fps
        least = math.ceil(span * fps - 1e-6) + 1
        detail = f"expected at least {least} frames at {fps:g} fps, since {model} needs the last {span:.3f} s"
        raise Problem.at("too-few-frames", keypoints.pointer, f"{detail}; got {len(keypoints.points)}")
    points, confidence = backwards.points[: task.past], backwards.confidence[: task.past]
    return reverse(Keypoints(keypoints.pointer, points, confidence, backwards.filled))
