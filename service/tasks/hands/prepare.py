"""Hands in a caller's form to the input of a forecaster, and its output back to that form.

Coordinates are centred on the last pose in float64 before the cast to float32, so that a forecast ten metres from the
origin is as accurate as one at the origin.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.bundle import BundleMeta
from models.contract.task import HandForecast
from models.motion.bones import keep_bones, last_lengths
from models.motion.hands import HandClip, Past, future_at, past_window
from models.motion.partial_hands import partial_window
from models.skeletons.hand import ASSEMBLY101, carried_joints, carried_spread, convert, is_converted
from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton
from models.skeletons.units import to_metres
from service.http.problems import Problem
from service.tasks.endpoint import Limits, Steps
from service.tasks.fields import Unit, timing
from service.tasks.hands.checks import (
    Poses,
    Seen,
    check_length,
    check_motion,
    check_numbers,
    check_plausible,
    check_points,
    factors_to_metres,
    hands_of,
    names_of,
    times_of,
)
from service.tasks.hands.orders import order_of
from service.tasks.hands.partial import carried, references, seen_in_assembly101, seen_joints, sentinels, shortcomings
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.wire import DecodedHands

ROUND_M = 1e-6  # a micrometre: below every tracker's noise


@dataclass(frozen=True)
class PreparedHands:
    """A request, checked and in the model's form. Lengths are in metres from `centre`."""

    request: DecodedHands  # without its arrays
    task: HandForecast
    order: Skeleton
    sides: tuple[str, ...]  # the arrays of the answer: future, or those of left and right that the request has
    fps: float
    times: Float[np.ndarray, " times"]  # of the answer, in seconds after the last frame
    past: Past
    seen: (
        Bool[np.ndarray, "past hands joints"] | None
    )  # of a masked task: the joints that were seen; others are at rest, or NaN
    reference: Float[
        np.ndarray, "hands order_joints 3"
    ]  # the last whole pose of the hands in `past`, in the caller's order
    centre: Float[np.ndarray, "3"]
    warnings: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the model's inputs without a batch axis, float32: poses (frames, nodes, 3) and, of a masked task, what was seen."""
        joints = self.past.joints
        past = np.ascontiguousarray(joints.reshape(len(joints), -1, 3), dtype=np.float32)
        if self.seen is None:
            return {"past": past}
        return {
            "past": np.where(np.isnan(past), np.float32(0), past),
            "seen": self.seen.reshape(len(joints), -1).astype(np.float32),
        }

    @property
    def never_seen(self) -> Bool[np.ndarray, "hands joints"]:
        """Return the joints that were seen at no time, for which there is no forecast."""
        if self.seen is None:
            return np.zeros(self.past.joints.shape[1:3], bool)
        return ~np.any(self.seen, axis=0)


@dataclass(frozen=True)
class HandsForecast:
    """The model's forecast: its joints in metres from the centre, at the model's rate."""

    prepared: PreparedHands
    modes: Float[np.ndarray, "modes frames hands joints 3"]
    std: Float[np.ndarray, "frames hands joints"] | None = None  # of each coordinate of mode 0, in metres
    weights: Float[np.ndarray, " modes"] | None = None  # probabilities of the modes


