"""From hands as a caller's tracker gives them to what a forecaster takes, and from its answer back to that form.

Coordinates are centred on the last pose in float64 before anything is cast to float32, so that a hand ten metres from
the origin is forecast as well as one at it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.task import HandForecast
from models.contract.units import to_metres
from models.motion.hands import (
    SNAP_S,
    HandClip,
    Past,
    future_to_fps,
    past_window,
)
from models.skeletons.hand import ASSEMBLY101, carried_joints, carry, convert, get_hand_order
from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, UnknownOrder
from service.http.problems import Problem
from service.tasks.fields import REACH_M
from service.tasks.hands.wire import HandsAsked, Points

ROUND_M = 1e-6

Poses = Float[np.ndarray, "frames hands joints 3"]


@dataclass(frozen=True)
class Question:
    """A request, checked and ready for a model. Lengths are metres from `centre`."""

    asked: HandsAsked
    order: Skeleton
    sides: tuple[str, ...]  # the arrays of the answer: future, or of left and right those asked for
    past: Past
    reference: Float[np.ndarray, "hands order_joints 3"]  # the last pose of the hands in `past`, in the caller's order
    centre: Float[np.ndarray, "3"]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The model's input, without a batch axis: (frames, nodes, 3), float32."""
        joints = self.past.joints
        return {"past": np.ascontiguousarray(joints.reshape(len(joints), -1, 3), dtype=np.float32)}


def prepare(asked: HandsAsked, task: HandForecast, max_gap_s: float, who: str) -> Question:
    """Check the request against the task of the model `who` and bring it to the model's order, unit and rate.

    Raises the problems of KINDS that are about hands, or the clip's TooFewFrames and GapTooLong.
    """
    options = asked.options
    try:
        order = get_hand_order(options.joints)
    except UnknownOrder as error:
        raise Problem.at("unknown-joints", asked.pointer("joints"), str(error)) from None
    hands, sides = _hands(asked, order)
    values = np.stack([hand.values for hand in hands], axis=1) * to_metres(options.units)
    seen = np.stack([_seen(hand) for hand in hands], axis=1)
    _check_numbers(asked, values, seen)
    _check_length(len(values), task, options.fps, who)
    centre = values[-1][seen[-1]].reshape(-1, 3).mean(axis=0) if seen[-1].any() else np.zeros(3)
    values = values - centre
    clip = HandClip(_to_assembly101(asked, values, seen, order, sides), seen, np.arange(len(values)) / options.fps)
    past = past_window(clip, task.past, task.fps, max_gap_s)
    if "past" in asked.arrays and len(past.hands) < clip.hands:
        absent = next(side for i, side in enumerate(LEFT_RIGHT) if i not in past.hands)
        raise Problem("gap-too-long", f"the {absent} hand is not in view; send left and right to forecast only one")
    return Question(asked, order, sides, past, values[-1, list(past.hands)], centre)


def answer(question: Question, future: Float[np.ndarray, "modes frames nodes 3"], task: HandForecast) -> dict[str, Any]:
    """The model's output in the caller's order, unit, rate and form, in float64, with times. Raises degenerate-hand."""
    options = question.asked.options
    if not np.isfinite(future).all():
        raise Problem("degenerate-hand", "the model has no finite forecast for these points")
    modes, last = future.astype(np.float64), question.past.joints[-1]
    forms, times = [], np.empty(0)
    for mode in modes.reshape(*modes.shape[:2], *last.shape):
        poses, times = future_to_fps(last, mode, task.fps, options.fps)
        forms.append(_in_form(question, _to_order(question, poses)))
    return {
        "fps": options.fps,
        "units": options.units,
        "joints": options.joints,
        "times": np.round(times, 6),
        **forms[0],
        "alternatives": forms[1:],
        "filled_frames": question.past.filled,
        "carried_joints": list(carried_joints(question.order)),
    }


