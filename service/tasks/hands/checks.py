"""The checks of a hand request: its arrays and sides, its numbers, whether they can be hands, and the times that it asks for."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from models.contract.task import HandForecast
from models.motion.hands import SNAP_S
from models.motion.partial_hands import LEAST_FRAMES
from models.motion.plausible_hands import are_usual, check_hand, check_own, check_part, check_side
from models.skeletons.hand import is_known
from models.skeletons.skeleton import LEFT_RIGHT, Skeleton
from models.skeletons.units import Implausible, to_metres
from service.http.problems import Problem
from service.tasks.fields import REACH_M
from service.tasks.hands.orders import advice, body_of
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.wire import DecodedHands, Points

FAST_M_S = (
    20.0  # a warning beyond: a thrower's hand moves at 20 m/s, and a tracker that exchanges two hands makes them jump
)
IMPOSSIBLE_M_S = 100.0

Poses = Float[np.ndarray, "frames hands joints 3"]
Seen = Bool[np.ndarray, "frames hands joints"]


def hands_of(request: DecodedHands, order: Skeleton) -> tuple[list[Points], tuple[str, ...]]:
    """Return one array for each hand, and the names of the answer's arrays. Raises invalid-request and wrong-shape."""
    arrays, joints, hand = dict(request.arrays), len(order.joints), request.options.hand
    if not arrays or ("past" in arrays and len(arrays) > 1):
        detail = f"expected past, or left and right, got {', '.join(arrays) or 'none of them'}"
        raise Problem.at("invalid-request", "", detail)
    for name, points in arrays.items():
        frames, nodes = points.values.shape[:2]
        if not seen_frames(points).any():
            arrays[name] = Points(np.full((frames, joints, 3), np.nan), points.seen)
        elif nodes not in ((joints, 2 * joints) if name == "past" else (joints,)):
            expected = f"[frames][{joints}][3] for a {body_of(order)} in {order.name} order"
            expected += f" or [frames][{2 * joints}][3] for two" if name == "past" else ""
            per_hand = nodes // 2 if name == "past" and not nodes % 2 else nodes
            detail = f"expected {expected}, got [{frames}][{nodes}][3]{advice(order, nodes, per_hand)}"
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
        return [Points(half, past.seen) for half in (past.values[:, :joints], past.values[:, joints:])], ("future",)
    if not hand and is_known(order) and "palm_centre" not in order.joints:
        detail = f"expected left or right for one hand in {order.name} order, whose palm centre is computed; got none"
        raise Problem.at("invalid-request", request.pointer("hand"), detail)
    return [past], ("future",)


def seen_frames(points: Points) -> Bool[np.ndarray, " frames"]:
    """Return the frames in which the hand is present."""
    if points.seen is not None:
        return points.seen
    if np.isfinite(points.values).all():
        return np.ones(len(points.values), bool)
    return np.any(~np.isnan(points.values), axis=(1, 2))


def check_points(request: DecodedHands, model: str) -> None:
    """Raise invalid-request at the first point that is null, for a model that needs every joint of a hand."""
    for name, points in request.arrays.items():
        if points.nulls is not None and points.nulls.any():
            frame, node = (int(i) for i in np.argwhere(points.nulls)[0])
            detail = f"expected a point, got null: {model} needs every joint of a hand; send null for the whole frame"
            raise Problem.at("invalid-request", request.pointer(name) + f"/{frame}/{node}", detail)


def check_numbers(request: DecodedHands, metres: Poses, seen: Seen) -> None:
    """Raise not-finite or out-of-range at the first such number of a joint that is seen."""
    if np.abs(metres).max(initial=0) <= REACH_M:  # not true of NaN
        return
    bad = ~(np.abs(metres) <= REACH_M) & seen[..., None]
    if not bad.any():
        return
    frame, hand, joint, axis = (int(i) for i in np.argwhere(bad)[0])
    name = list(request.arrays)[0 if "past" in request.arrays else hand]
    node = joint + (hand * metres.shape[2] if name == "past" else 0)
    raise bad_number(metres[frame, hand, joint, axis], f"/{name}/{frame}/{node}/{axis}", request.options.units)


def bad_number(number: float, pointer: str, units: str) -> Problem:
    """Return the problem of a coordinate in metres, given in `units`, that no hand has: not-finite or out-of-range."""
    if not math.isfinite(number):
        return Problem.at("not-finite", pointer, f"expected a finite number, got {number}")
    detail = f"expected at most {REACH_M:g} m from the origin, got {abs(number):.4g} m in {units}; check `units`"
    return Problem.at("out-of-range", pointer, detail)


def check_plausible(
    request: DecodedHands,
    metres: Poses,
    seen: Seen,
    order: Skeleton,
    names: Sequence[str],
) -> tuple[str, ...]:
    """Return warnings about doubtful hands. Raises implausible for one of a wrong size or with joints in another order.

    A hand that was wholly seen in no frame is checked for its size alone, and so is a body in a skeleton of one's own.
    """
    known = is_known(order)
    if known and len(metres) and seen.all() and are_usual(metres, order, names):
        return ()
    warnings: list[str] = []
    for hand, side in enumerate(names):
        name = list(request.arrays)[0 if "past" in request.arrays else hand]
        points = metres[seen[:, hand].all(axis=1), hand]
        try:
            if not known:
                check_own(np.where(seen[:, hand, :, None], metres[:, hand], np.nan), order, request.options.units)
                continue
            if not len(points):
                check_part(np.where(seen[:, hand, :, None], metres[:, hand], np.nan), request.options.units)
            warnings += check_hand(points, order, request.options.units)
            warnings += check_side(points, order, side) if side in LEFT_RIGHT else []
        except Implausible as error:
            raise Problem.at("implausible", request.pointer(name), str(error)) from None
    return tuple(dict.fromkeys(warnings))