def prepare(request: DecodedHands, model: BundleMeta, limits: Limits) -> PreparedHands:
    """Check the request against the model's task and bring it to the model's order, unit and rate.

    Raises TooFewFrames, GapTooLong and the problems about hands.
    """
    task, options = model.task, request.options
    assert isinstance(task, HandForecast), f"{model.name} forecasts no hands"
    order = order_of(options.joints, task, model.name, request.pointer("joints"))
    hands, sides = hands_of(request, order)
    times = timing(options.fps, options.timestamps, len(hands[0].values), request.pointer("timestamps"))
    asked = times_of(request, task, times.fps, model.name)
    values = np.stack([hand.values for hand in hands], axis=1) * factors_to_metres(options)
    if not task.masked:
        check_points(request, model.name)
    seen = seen_joints(hands, task)
    check_numbers(request, values, seen)
    seen &= ~sentinels(values, task)
    names = names_of(request, len(hands), sides)
    doubts = check_plausible(request, values, seen, order, names)
    doubts += check_motion(request, values, seen, times.times, names)
    if options.timestamps is None or task.masked:
        check_length(len(values), task, times.fps, model.name)
    whole = bool(seen.all())  # as most clips are: nothing is masked or bridged
    shown = np.flatnonzero(seen.any(axis=(1, 2)))
    centre = values[shown[-1]][seen[shown[-1]]].mean(axis=0) if len(shown) else np.zeros(3)
    values = values - centre if whole else np.where(seen[..., None], values - centre, np.nan)
    joints, known = to_model_order(request, values, seen, order, sides)
    mask = None
    if "past" not in request.arrays and not seen.any():
        past = Past(np.empty((task.past, 0, *joints.shape[2:])), 0, ())  # both hands of the answer are null
    elif task.masked:
        part = partial_window(joints, known, times.times, task.past, task.fps, limits.gap_s)
        past, mask = Past(part.joints, part.filled, part.hands), part.seen
        doubts = (*doubts, *shortcomings(part, task, names))
    else:
        clip = HandClip(joints, np.all(seen, axis=2), times.times, task.layout)
        past = past_window(clip, task.past, task.fps, limits.gap_s)
    if "past" in request.arrays and len(past.hands) < len(hands):
        sides = LEFT_RIGHT  # one array cannot express that one of its two hands is missing
    without_arrays = replace(request, arrays={})  # the past is prepared: only the options are needed from here on
    return PreparedHands(
        without_arrays,
        task,
        order,
        sides,
        times.fps,
        asked,
        past,
        mask,
        references(values, order)[list(past.hands)],
        centre,
        (*times.warnings, *doubts, *lacking(options, task, model.name)),
    )


def steps(prepared: PreparedHands) -> Steps[HandsForecast]:
    """Ask the network once, or not at all if no hand was seen. Raises degenerate-hand where its answer is not finite."""
    task, pose = prepared.task, prepared.past.joints.shape[1:]
    if not prepared.past.hands:
        return HandsForecast(prepared, np.empty((task.modes, task.future, *pose)))
    (output,) = yield [prepared.tensors]
    if not all(np.isfinite(array).all() for array in output.values()):
        raise Problem("degenerate-hand", "the model has no finite forecast for these points")
    never_seen = prepared.never_seen if prepared.seen is not None and not prepared.seen.all() else None
    modes = output["future"].astype(np.float64).reshape(task.modes, task.future, *pose)
    if never_seen is not None:
        modes[:, :, never_seen] = np.nan
    if not task.spread:
        return HandsForecast(prepared, modes)
    std = output["std"].astype(np.float64).reshape(task.future, *pose[:2])
    if never_seen is not None:
        std[:, never_seen] = np.nan
    return HandsForecast(prepared, modes, std, output["weights"].astype(np.float64))


def document(forecast: HandsForecast) -> dict[str, Any]:
    """Return the forecast in the caller's order, unit, rate and form, float64, with its times."""
    prepared = forecast.prepared
    options, last, fps = prepared.request.options, prepared.past.joints[-1], prepared.task.fps
    likely = forecast.weights is not None  # then alternatives are sent on request: they are several times the forecast
    lengths = last_lengths(prepared.past.joints, prepared.seen, prepared.task.layout) if options.keep_bones else None
    modes = [
        _by_side(
            prepared, _to_order(prepared, _with_bones(prepared, future_at(last, mode, fps, prepared.times), lengths))
        )
        for mode in (forecast.modes if options.hypotheses or not likely else forecast.modes[:1])
    ]
    further: dict[str, Any] = {}
    if forecast.weights is not None and options.hypotheses:
        further["probabilities"] = np.round(forecast.weights, 6)
    if forecast.std is not None and options.spread:
        seen = prepared.seen
        now = np.where(seen[-1], 0.0, forecast.std[0]) if seen is not None else np.zeros(forecast.std.shape[1:])
        std = _spread_to_order(prepared, future_at(now, forecast.std, fps, prepared.times))
        further["std"] = _by_side(prepared, std)
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


