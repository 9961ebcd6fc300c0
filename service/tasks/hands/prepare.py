"""Hands in a caller's form to the input of a forecaster, and its output back to that form.

Coordinates are centred on the last pose in float64 before the cast to float32, so that a forecast ten metres from the
origin is as accurate as one at the origin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.bundle import BundleMeta
from models.contract.task import HandForecast
from models.motion.hands import SNAP_S, HandClip, Past, future_to_fps, past_window
from models.motion.missing import unseen_hands
from models.motion.plausible_hands import check_hand, check_side
from models.skeletons.hand import ASSEMBLY101, carried_joints, carry, convert, get_hand_order, orders_with
from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, UnknownOrder
from models.skeletons.units import Implausible, to_metres
from service.http.problems import Problem
from service.tasks.endpoint import Limits, Steps
from service.tasks.fields import REACH_M, timing
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.wire import DecodedHands, Points

ROUND_M = 1e-6  # a micrometre: below every tracker's noise

Poses = Float[np.ndarray, "frames hands joints 3"]


@dataclass(frozen=True)
class PreparedHands:
    """A request, checked and in the model's form. Lengths are in metres from `centre`."""

    request: DecodedHands  # without its arrays
    task: HandForecast
    order: Skeleton
    sides: tuple[str, ...]  # the arrays of the answer: future, or those of left and right that the request has
    fps: float
    past: Past
    reference: Float[np.ndarray, "hands order_joints 3"]  # the last pose of the hands in `past`, in the caller's order
    centre: Float[np.ndarray, "3"]
    warnings: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the model's inputs without a batch axis, float32: poses (frames, nodes, 3), all of them seen."""
        joints = self.past.joints
        past = np.ascontiguousarray(joints.reshape(len(joints), -1, 3), dtype=np.float32)
        return {"past": past, "seen": np.ones(past.shape[:2], np.float32)} if self.task.masked else {"past": past}


@dataclass(frozen=True)
class HandsForecast:
    """The model's forecast: Assembly101 joints in metres from the centre, at the model's rate."""

    prepared: PreparedHands
    modes: Float[np.ndarray, "modes frames hands joints 3"]


def prepare(request: DecodedHands, model: BundleMeta, limits: Limits) -> PreparedHands:
    """Check the request against the model's task and bring it to the model's order, unit and rate.

    Raises TooFewFrames, GapTooLong and the problems about hands.
    """
    task, options = model.task, request.options
    assert isinstance(task, HandForecast), f"{model.name} forecasts no hands"
    try:
        order = get_hand_order(options.joints)
    except UnknownOrder as error:
        raise Problem.at("unknown-joints", request.pointer("joints"), str(error)) from None
    hands, sides = _hands(request, order)
    times = timing(options.fps, options.timestamps, len(hands[0].values), request.pointer("timestamps"))
    values = np.stack([hand.values for hand in hands], axis=1) * _to_metres(options)
    seen = np.stack([_seen(hand) for hand in hands], axis=1)
    _check_numbers(request, values, seen)
    seen &= ~np.stack([unseen_hands(values[:, i]) for i in range(len(hands))], axis=1)
    doubts = _check_plausible(request, values, seen, order, _names(request, len(hands), sides))
    if options.timestamps is None:
        _check_length(len(values), task, times.fps, model.name)
    centre = values[-1][seen[-1]].reshape(-1, 3).mean(axis=0) if seen[-1].any() else np.zeros(3)
    values = values - centre
    clip = HandClip(_to_assembly101(request, values, seen, order, sides), seen, times.times)
    if "past" not in request.arrays and not seen.any():
        past = Past(np.empty((task.past, 0, *clip.joints.shape[2:])), 0, ())  # both hands of the answer are null
    else:
        past = past_window(clip, task.past, task.fps, limits.gap_s)
    if "past" in request.arrays and len(past.hands) < clip.hands:
        sides = LEFT_RIGHT  # one array cannot express that one of its two hands is missing
    without_arrays = replace(request, arrays={})  # the past is prepared: only the options are needed from here on
    return PreparedHands(
        without_arrays,
        task,
        order,
        sides,
        times.fps,
        past,
        values[-1, list(past.hands)],
        centre,
        (*times.warnings, *doubts),
    )