def check_motion(
    request: DecodedHands, metres: Poses, seen: Seen, times: Float[np.ndarray, " frames"], names: Sequence[str]
) -> tuple[str, ...]:
    """Return warnings about joints that move faster than FAST_M_S from a frame to the next, and about two hands in one place.

    `metres` may have any value where a joint was not seen. Raises implausible beyond IMPOSSIBLE_M_S.
    """
    warnings: list[str] = []
    if metres.shape[1] == 2 and len(metres) and seen[-1].all() and np.array_equal(metres[-1, 0], metres[-1, 1]):
        warnings.append("left and right have the same points in the last frame: one may be a copy of the other")
    if len(times) < 2:
        return tuple(warnings)
    steps, seconds = np.abs(metres[1:] - metres[:-1]), times[1:] - times[:-1]
    if steps.max() <= FAST_M_S / 2 * seconds.min():  # in one coordinate; not true of NaN
        return tuple(warnings)
    both = seen[1:] & seen[:-1]
    speeds = np.where(both, np.linalg.norm(steps, axis=-1), 0.0) / seconds[:, None, None]
    for hand in range(metres.shape[1]):
        of_frames = speeds[:, hand].max(axis=1)
        frame = int(of_frames.argmax())
        fastest = float(of_frames[frame])
        if fastest <= FAST_M_S:
            continue
        name = list(request.arrays)[0 if "past" in request.arrays else hand]
        side = f"the {names[hand]} hand" if names[hand] in LEFT_RIGHT else "the hand"
        moved = f"{side} moves {fastest * seconds[frame]:.3g} m from frame {frame} to the next, {fastest:.3g} m/s"
        if fastest > IMPOSSIBLE_M_S:
            detail = (
                f"expected a hand slower than {IMPOSSIBLE_M_S:g} m/s, but {moved}; send null for a frame that is wrong"
            )
            raise Problem.at("implausible", f"{request.pointer(name)}/{frame + 1}", detail)
        warnings.append(f"{moved}: that frame may be wrong")
    return tuple(warnings)


def factors_to_metres(options: HandsOptions) -> Float[np.ndarray, "3"]:
    """Return the factors of the three coordinates to metres in right-handed axes; left-handed ones have their z reversed."""
    return to_metres(options.units) * np.array([1.0, 1.0, -1.0 if options.axes == "left-handed" else 1.0])


def are_metres(options: HandsOptions) -> bool:
    """Return whether coordinates are in metres and right-handed axes, as the models have them."""
    return options.units == "m" and options.axes == "right-handed"


@cache
def axes_of(count: int) -> Int[np.ndarray, " count"]:
    """Return the axis of each coordinate of a pose of so many.

    Arithmetic on rows of a pose takes a tenth of the time that it takes on thousands of rows of three.
    """
    return np.arange(count) % 3


def frames_needed(task: HandForecast, fps: float) -> int:
    """Return the least number of frames at a caller's rate: those that span the model's past, or any two for a masked task."""
    return LEAST_FRAMES if task.masked else math.ceil(((task.past - 1) / task.fps - SNAP_S) * fps) + 1


def check_length(frames: int, task: HandForecast, fps: float, model: str) -> None:
    """Raise too-few-frames, counting frames at the caller's rate; a model of a masked task takes any two."""
    least = frames_needed(task, fps)
    if task.masked:
        if frames < least:
            raise Problem("too-few-frames", f"expected at least {least} frames, which show a motion, got {frames}")
        return
    span = (task.past - 1) / task.fps
    if frames < least:
        detail = (
            f"expected at least {least} frames at {fps:g} fps, since {model} needs the last {span:.3f} s; got {frames}"
        )
        raise Problem("too-few-frames", detail)


def names_of(request: DecodedHands, hands: int, sides: tuple[str, ...]) -> Sequence[str]:
    """Return left and right for the hands, or `future` for one whose side is not known."""
    return LEFT_RIGHT if hands == 2 else (request.options.hand or sides[0],)


def times_of(request: DecodedHands, task: HandForecast, fps: float, model: str) -> Float[np.ndarray, " times"]:
    """Return the times of the answer, in seconds after the last frame: those of `at`, or frames at `fps` up to the horizon.

    The last of them is at `horizon` exactly, if the request has one. Raises invalid-request for times that the model does not reach.
    """
    options, longest = request.options, task.horizon_s
    if options.at is not None and options.horizon is not None:
        detail = "expected `horizon` or `at`, got both; leave one out"
        raise Problem.at("invalid-request", request.pointer("at"), detail)
    if options.at is not None:
        for number, seconds in enumerate(options.at):
            _check_reach(request.pointer("at") + f"/{number}", seconds, longest, model)
        return np.minimum(np.array(options.at, np.float64), longest)
    end = longest
    if options.horizon is not None:
        _check_reach(request.pointer("horizon"), options.horizon, longest, model)
        end = min(options.horizon, longest)
    count = int(np.floor((end + SNAP_S) * fps))
    times = np.arange(1, count + 1) / fps
    if options.horizon is None:
        return times
    return np.append(times[times < end - SNAP_S], end)


def _check_reach(pointer: str, seconds: float, longest: float, model: str) -> None:
    """Raise invalid-request for a time that the model does not reach, or that is no number."""
    if not 0 < seconds <= longest + SNAP_S:  # also true of NaN
        detail = f"expected more than 0 and at most {longest:g} s, the horizon of {model}, got {seconds:g}"
        raise Problem.at("invalid-request", pointer, detail)