def to_model_order(
    request: DecodedHands, poses: Poses, seen: Seen, order: Skeleton, sides: tuple[str, ...]
) -> tuple[Poses, Seen]:
    """Convert hands, and what was seen of them, to Assembly101's joint order, and leave other bodies. Raises degenerate-hand."""
    if not is_converted(order):
        return poses, seen
    names = names_of(request, poses.shape[1], sides)
    with np.errstate(invalid="ignore", divide="ignore"):  # collinear points have no palm: refused below
        converted = [convert(poses[:, i], order, ASSEMBLY101, _side(name)) for i, name in enumerate(names)]
    joints, known = np.stack(converted, axis=1), seen_in_assembly101(seen, order)
    if not np.isfinite(joints[known]).all():
        frame, hand = (int(i) for i in np.argwhere((~np.isfinite(joints).all(axis=3) & known).any(axis=2))[0])
        detail = f"wrist, index MCP and pinky MCP of hand {hand} are collinear in frame {frame}"
        raise Problem("degenerate-hand", detail)
    return joints, known


def _side(name: str) -> Hand:
    """Return the side of an array. That of `future` has no effect, since no palm centre is computed there."""
    return "left" if name == "left" else "right"


def _with_bones(prepared: PreparedHands, poses: Poses, lengths: Float[np.ndarray, "hands bones"] | None) -> Poses:
    return poses if lengths is None else keep_bones(poses, lengths, prepared.task.layout)


def _to_order(prepared: PreparedHands, poses: Poses) -> Float[np.ndarray, "hands frames order_joints 3"]:
    """Convert the model's poses in metres from the centre to the caller's order, unit and origin."""
    hands = np.swapaxes(poses, 0, 1)
    if is_converted(prepared.order) and len(hands):
        pairs = zip(prepared.reference, hands, strict=True)
        hands = np.stack([carried(reference, hand, prepared.order) for reference, hand in pairs])
    return _rounded(
        (hands + prepared.centre) / factors_to_metres(prepared.request.options), prepared.request.options.units
    )


def _spread_to_order(
    prepared: PreparedHands, std: Float[np.ndarray, "times hands joints"]
) -> Float[np.ndarray, "hands times order_joints"]:
    """Convert the model's standard deviations in metres to the caller's order and unit."""
    unit = prepared.request.options.units
    by_hand = np.swapaxes(std, 0, 1)
    spread = carried_spread(by_hand, prepared.order) if is_converted(prepared.order) else by_hand
    return _rounded(spread / to_metres(unit), unit)


def _rounded(lengths: Float[np.ndarray, "..."], unit: Unit) -> Float[np.ndarray, "..."]:
    """Return lengths in the unit, rounded to about ROUND_M."""
    return np.round(lengths, round(-math.log10(ROUND_M / to_metres(unit))))


def lacking(options: HandsOptions, task: HandForecast, model: str) -> list[str]:
    """Return warnings about what was asked for and the model does not have."""
    asked = {"standard deviations": options.spread, "probabilities of alternatives": options.hypotheses}
    return [f"{model} gives no {what}" for what, wanted in asked.items() if wanted and not task.spread]


def _by_side(prepared: PreparedHands, hands: Float[np.ndarray, "hands times order_joints *axes"]) -> dict[str, Any]:
    """Return `future` with both hands side by side, or `left` and `right`, None for a hand that is not in view."""
    if prepared.sides == ("future",):
        return {"future": np.ascontiguousarray(np.concatenate(list(hands), axis=1))}
    present = dict(zip(prepared.past.hands, hands, strict=True))
    return {side: np.ascontiguousarray(present[i]) if i in present else None for i, side in enumerate(prepared.sides)}
