"""Hands of which only some joints were seen, in a caller's form: what was seen, what an answer can have, and what it lacks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from models.contract.task import HandForecast
from models.motion.missing import unseen_hands, unseen_joints
from models.motion.partial_hands import PartialPast
from models.skeletons.hand import ASSEMBLY101, PALM, carried_joints, carry, is_converted
from models.skeletons.skeleton import LEFT_RIGHT, Skeleton
from service.tasks.hands.checks import Poses, Seen, seen_frames
from service.tasks.hands.orders import body_of
from service.tasks.hands.wire import Points

PALM_CENTRE = ("wrist", "index_mcp", "pinky_mcp")  # the joints from which `convert` computes a palm centre
FEW = 0.01  # a share of unseen places that is not worth a warning


def seen_joints(hands: Sequence[Points], task: HandForecast) -> Seen:
    """Return the joints that were sent: each by itself for a masked task, and all of a hand that is there in a frame for others."""
    if all(np.isfinite(hand.values).all() for hand in hands):
        return np.ones((len(hands[0].values), len(hands), hands[0].values.shape[1]), bool)
    if task.masked:
        return np.stack([~np.isnan(hand.values).all(axis=2) for hand in hands], axis=1)
    shape = hands[0].values.shape[:2]
    return np.stack([np.broadcast_to(seen_frames(hand)[:, None], shape) for hand in hands], axis=1)


def sentinels(values: Poses, task: HandForecast) -> Seen:
    """Return the joints that cannot have been seen: those at one point with another, and their whole hand unless the task is masked."""
    frames, hands, joints, _ = values.shape
    poses = values.reshape(frames * hands, joints, 3)
    if task.masked:
        return unseen_joints(poses).reshape(frames, hands, joints)
    return np.repeat(unseen_hands(poses).reshape(frames, hands, 1), joints, axis=2)


def seen_in_assembly101(seen: Seen, order: Skeleton) -> Seen:
    """Return what was seen in Assembly101 order; a computed palm centre was if the joints that it is computed from were."""
    if order.name == ASSEMBLY101.name:
        return seen
    out = seen[..., [order.joints.index(joint if joint in order.joints else "wrist") for joint in ASSEMBLY101.joints]]
    if "palm_centre" not in order.joints:
        out[..., ASSEMBLY101.joints.index("palm_centre")] = seen[..., list(order.indices(PALM_CENTRE))].all(axis=-1)
    return out


def references(values: Poses, order: Skeleton) -> Float[np.ndarray, "hands joints 3"]:
    """Return the newest pose of each hand that has all joints that `carry` needs, or else its palm; the last frame if none has.

    An order that is not converted needs none: the last frame stands there.
    """
    if not is_converted(order) or np.isfinite(values[-1]).all():
        return values[-1]
    needed = [list(order.indices((*PALM, *carried_joints(order)))), list(order.indices(PALM))]
    chosen: list[np.ndarray] = []
    for hand in range(values.shape[1]):
        whole = (np.flatnonzero(np.isfinite(values[:, hand, joints]).all(axis=(1, 2))) for joints in needed)
        frame = next((frames[-1] for frames in whole if len(frames)), -1)
        chosen.append(values[frame, hand])
    return np.stack(chosen)


def carried(
    reference: Float[np.ndarray, "joints 3"], moved: Float[np.ndarray, "frames assembly101 3"], order: Skeleton
) -> Float[np.ndarray, "frames joints 3"]:
    """Call `carry`; joints that move with a palm that was not seen are NaN."""
    whole = np.isfinite(reference[list(order.indices(PALM))]).all()
    if whole and np.isfinite(moved[:, list(ASSEMBLY101.indices(PALM))]).all():
        return carry(reference, moved, order)
    out = np.full((len(moved), len(order.joints), 3), np.nan)
    own = [joint for joint in order.joints if joint in ASSEMBLY101.joints]
    out[:, list(order.indices(own))] = moved[:, list(ASSEMBLY101.indices(own))]
    return out


def shortcomings(past: PartialPast, task: HandForecast, names: Sequence[str]) -> list[str]:
    """Return warnings about a past that is short or incomplete, from which a forecast is less accurate."""
    warnings: list[str] = []
    full = (task.past - 1) / task.fps
    if past.seen.all() and not any(past.lost_s) and min(past.motion_s) >= full - 0.5 / task.fps:
        return warnings
    for i, hand in enumerate(past.hands):
        body = body_of(task.layout)
        name = f"the {names[hand]} {body}" if names[hand] in LEFT_RIGHT else f"the {body}"
        known: Bool[np.ndarray, "past joints"] = past.seen[:, i]
        motion, lost = past.motion_s[i], past.lost_s[i]
        if motion + lost < full - 0.5 / task.fps:
            warnings.append(f"{name}: forecast from {motion:.3f} s of motion, not {full:.3f} s: less accurate")
        if lost > 0:
            warnings.append(f"{name}: last seen {lost:.3f} s before the last frame: less accurate")
        ever = np.any(known, axis=0)
        if not ever.all():
            missing = ", ".join(joint for joint, seen in zip(task.layout.joints, ever, strict=True) if not seen)
            warnings.append(f"{name}: {missing} never seen, and null in the answer")
        shown = known[known.any(axis=1).argmax() : len(known) - known[::-1].any(axis=1).argmax(), ever]
        if (share := 1 - shown.mean()) > FEW:
            warnings.append(f"{name}: {share:.0%} of the places of joints not seen: less accurate")
    return warnings
