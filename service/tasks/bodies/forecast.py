"""A second of 2D keypoints to what a forecaster of poses takes, and from its answer back to the caller's order, unit and rate."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.symmetry import Tensors
from models.contract.task import PoseForecast
from models.motion.bodies import box_of, boxed, shown
from models.motion.hands import future_to_fps
from models.skeletons.body import (
    convert_body,
    convert_confidence,
    get_body_order,
    undefined_joints,
)
from models.skeletons.skeleton import Skeleton
from service.http.problems import Problem
from service.tasks.bodies.keypoints import (
    Keypoints,
    at_rate,
    bridged,
    check_gaps,
    check_joints,
    check_reach,
    in_order,
    keypoints_of,
    order_of,
    reverse,
    rounded,
)
from service.tasks.bodies.schemas import PosesOptions
from service.tasks.bodies.wire import BodiesAsked

FAR = 1e9  # float64 keeps a ten-millionth of a unit there


@dataclass(frozen=True)
class Question:
    """A clip, checked: `tensors` are the model's input, without a batch axis, float32, in units of the box."""

    options: PosesOptions
    order: Skeleton
    filled: int
    box: tuple[Float[np.ndarray, "2"], float]
    seen: Bool[np.ndarray, " joints"]  # in some frame
    last: Float[np.ndarray, "joints 2"]  # the last pose as the model has it, NaN where missing
    tensors: list[Tensors]


def prepare(asked: BodiesAsked[PosesOptions], task: PoseForecast, max_gap_s: float, who: str) -> list[Question]:
    """Check the request against the task of the model `who` and bring it to the model's order, unit and rate. Raises problems."""
    order, wanted = order_of(asked), get_body_order(task.order)
    if not task.confidence:
        check_joints(order, wanted, asked.pointer("joints"), who)
    questions = []
    for clip in asked.clips:
        seen = keypoints_of(clip, order, 2)
        check_reach(seen, seen.points, FAR, f"is farther than {FAR:g} from 0")
        past = _past(bridged(in_order(seen, order, wanted), asked.options.fps, max_gap_s), asked, task, who)
        if not past.there.any():
            raise Problem.at("gap-too-long", clip.pointer, f"no joint that {who} knows is seen in its past")
        if not task.confidence:
            check_gaps(past, wanted, who, max_gap_s)
        box = box_of(past.points)
        points = boxed(past.points, box)
        tensor = shown(points, past.confidence)[..., : 3 if task.confidence else 2]
        tensors: list[Tensors] = [{"past": np.ascontiguousarray(tensor)}]
        last, ever = points[-1].astype(np.float64), np.asarray(past.there.any(axis=0))
        questions.append(Question(asked.options, order, past.filled, box, ever, last, tensors))
    return questions


def answer(question: Question, outputs: list[Tensors], task: PoseForecast) -> dict[str, Any]:
    """The model's poses in the caller's order, unit and rate, float64; NaN for joints that it does not know or that were never seen."""
    future, ours = outputs[0]["future"].astype(np.float64), get_body_order(task.order)
    if not np.isfinite(future).all():
        raise Problem("not-finite", "the model has no finite forecast for these keypoints")
    last = np.where(np.isnan(question.last), future[0], question.last)
    assert task.fps is not None, "a model without a rate is not served"
    poses, times = future_to_fps(last, future, task.fps, question.options.fps)
    middle, half = question.box
    poses = convert_body(poses * half + middle, ours, question.order, partial=True)
    known = convert_confidence(question.seen.astype(np.float64), ours, question.order) > 0
    poses[:, ~known] = np.nan
    return {
        "times": np.round(times, 6),
        "future": rounded(poses, half),
        "filled_keypoints": question.filled,
        "unforecast_joints": [joint for joint, is_ in zip(question.order.joints, known, strict=True) if not is_],
    }


def about(asked: BodiesAsked[PosesOptions], task: PoseForecast) -> dict[str, Any]:
    """What an answer says of all its clips."""
    lacking = undefined_joints(order_of(asked), get_body_order(task.order))
    return {"fps": asked.options.fps, "joints": asked.options.joints, "missing_joints": list(lacking)}


def _past(seen: Keypoints, asked: BodiesAsked[PosesOptions], task: PoseForecast, who: str) -> Keypoints:
    """The model's past, which ends with the last frame. Raises too-few-frames."""
    fps = asked.options.fps
    assert task.fps is not None, "a model without a rate is not served"
    backwards = at_rate(reverse(seen), fps, task.fps)
    if len(backwards.points) < task.past:
        span = (task.past - 1) / task.fps
        wanted = math.ceil(span * fps - 1e-6) + 1
        detail = f"{who} takes the last {span:.3f} s: at least {wanted} frames at {fps:g} fps; {len(seen.points)} came"
        raise Problem.at("too-few-frames", seen.pointer, detail)
    recent = Keypoints(seen.pointer, backwards.points[: task.past], backwards.confidence[: task.past], backwards.filled)
    return reverse(recent)
