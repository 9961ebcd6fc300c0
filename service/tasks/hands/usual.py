"""The usual request of a hand forecast: whole hands in the model's order and at its rate, about which no check has a doubt.

Nothing of it is resampled, reordered, masked or bridged, so that it is prepared in less than half of the time. `prepare_any` in
`service.tasks.hands.prepare` gives the same result, and a test holds them equal.
"""

import numpy as np

from models.contract.task import HandForecast
from models.motion.hands import Past
from models.motion.missing import coincide
from models.motion.plausible_hands import are_usual
from models.skeletons.hand import is_known
from models.skeletons.skeleton import LEFT_RIGHT
from service.tasks.fields import REACH_M
from service.tasks.hands.checks import FAST_M_S, Poses, are_metres, axes_of, factors_to_metres, names_of, times_of
from service.tasks.hands.prepared import PreparedHands
from service.tasks.hands.wire import DecodedHands


def prepare_usual(request: DecodedHands, task: HandForecast, model: str) -> PreparedHands | None:
    """Return the request in the model's form, or None if it is another than the usual one. Raises invalid-request for times."""
    options, order = request.options, task.layout
    if options.fps != task.fps or options.timestamps is not None or not is_known(order):
        return None
    if options.joints not in (None, order.name) or ((options.spread or options.hypotheses) and not task.spread):
        return None
    poses = _poses(request, len(order.joints))
    if poses is None or len(poses) < task.past:
        return None
    metres = poses if are_metres(options) else poses * factors_to_metres(options)
    if not np.abs(metres).max() <= REACH_M:  # also of NaN
        return None
    hands = metres.shape[1]
    sides = ("future",) if "past" in request.arrays else tuple(request.arrays)
    if coincide(metres).any() or not are_usual(metres, order, names_of(request, hands, sides)):
        return None
    if np.abs(metres[1:] - metres[:-1]).max() > FAST_M_S / 2 / task.fps:  # in one coordinate
        return None
    last = metres[-1].reshape(-1, 3)
    if hands == 2 and last[0, 0] == last[len(last) // 2, 0] and np.array_equal(*metres[-1]):
        return None
    centre = last.mean(axis=0)
    window = metres[-task.past :]
    past = (window.reshape(len(window), -1) - centre[axes_of(last.size)]).reshape(window.shape)
    return PreparedHands(
        request=request.without_arrays(),
        task=task,
        order=order,
        sides=sides,
        fps=task.fps,
        times=times_of(request, task, task.fps, model),
        past=Past(past, 0, tuple(range(hands))),
        seen=np.ones(past.shape[:3], bool) if task.masked else None,
        reference=past[-1],
        centre=centre,
        warnings=(),
    )


def _poses(request: DecodedHands, joints: int) -> Poses | None:
    """Return the hands side by side, left first, in the caller's unit; None if they are no whole hands of so many joints."""
    arrays, hand = request.arrays, request.options.hand
    if any(points.seen is not None or points.nulls is not None for points in arrays.values()):
        return None
    if (past := arrays.get("past")) is not None:
        frames, nodes = past.values.shape[:2]
        hands = nodes // joints
        if len(arrays) > 1 or nodes != hands * joints or hands not in ((1, 2) if hand is None else (1,)):
            return None
        return past.values.reshape(frames, hands, joints, 3)
    shapes = {points.values.shape for points in arrays.values()}
    if hand is not None or len(shapes) != 1 or next(iter(shapes))[1] != joints:
        return None
    return np.stack([arrays[side].values for side in LEFT_RIGHT if side in arrays], axis=1)
