"""A clip of 2D keypoints to what a lifter takes, window by window, and from its poses back to the caller's frames."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.symmetry import Tensors
from models.contract.task import PoseLift
from models.motion.bodies import (
    edge_padded,
    normalise,
    resampled,
    shown,
)
from models.skeletons.body import get_body_order, undefined_joints
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
    rounded,
)
from service.tasks.bodies.schemas import LiftOptions
from service.tasks.bodies.wire import BodiesAsked

CHUNK = 512  # poses of one call: some milliseconds of a core, so that a long clip lets others in between
FAR = 20.0  # half widths of the image from its middle; no camera's keypoint is there


@dataclass(frozen=True)
class Question:
    """A clip, checked: `tensors` are the model's inputs for one stretch after the other, without a batch axis, float32."""

    options: LiftOptions
    frames: int
    filled: int
    unseen: list[int]
    tensors: list[Tensors]


def prepare(asked: BodiesAsked[LiftOptions], task: PoseLift, max_gap_s: float, who: str) -> list[Question]:
    """Check the request against the task of the model `who` and bring it to the model's order, unit and rate. Raises problems."""
    order, wanted = order_of(asked), get_body_order(task.seen_order)
    if not task.confidence:
        check_joints(order, wanted, asked.pointer("joints"), who)
    questions = []
    for clip in asked.clips:
        seen = keypoints_of(clip, order, 2)
        points = normalise(seen.points, asked.options.image)
        check_reach(seen, points, FAR, f"is farther than {FAR / 2:g} image widths from the middle of the image")
        unseen = np.flatnonzero(~seen.there.any(axis=1)).tolist()
        normal = Keypoints(seen.pointer, points, seen.confidence)
        ready = bridged(in_order(normal, order, wanted), asked.options.fps, max_gap_s)
        if not task.confidence:
            check_gaps(ready, wanted, who, max_gap_s)
        tensors = _stretches(_at_models_rate(ready, asked.options.fps, task.fps), task)
        questions.append(Question(asked.options, len(clip.values), ready.filled, unseen, tensors))
    return questions


def answer(question: Question, outputs: list[Tensors], task: PoseLift) -> dict[str, Any]:
    """The model's poses at the caller's frames, in metres, float64."""
    poses = np.concatenate([output["poses"] for output in outputs]).astype(np.float64)
    if not np.isfinite(poses).all():
        raise Problem("not-finite", "the model has no finite poses for these keypoints")
    return {
        "times": np.round(np.arange(question.frames) / question.options.fps, 6),
        "poses": rounded(resampled(poses, task.fps, question.options.fps)[: question.frames], 1.0),
        "filled_keypoints": question.filled,
        "unseen_frames": question.unseen,
    }


def about(asked: BodiesAsked[LiftOptions], task: PoseLift) -> dict[str, Any]:
    """What an answer says of all its clips."""
    lacking = undefined_joints(order_of(asked), get_body_order(task.seen_order))
    names = list(get_body_order(task.order).joints)
    return {
        "fps": asked.options.fps,
        "units": "m",
        "joints": task.order,
        "names": names,
        "missing_joints": list(lacking),
    }


def _at_models_rate(seen: Keypoints, fps: float, to: float) -> Float[np.ndarray, "new joints 3"]:
    """What the model is shown, at its rate, at least up to the last frame; after that the last one stays."""
    frames, more = len(seen.points), math.ceil(fps / to)
    stays = Keypoints(
        seen.pointer,
        np.concatenate([seen.points, seen.points[-1:].repeat(more, axis=0)]),
        np.concatenate([seen.confidence, seen.confidence[-1:].repeat(more, axis=0)]),
    )
    there = at_rate(stays, fps, to)
    count = math.ceil((frames - 1) * to / fps - 1e-6) + 1
    return shown(there.points, there.confidence)[:count]


def _stretches(keypoints: Float[np.ndarray, "new joints 3"], task: PoseLift) -> list[Tensors]:
    """Windows of at most CHUNK poses each, with the frames around that the poses at their ends depend on."""
    padded, around = edge_padded(keypoints[..., : 3 if task.confidence else 2], task.receptive), task.receptive - 1
    starts = range(0, len(keypoints), CHUNK)
    return [{"keypoints": np.ascontiguousarray(padded[start : start + CHUNK + around])} for start in starts]
