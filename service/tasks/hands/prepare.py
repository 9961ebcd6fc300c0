"""Hands in a caller's form to the input of a forecaster.

Coordinates are centred on the last pose in float64 before the cast to float32, so that a forecast ten metres from the
origin is as accurate as one at the origin.
"""

import numpy as np

from models.contract.bundle import BundleMeta
from models.contract.task import HandForecast
from models.motion.hands import HandClip, Past, past_window
from models.motion.partial_hands import partial_window
from models.skeletons.hand import ASSEMBLY101, convert, is_converted
from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton
from service.http.problems import Problem
from service.tasks.endpoint import Limits
from service.tasks.fields import timing
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
from service.tasks.hands.partial import references, seen_in_assembly101, seen_joints, sentinels, shortcomings
from service.tasks.hands.prepared import PreparedHands
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.usual import prepare_usual
from service.tasks.hands.wire import DecodedHands


def prepare(request: DecodedHands, model: BundleMeta, limits: Limits) -> PreparedHands:
    """Check the request against the model's task and bring it to the model's order, unit and rate.

    Raises TooFewFrames, GapTooLong and the problems about hands.
    """
    task = model.task
    assert isinstance(task, HandForecast), f"{model.name} forecasts no hands"
    return prepare_usual(request, task, model.name) or prepare_any(request, model, task, limits)


def prepare_any(request: DecodedHands, model: BundleMeta, task: HandForecast, limits: Limits) -> PreparedHands:
    """Return the same as `prepare`, which asks for whatever is not usual."""
    options = request.options
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
    return PreparedHands(
        request.without_arrays(),  # the past is prepared: only the options are needed from here on
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


def lacking(options: HandsOptions, task: HandForecast, model: str) -> list[str]:
    """Return warnings about what was asked for and the model does not have."""
    asked = {"standard deviations": options.spread, "probabilities of alternatives": options.hypotheses}
    return [f"{model} gives no {what}" for what, wanted in asked.items() if wanted and not task.spread]