def steps(prepared: PreparedHands) -> Steps[HandsForecast]:
    """Ask the network once, or not at all if no hand was seen. Raises degenerate-hand where its answer is not finite."""
    task = prepared.task
    if prepared.past.hands:
        (output,) = yield [prepared.tensors]
        future = output["future"]
    else:
        future = np.empty((task.modes, task.future, 0, 3))
    if not np.isfinite(future).all():
        raise Problem("degenerate-hand", "the model has no finite forecast for these points")
    return HandsForecast(
        prepared, future.astype(np.float64).reshape(*future.shape[:2], *prepared.past.joints.shape[1:])
    )


def document(forecast: HandsForecast) -> dict[str, Any]:
    """Return the forecast in the caller's order, unit, rate and form, float64, with its times."""
    prepared = forecast.prepared
    options, last = prepared.request.options, prepared.past.joints[-1]
    modes, times = [], np.empty(0)
    for mode in forecast.modes:
        poses, times = future_to_fps(last, mode, prepared.task.fps, prepared.fps)
        modes.append(_by_side(prepared, _to_order(prepared, poses)))
    return {
        "fps": prepared.fps,
        "units": options.units,
        "axes": options.axes,
        "joints": prepared.order.name,
        "times": np.round(times, 6),
        **modes[0],
        "alternatives": modes[1:],
        "filled_frames": prepared.past.filled,
        "warnings": list(prepared.warnings),
        "carried_joints": list(carried_joints(prepared.order)),
    }


def _hands(request: DecodedHands, order: Skeleton) -> tuple[list[Points], tuple[str, ...]]:
    """Return one array for each hand, and the names of the answer's arrays. Raises invalid-request and wrong-shape."""
    arrays, joints, hand = dict(request.arrays), len(order.joints), request.options.hand
    if not arrays or ("past" in arrays and len(arrays) > 1):
        detail = f"expected past, or left and right, got {', '.join(arrays) or 'none of them'}"
        raise Problem.at("invalid-request", "", detail)
    for name, points in arrays.items():
        frames, nodes = points.values.shape[:2]
        if not _seen(points).any():
            arrays[name] = Points(np.full((frames, joints, 3), np.nan), points.seen)
        elif nodes not in ((joints, 2 * joints) if name == "past" else (joints,)):
            expected = f"[frames][{joints}][3] for a hand in {order.name} order"
            expected += f" or [frames][{2 * joints}][3] for two" if name == "past" else ""
            per_hand = nodes // 2 if name == "past" and not nodes % 2 else nodes
            fitting = " or ".join(orders_with(nodes) or orders_with(per_hand))
            detail = f"expected {expected}, got [{frames}][{nodes}][3]"
            detail += f"; {nodes} points fit {fitting}" if fitting else "; GET /joints lists the orders"
            raise Problem.at("wrong-shape", request.pointer(name), detail)
    if "past" not in arrays:
        if hand:
            detail = "`hand` tells which hand `past` is, and the request has no `past`; leave `hand` out"
            raise Problem.at("invalid-request", request.pointer("hand"), detail)
        if len({len(points.values) for points in arrays.values()}) > 1:
            lengths = " and ".join(f"{len(points.values)}" for points in arrays.values())
            detail = f"expected left and right with as many frames, got {lengths}"
            raise Problem.at("wrong-shape", request.pointer("right"), detail)
        return list(arrays.values()), tuple(arrays)
    past = arrays["past"]
    if past.values.shape[1] == 2 * joints:
        if hand:
            detail = "`hand` is for one hand, and `past` has two; leave `hand` out"
            raise Problem.at("invalid-request", request.pointer("hand"), detail)
        return [Points(half, past.seen) for half in np.split(past.values, 2, axis=1)], ("future",)
    if not hand and "palm_centre" not in order.joints:
        detail = f"expected left or right for one hand in {order.name} order, whose palm centre is computed; got none"
        raise Problem.at("invalid-request", request.pointer("hand"), detail)
    return [past], ("future",)


def _seen(points: Points) -> Bool[np.ndarray, " frames"]:
    return points.seen if points.seen is not None else np.any(~np.isnan(points.values), axis=(1, 2))


def _check_numbers(request: DecodedHands, metres: Poses, seen: Bool[np.ndarray, "frames hands"]) -> None:
    """Raise not-finite or out-of-range at the first such number of a hand that is seen."""
    bad = ~(np.abs(metres) <= REACH_M) & seen[:, :, None, None]
    if not bad.any():
        return
    frame, hand, joint, axis = (int(i) for i in np.argwhere(bad)[0])
    name = list(request.arrays)[0 if "past" in request.arrays else hand]
    node = joint + (hand * metres.shape[2] if name == "past" else 0)
    number, pointer = metres[frame, hand, joint, axis], f"/{name}/{frame}/{node}/{axis}"
    if not np.isfinite(number):
        raise Problem.at("not-finite", pointer, f"expected a finite number, got {number}")
    detail = f"expected at most {REACH_M:g} m from the origin, got {abs(number):.4g} m in {request.options.units}; check `units`"
    raise Problem.at("out-of-range", pointer, detail)


