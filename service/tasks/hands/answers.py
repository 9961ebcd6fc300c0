"""A network's forecast of hands to the answer, in the caller's order, unit, rate and form."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from models.motion.bones import keep_bones, last_lengths
from models.motion.hands import future_at
from models.skeletons.hand import carried_joints, carried_spread, is_converted
from models.skeletons.units import to_metres
from service.http.problems import Problem
from service.tasks.endpoint import Steps
from service.tasks.fields import Unit
from service.tasks.hands.checks import Poses, are_metres, axes_of, factors_to_metres
from service.tasks.hands.partial import carried
from service.tasks.hands.prepared import HandsForecast, PreparedHands

ROUND_M = 1e-6  # a micrometre: below every tracker's noise


def steps(prepared: PreparedHands) -> Steps[HandsForecast]:
    """Ask the network once, or not at all if no hand was seen. Raises degenerate-hand where its answer is not finite.

    Only what is asked for is read of the answer: alternatives of a task with spread are several times the forecast.
    """
    task, options, pose = prepared.task, prepared.request.options, prepared.past.joints.shape[1:]
    count = task.modes if options.hypotheses or not task.spread else 1
    if not prepared.past.hands:
        return HandsForecast(prepared, np.empty((count, task.future, *pose)))
    (output,) = yield [prepared.tensors]
    modes = output["future"].reshape(task.modes, task.future, *pose)[:count]
    std = output["std"].reshape(task.future, *pose[:2]) if task.spread and options.spread else None
    weights = output["weights"] if task.spread and options.hypotheses else None
    if not all(np.isfinite(array).all() for array in (modes, std, weights) if array is not None):
        raise Problem("degenerate-hand", "the model has no finite forecast for these points")
    if not prepared.is_whole:
        seen = ~prepared.never_seen
        modes = np.where(seen[..., None], modes, np.nan)
        std = None if std is None else np.where(seen, std, np.nan)
    return HandsForecast(prepared, modes, std, weights)


def document(forecast: HandsForecast) -> dict[str, Any]:
    """Return the forecast in the caller's order, unit, rate and form, float64, with its times."""
    prepared = forecast.prepared
    options, fps = prepared.request.options, prepared.task.fps
    lengths = last_lengths(prepared.past.joints, prepared.seen, prepared.task.layout) if options.keep_bones else None
    modes = [_by_side(prepared, _poses(prepared, mode.astype(np.float64), lengths)) for mode in forecast.modes]
    further: dict[str, Any] = {}
    if forecast.weights is not None:
        further["probabilities"] = np.round(forecast.weights.astype(np.float64), 6)
    if forecast.std is not None:
        seen, std = prepared.seen, forecast.std.astype(np.float64)
        now = np.where(seen[-1], 0.0, std[0]) if seen is not None else np.zeros(std.shape[1:])
        further["std"] = _by_side(prepared, _spread(prepared, future_at(now, std, fps, prepared.times)))
    return {
        "fps": prepared.fps,
        "units": options.units,
        "axes": options.axes,
        "joints": prepared.order.name,
        "times": prepared.times if options.at else np.round(prepared.times, 6),
        **modes[0],
        "alternatives": modes[1:],
        **further,
        "filled_frames": prepared.past.filled,
        "warnings": list(prepared.warnings),
        "carried_joints": list(carried_joints(prepared.order)),
    }


def _poses(
    prepared: PreparedHands, poses: Poses, lengths: Float[np.ndarray, "hands bones"] | None
) -> Float[np.ndarray, "times hands order_joints 3"]:
    """Return the model's poses, in metres from the centre, at the caller's times and in its order, unit and origin.

    Bones get `lengths`, if there are any.
    """
    options, task = prepared.request.options, prepared.task
    if prepared.fps != task.fps or options.at is not None or options.horizon is not None:
        poses = future_at(prepared.past.joints[-1], poses, task.fps, prepared.times)
    if lengths is not None:
        poses = keep_bones(poses, lengths, task.layout)
    if is_converted(prepared.order) and poses.shape[1]:
        hands = [carried(reference, poses[:, i], prepared.order) for i, reference in enumerate(prepared.reference)]
        poses = np.stack(hands, axis=1)
    rows = poses.reshape(len(poses), math.prod(poses.shape[1:]))
    axes = axes_of(rows.shape[1])
    rows = rows + prepared.centre[axes]
    if not are_metres(options):
        rows /= factors_to_metres(options)[axes]
    return _rounded(rows, options.units).reshape(poses.shape)


def _spread(
    prepared: PreparedHands, std: Float[np.ndarray, "times hands joints"]
) -> Float[np.ndarray, "times hands order_joints"]:
    """Convert the model's standard deviations in metres to the caller's order and unit."""
    unit = prepared.request.options.units
    spread = carried_spread(std, prepared.order) if is_converted(prepared.order) else std
    return _rounded(spread / to_metres(unit), unit)


def _rounded(lengths: Float[np.ndarray, "..."], unit: Unit) -> Float[np.ndarray, "..."]:
    """Return lengths in the unit, rounded to about ROUND_M."""
    return np.round(lengths, round(-math.log10(ROUND_M / to_metres(unit))))


def _by_side(prepared: PreparedHands, hands: Float[np.ndarray, "times hands order_joints *axes"]) -> dict[str, Any]:
    """Return `future` with both hands side by side, or `left` and `right`, None for a hand that is not in view."""
    if prepared.sides == ("future",):
        times, count, joints = hands.shape[:3]
        return {"future": hands.reshape(times, count * joints, *hands.shape[3:])}
    places = {hand: place for place, hand in enumerate(prepared.past.hands)}
    return {
        side: np.ascontiguousarray(hands[:, places[hand]]) if hand in places else None
        for hand, side in enumerate(prepared.sides)
    }
