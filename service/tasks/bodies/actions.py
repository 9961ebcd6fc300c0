"""Clips of people to what a recogniser of actions takes, and from its logits to the classes they make probable."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.symmetry import Tensors
from models.contract.task import ActionRecognition
from models.contract.units import to_metres
from models.motion.bodies import (
    box_of,
    boxed,
    cropped,
    evenly,
    facing,
    shown,
)
from models.skeletons.body import get_body_order, undefined_joints
from models.skeletons.skeleton import Skeleton
from service.http.problems import Problem
from service.tasks.bodies.keypoints import (
    Keypoints,
    check_reach,
    in_order,
    keypoints_of,
    order_of,
)
from service.tasks.bodies.schemas import ActionsOptions
from service.tasks.bodies.wire import BodiesAsked, Clip
from service.tasks.fields import REACH_M

FAR = 1e9  # two dimensions are in any unit


@dataclass(frozen=True)
class Question:
    """A clip, checked: `tensors` are the model's input, without a batch axis, float32."""

    options: ActionsOptions
    frames: int
    persons: list[int]
    tensors: list[Tensors]


def prepare(asked: BodiesAsked[ActionsOptions], task: ActionRecognition, max_gap_s: float, who: str) -> list[Question]:
    """Check the request against the task of the model `who` and bring it to the model's order, unit and length. Raises problems.

    No gap is bridged: the model is told what is missing.
    """
    order, wanted = order_of(asked), get_body_order(task.order)
    together = [asked.clips] if asked.array == "persons" else [[clip] for clip in asked.clips]
    return [_question(clips, asked.options, order, wanted, task, who) for clips in together]


def answer(question: Question, outputs: list[Tensors], task: ActionRecognition) -> dict[str, Any]:
    """The most probable classes."""
    logits = outputs[0]["logits"].astype(np.float64)
    if not np.isfinite(logits).all():
        raise Problem("not-finite", "the model has no finite answer for these keypoints")
    odds = np.exp(logits - logits.max())
    probabilities = odds / odds.sum()
    best = np.argsort(-probabilities, kind="stable")[: question.options.top]
    classes = [{"name": task.classes[i], "probability": round(float(probabilities[i]), 7)} for i in best]
    if task.mirrored is not None:
        classes = [
            {**class_, "mirror": task.classes[task.class_mirror[i]]} for class_, i in zip(classes, best, strict=True)
        ]
    return {"classes": classes, "persons": question.persons, "frames": question.frames}


def about(asked: BodiesAsked[ActionsOptions], task: ActionRecognition) -> dict[str, Any]:
    """What an answer says of all its clips."""
    lacking = undefined_joints(order_of(asked), get_body_order(task.order))
    return {"joints": asked.options.joints, "missing_joints": list(lacking)}


def _question(
    clips: list[Clip], options: ActionsOptions, order: Skeleton, wanted: Skeleton, task: ActionRecognition, who: str
) -> Question:
    if len(lengths := {len(clip.values) for clip in clips}) > 1:
        raise Problem.at("wrong-shape", "/persons", f"wanted as many frames of each; came {sorted(lengths)}")
    people, frames = [_checked(clip, order, wanted, task, options) for clip in clips], lengths.pop()
    if len(people) > task.persons:
        scores = [person.confidence.mean() for person in people]
        kept = sorted(np.argsort(-np.array(scores), kind="stable")[: task.persons].tolist())
    else:
        kept = list(range(len(people)))
    points = np.stack([people[i].points for i in kept])
    confidence = np.stack([people[i].confidence for i in kept])
    flat = points.reshape(-1, *points.shape[2:])
    if task.dims == 2:
        flat = boxed(flat, box_of(flat))
    else:
        flat = flat - _pelvis(people[kept[0]], wanted, who)
        flat = facing(flat, wanted) if task.turned else flat
    there = shown(flat.reshape(points.shape), confidence)
    if task.tempo == "spread":
        there = there[:, evenly(frames, task.frames)]
    else:
        there = cropped(there, max(0, frames - task.frames) // 2, task.frames)
    clip = np.zeros((task.persons, *there.shape[1:]), np.float32)
    clip[: len(there)] = there
    return Question(options, frames, kept, [{"clips": clip}])


def _checked(
    clip: Clip, order: Skeleton, wanted: Skeleton, task: ActionRecognition, options: ActionsOptions
) -> Keypoints:
    seen = keypoints_of(clip, order, task.dims)
    if task.dims == 2:
        check_reach(seen, seen.points, FAR, f"is farther than {FAR:g} from 0")
    else:
        seen = Keypoints(seen.pointer, seen.points * to_metres(options.units), seen.confidence)
        check_reach(seen, seen.points, REACH_M, f"is farther than {REACH_M:g} m from the origin in {options.units}")
    return in_order(seen, order, wanted)


def _pelvis(person: Keypoints, wanted: Skeleton, who: str) -> Float[np.ndarray, "3"]:
    """Where the person's pelvis is at first. Raises gap-too-long."""
    track = person.points[:, wanted.indices(("pelvis",))[0]]
    known = np.flatnonzero(np.isfinite(track).all(axis=-1))
    if not len(known):
        detail = f"{who} sees people from where their pelvis is at first, and neither it nor both hips are ever seen"
        raise Problem.at("gap-too-long", person.pointer, detail)
    return track[known[0]]