def _check_plausible(
    request: DecodedHands,
    metres: Poses,
    seen: Bool[np.ndarray, "frames hands"],
    order: Skeleton,
    names: Sequence[str],
) -> tuple[str, ...]:
    """Return warnings about doubtful hands. Raises implausible for one of a wrong size or with joints in another order."""
    warnings: list[str] = []
    for hand, side in enumerate(names):
        name = list(request.arrays)[0 if "past" in request.arrays else hand]
        points = metres[seen[:, hand], hand]
        try:
            warnings += check_hand(points, order, request.options.units)
            warnings += check_side(points, order, side) if side in LEFT_RIGHT else []
        except Implausible as error:
            raise Problem.at("implausible", request.pointer(name), str(error)) from None
    return tuple(dict.fromkeys(warnings))


def _to_metres(options: HandsOptions) -> Float[np.ndarray, "3"]:
    """Return the factors of the three coordinates to metres in right-handed axes; left-handed ones have their z reversed."""
    return to_metres(options.units) * np.array([1.0, 1.0, -1.0 if options.axes == "left-handed" else 1.0])


def _check_length(frames: int, task: HandForecast, fps: float, model: str) -> None:
    """Raise too-few-frames, counting frames at the caller's rate."""
    span = (task.past - 1) / task.fps
    least = math.ceil((span - SNAP_S) * fps) + 1
    if frames < least:
        detail = (
            f"expected at least {least} frames at {fps:g} fps, since {model} needs the last {span:.3f} s; got {frames}"
        )
        raise Problem("too-few-frames", detail)


def _to_assembly101(
    request: DecodedHands, poses: Poses, seen: Bool[np.ndarray, "frames hands"], order: Skeleton, sides: tuple[str, ...]
) -> Poses:
    """Convert the poses to Assembly101's joint order. Raises degenerate-hand."""
    names = _names(request, poses.shape[1], sides)
    with np.errstate(invalid="ignore", divide="ignore"):  # collinear points have no palm: refused below
        converted = [convert(poses[:, i], order, ASSEMBLY101, _side(name)) for i, name in enumerate(names)]
    joints = np.stack(converted, axis=1)
    if not np.isfinite(joints[seen]).all():
        frame, hand = (int(i) for i in np.argwhere(~np.isfinite(joints).all(axis=(2, 3)) & seen)[0])
        detail = f"wrist, index MCP and pinky MCP of hand {hand} are collinear in frame {frame}"
        raise Problem("degenerate-hand", detail)
    return joints


def _names(request: DecodedHands, hands: int, sides: tuple[str, ...]) -> Sequence[str]:
    """Return left and right for the hands, or `future` for one whose side is not known."""
    return LEFT_RIGHT if hands == 2 else (request.options.hand or sides[0],)


def _side(name: str) -> Hand:
    """Return the side of an array. That of `future` has no effect, since no palm centre is computed there."""
    return "left" if name == "left" else "right"


def _to_order(prepared: PreparedHands, poses: Poses) -> Float[np.ndarray, "hands frames order_joints 3"]:
    """Convert Assembly101 poses in metres from the centre to the caller's order, unit and origin."""
    hands = np.swapaxes(poses, 0, 1)
    if prepared.order.name != ASSEMBLY101.name and len(hands):
        pairs = zip(prepared.reference, hands, strict=True)
        hands = np.stack([carry(reference, hand, prepared.order) for reference, hand in pairs])
    scale = to_metres(prepared.request.options.units)
    return np.round(
        (hands + prepared.centre) / _to_metres(prepared.request.options), round(-math.log10(ROUND_M / scale))
    )


def _by_side(prepared: PreparedHands, hands: Float[np.ndarray, "hands frames order_joints 3"]) -> dict[str, Any]:
    """Return `future` with both hands side by side, or `left` and `right`, None for a hand that is not in view."""
    if prepared.sides == ("future",):
        return {"future": np.ascontiguousarray(np.concatenate(list(hands), axis=1))}
    present = dict(zip(prepared.past.hands, hands, strict=True))
    return {side: np.ascontiguousarray(present[i]) if i in present else None for i, side in enumerate(prepared.sides)}
