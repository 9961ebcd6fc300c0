"""Bones of forecast hands and of lifted bodies: how much their lengths change, and poses in which they do not.

A forecast is close to the mean of what may happen. Directions that differ average to something shorter, so the less sure a forecaster is,
the shorter are its bones.
"""

import numpy as np
from jaxtyping import Bool, Float

from models.motion.plausible_bodies import stature
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import Skeleton

TINY_M = 1e-9  # a bone of this length has no direction

Hands = Float[np.ndarray, "*frames joints 3"]


def bone_lengths(hands: Hands, order: Skeleton = ASSEMBLY101) -> Float[np.ndarray, "*frames bones"]:
    """Return the lengths of the bones of hands, in the unit of the joints."""
    near, far = _ends(order)
    return np.linalg.norm(hands[..., far, :] - hands[..., near, :], axis=-1)


def last_lengths(
    past: Float[np.ndarray, "past hands joints 3"],
    seen: Bool[np.ndarray, "past hands joints"] | None,
    order: Skeleton = ASSEMBLY101,
) -> Float[np.ndarray, "hands bones"]:
    """Return the length of each bone in the last pose in which both of its ends were seen; NaN for one that never was."""
    (near, far), lengths = _ends(order), bone_lengths(past, order)
    if seen is None:
        return lengths[-1]
    both = seen[..., far] & seen[..., near]
    newest = len(both) - 1 - both[::-1].argmax(axis=0)
    chosen = np.take_along_axis(lengths, newest[None], axis=0)[0]
    return np.where(both.any(axis=0), chosen, np.nan)


def _ends(order: Skeleton) -> tuple[list[int], list[int]]:
    """Return the ends of the bones of an order: those nearer the root, and the others."""
    return [near for near, _ in order.bones], [far for _, far in order.bones]


def steady_body(poses: Float[np.ndarray, "frames joints 3"], order: Skeleton) -> Float[np.ndarray, "frames joints 3"]:
    """Return the poses of a clip with one length for each bone: the median over its frames, the same on both sides.

    The first joint stays where it is.
    """
    near, far = _ends(order)
    lengths = np.median(np.linalg.norm(poses[:, far] - poses[:, near], axis=-1), axis=0)
    at = {bone: i for i, bone in enumerate(order.bones)}
    image = [at[order.mirror[near], order.mirror[far]] for near, far in order.bones]
    return keep_bones(poses, (lengths + lengths[image]) / 2, order)


def scaled_body(
    poses: Float[np.ndarray, "frames joints 3"], order: Skeleton, height: float
) -> Float[np.ndarray, "frames joints 3"]:
    """Return the poses of a clip, from the pelvis, of a person who is `height` metres tall by the lengths of the limbs."""
    found = stature(poses, order)
    return poses if not found else poses * (height / found)


def keep_bones(hands: Hands, lengths: Float[np.ndarray, "*other bones"], order: Skeleton = ASSEMBLY101) -> Hands:
    """Return hands, or bodies in another order, whose bones have these lengths and the directions that they had, from the root outwards.

    The wrist stays. A bone without a length, or with an end that is NaN, moves along as it is. The result turns, moves and mirrors with the
    hands.
    """
    out, shift = hands.copy(), np.zeros_like(hands)
    for bone, (near, far) in enumerate(order.bones):
        along = hands[..., far, :] - hands[..., near, :]
        length = np.linalg.norm(along, axis=-1)
        wanted = np.broadcast_to(lengths[..., bone], length.shape)
        usable = np.isfinite(length) & np.isfinite(wanted) & (length > TINY_M)
        ratio = np.where(usable, wanted / np.where(usable, length, 1.0), 1.0)
        moved = shift[..., near, :] + (ratio[..., None] - 1) * np.where(usable[..., None], along, 0.0)
        shift[..., far, :] = moved
        out[..., far, :] = hands[..., far, :] + moved
    return out