def _hands(asked: HandsAsked, order: Skeleton) -> tuple[list[Points], tuple[str, ...]]:
    """One array a hand, and the names of the answer's arrays. Raises invalid-request or wrong-shape."""
    arrays, joints, hand = dict(asked.arrays), len(order.joints), asked.options.hand
    if not arrays or ("past" in arrays and len(arrays) > 1):
        raise Problem.at(
            "invalid-request", "", f"wanted past, or left and right; came {', '.join(arrays) or 'none of them'}"
        )
    for name, points in arrays.items():
        frames, nodes = points.values.shape[:2]
        if not _seen(points).any():
            arrays[name] = Points(np.full((frames, joints, 3), np.nan), points.seen)
        elif nodes not in ((joints, 2 * joints) if name == "past" else (joints,)):
            wanted = f"[frames][{joints}][3] for a hand in {order.name} order"
            wanted += f", [frames][{2 * joints}][3] for two" if name == "past" else ""
            raise Problem.at("wrong-shape", asked.pointer(name), f"wanted {wanted}; came [{frames}][{nodes}][3]")
    if "past" not in arrays:
        if hand:
            raise Problem.at(
                "invalid-request", asked.pointer("hand"), "says which hand `past` is, and there is no `past`"
            )
        if len({len(points.values) for points in arrays.values()}) > 1:
            lengths = " and ".join(f"{len(points.values)}" for points in arrays.values())
            raise Problem.at(
                "wrong-shape", asked.pointer("right"), f"wanted left and right as long; came {lengths} frames"
            )
        return list(arrays.values()), tuple(arrays)
    past = arrays["past"]
    if past.values.shape[1] == 2 * joints:
        if hand:
            raise Problem.at("invalid-request", asked.pointer("hand"), "is for one hand, and `past` has two")
        return [Points(half, past.seen) for half in np.split(past.values, 2, axis=1)], ("future",)
    if not hand and "palm_centre" not in order.joints:
        detail = f"one hand in {order.name} order wants hand left or right: its palm centre is computed, and has a side"
        raise Problem.at("invalid-request", asked.pointer("hand"), detail)
    return [past], ("future",)


def _seen(points: Points) -> Bool[np.ndarray, " frames"]:
    return points.seen if points.seen is not None else np.any(~np.isnan(points.values), axis=(1, 2))


def _check_numbers(asked: HandsAsked, metres: Poses, seen: Bool[np.ndarray, "frames hands"]) -> None:
    """Raise not-finite or out-of-range at the first number of a seen hand that is either."""
    bad = ~(np.abs(metres) <= REACH_M) & seen[:, :, None, None]
    if not bad.any():
        return
    frame, hand, joint, axis = (int(i) for i in np.argwhere(bad)[0])
    name = list(asked.arrays)[0 if "past" in asked.arrays else hand]
    node = joint + (hand * metres.shape[2] if name == "past" else 0)
    finite = np.isfinite(metres[frame, hand, joint, axis])
    detail = (
        f"is farther than {REACH_M:g} m from the origin in {asked.options.units}"
        if finite
        else "is not a finite number"
    )
    raise Problem.at("out-of-range" if finite else "not-finite", f"/{name}/{frame}/{node}/{axis}", detail)


def _check_length(frames: int, task: HandForecast, fps: float, who: str) -> None:
    """Raise too-few-frames, counting at the caller's rate."""
    span = (task.past - 1) / task.fps
    wanted = math.ceil((span - SNAP_S) * fps) + 1
    if frames < wanted:
        detail = f"{who} takes the last {span:.3f} s: at least {wanted} frames at {fps:g} fps; {frames} came"
        raise Problem("too-few-frames", detail)


def _to_assembly101(
    asked: HandsAsked, poses: Poses, seen: Bool[np.ndarray, "frames hands"], order: Skeleton, sides: tuple[str, ...]
) -> Poses:
    names = LEFT_RIGHT if poses.shape[1] == 2 else (asked.options.hand or sides[0],)
    with np.errstate(invalid="ignore", divide="ignore"):  # points in one line have no palm: found below
        converted = [convert(poses[:, i], order, ASSEMBLY101, _side(name)) for i, name in enumerate(names)]
    joints = np.stack(converted, axis=1)
    if not np.isfinite(joints[seen]).all():
        frame, hand = (int(i) for i in np.argwhere(~np.isfinite(joints).all(axis=(2, 3)) & seen)[0])
        raise Problem(
            "degenerate-hand", f"frame {frame}: wrist, index MCP and pinky MCP of hand {hand} are in one line"
        )
    return joints


def _side(name: str) -> Hand:
    """The hand of an array; that of `future` is not looked at, since no palm centre is computed there."""
    return "left" if name == "left" else "right"


def _to_order(question: Question, poses: Poses) -> Float[np.ndarray, "hands frames order_joints 3"]:
    """From Assembly101 metres around the centre to the caller's order, unit and place."""
    hands = np.swapaxes(poses, 0, 1)
    if question.order is not ASSEMBLY101:
        hands = np.stack(
            [carry(ref, hand, question.order) for ref, hand in zip(question.reference, hands, strict=True)]
        )
    scale = to_metres(question.asked.options.units)
    return np.round((hands + question.centre) / scale, round(-math.log10(ROUND_M / scale)))


def _in_form(question: Question, hands: Float[np.ndarray, "hands frames order_joints 3"]) -> dict[str, Any]:
    """`future` with hand beside hand, or `left` and `right`, None for one that is not in view."""
    if question.sides == ("future",):
        return {"future": np.ascontiguousarray(np.concatenate(list(hands), axis=1))}
    kept = dict(zip(question.past.hands, hands, strict=True))
    return {side: np.ascontiguousarray(kept[i]) if i in kept else None for i, side in enumerate(question.sides)}
