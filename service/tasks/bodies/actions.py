"""POST /actions/recognize and `chiron recognize`: clips of people to a recogniser's input, and its logits to classes."""

import csv
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from models.contract.task import ActionRecognition
from models.motion.bodies import AXES, box_of, boxed, cropped, evenly, facing, shown
from models.motion.plausible_bodies import check_extent, check_person
from models.motion.proportions import check_order
from models.motion.timing import even_timing
from models.skeletons.body import undefined_joints
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from models.skeletons.units import to_metres
from service.http.problems import Problem
from service.tasks.bodies.clips import ComputedClips, PreparedClips, answered, encode_clips
from service.tasks.bodies.keypoints import (
    Keypoints,
    check_enough,
    check_reach,
    even,
    in_order,
    keypoints_of,
    order_of,
    plausible,
    seen_or_missing,
    timing_of_request,
)
from service.tasks.bodies.schemas import ActionsOptions
from service.tasks.bodies.wire import Clip, DecodedClips
from service.tasks.endpoint import Encoded, Limits
from service.tasks.fields import REACH_M

CSV = "text/csv"
FAR = 1e9  # coordinates in two dimensions have any unit


@dataclass(frozen=True)
class ActionClip:
    """A clip of one person or several, checked: `tensors` are the model's input without a batch axis, float32."""

    options: ActionsOptions
    frames: int
    persons: list[int]  # those that the model is shown
    clipped: int
    tensors: list[Tensors]
    warnings: tuple[str, ...] = ()


def prepare(request: DecodedClips[ActionsOptions], model: BundleMeta, limits: Limits) -> PreparedClips[ActionClip]:
    """Check the request against the model's task and bring it to the model's order, unit and length. Raises problems.

    Gaps are not interpolated: the model is shown what is missing.
    """
    task = model.task
    assert isinstance(task, ActionRecognition), f"{model.name} recognises no actions"
    order, target = order_of(request), get_body_order(task.order)
    stamped = request.options.timestamps is not None
    timing = timing_of_request(request, limits.gap_s) if stamped else even_timing(1, 1.0)
    people, lost = answered(request, lambda clip: even(_checked(clip, order, target, task, request.options), timing))
    together = request.array == "persons"
    places = [index for index in range(len(request.clips)) if index not in lost]
    groups = [(people, places)] if together else [([one], [0]) for one in people]
    clips = [_prepared(group, at, request.options, target, task, model.name) for group, at in groups]
    clips = [replace(clip, warnings=timing.warnings + clip.warnings) for clip in clips]
    return PreparedClips(request, task, clips, lost, together)


def answer(clip: ActionClip, outputs: list[Tensors], task: ActionRecognition) -> dict[str, Any]:
    """Return the recognised class, None if the model is unsure, and the most probable classes. Raises not-finite."""
    logits = outputs[0]["logits"]
    if not np.isfinite(logits).all():
        raise Problem("not-finite", "the model has no finite answer for these keypoints")
    probabilities = task.probabilities(logits)
    best = np.argsort(-probabilities[:-1], kind="stable")[: clip.options.top]
    classes = [{"name": task.classes[i], "probability": round(float(probabilities[i]), 7)} for i in best]
    if task.mirrored is not None:
        mirrors = [task.classes[task.class_mirror[i]] for i in best]
        classes = [{**class_, "mirror": mirror} for class_, mirror in zip(classes, mirrors, strict=True)]
    return {
        "recognised": task.classes[best[0]] if task.recognises(probabilities) else None,
        **({"none_of_these": round(float(probabilities[-1]), 7)} if task.none else {}),
        "classes": classes,
        "persons": clip.persons,
        "frames": clip.frames,
        "clipped_confidences": clip.clipped,
    }


def describe(request: DecodedClips[ActionsOptions], task: ActionRecognition) -> dict[str, Any]:
    """Return what an answer says of all its clips."""
    lacking = undefined_joints(order_of(request), get_body_order(task.order))
    return {"joints": order_of(request).name, "missing_joints": list(lacking)}


def encode(computed: ComputedClips[ActionClip], model: BundleMeta, media: str) -> Encoded:
    """Return the answer in the form of a media type.

    .csv has one line for each class of each clip, and one for none of these if the model estimates that.
    """
    if media != CSV:
        return encode_clips(answer, describe, computed, model, media)
    writer = csv.writer(text := io.StringIO(), lineterminator="\n")
    writer.writerow(("clip", "class", "probability"))
    pairs = zip(computed.prepared.clips, computed.outputs, strict=True)
    for index, (clip, outputs) in enumerate(pairs):
        said = answer(clip, outputs, computed.prepared.task)
        rows = [(class_["name"], class_["probability"]) for class_ in said["classes"]]
        if "none_of_these" in said:
            rows.append(("none of these", said["none_of_these"]))
        writer.writerows((index, *row) for row in rows)
    return Encoded(text.getvalue().encode(), {})


def _prepared(
    people: list[Keypoints],
    places: list[int],
    options: ActionsOptions,
    target: Skeleton,
    task: ActionRecognition,
    model: str,
) -> ActionClip:
    """Return the model's input for people, `places` in the request, who are recognised together. Raises gap-too-long."""
    frames = len(people[0].points)
    if len(people) > task.persons:
        scores = [person.confidence.mean() for person in people]
        chosen = sorted(np.argsort(-np.array(scores), kind="stable")[: task.persons].tolist())
    else:
        chosen = list(range(len(people)))
    points = np.stack([people[i].points for i in chosen])
    confidence = np.stack([people[i].confidence for i in chosen])
    flat = points.reshape(-1, *points.shape[2:])
    if task.dims == 2:
        flat = boxed(flat, box_of(flat))
    else:
        flat = flat - _pelvis(people[chosen[0]], target, model)
        flat = facing(flat, target) if task.turned else flat
    numbers = shown(flat.reshape(points.shape), confidence)
    if task.tempo == "spread":
        numbers = numbers[:, evenly(frames, task.frames)]
    else:
        numbers = cropped(numbers, max(0, frames - task.frames) // 2, task.frames)
    tensor = np.zeros((task.persons, *numbers.shape[1:]), np.float32)
    tensor[: len(numbers)] = numbers
    clipped = sum(person.clipped for person in people)
    warnings = tuple(dict.fromkeys(text for person in people for text in person.warnings))
    return ActionClip(options, frames, [places[i] for i in chosen], clipped, [{"clips": tensor}], warnings)


def _checked(
    clip: Clip, order: Skeleton, target: Skeleton, task: ActionRecognition, options: ActionsOptions
) -> Keypoints:
    keypoints = keypoints_of(clip, order, task.dims)
    keypoints = seen_or_missing(keypoints) if task.dims == 3 else keypoints  # models in 2D learn from detectors' scores
    with plausible(clip.pointer):
        check_extent(keypoints.points)
    warnings = list(keypoints.warnings)
    if task.dims == 2:
        check_reach(keypoints, keypoints.points, FAR, f"expected at most {FAR:g} from 0")
    else:
        metres = keypoints.points * to_metres(options.units) @ AXES[options.axes]
        keypoints = replace(keypoints, points=metres)
        detail = f"expected at most {REACH_M:g} m from the origin in {options.units}; check `units`"
        check_reach(keypoints, metres, REACH_M, detail)
        with plausible(clip.pointer):
            warnings += check_person(metres, order, options.units)
    with plausible(clip.pointer):
        doubt = check_order(keypoints.points, order)
    known = in_order(keypoints, order, target)
    with plausible(clip.pointer):
        check_enough(known)
    return replace(known, warnings=(*warnings, *([doubt] if doubt else [])))


def _pelvis(person: Keypoints, target: Skeleton, model: str) -> Float[np.ndarray, "3"]:
    """Return the first position of the person's pelvis. Raises gap-too-long."""
    track = person.points[:, target.indices(("pelvis",))[0]]
    known = np.flatnonzero(np.isfinite(track).all(axis=-1))
    if not len(known):
        detail = (
            f"{model} measures from the first position of the pelvis; expected the pelvis or both hips, got neither"
        )
        raise Problem.at("gap-too-long", person.pointer, detail)
    return track[known[0]]
