"""Bodies by joint order: mirror images, and conversion from one order to another.

Conversion is selection by the names of `body_orders`. The joints of the trunk that an order lacks are computed from it where a midpoint is
a sound estimate; the rest stay missing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import Skeleton, UndefinedJoint, WrongJoints

# Exact midpoints in OpenPose, nearly so in Human3.6M, up to 11 cm off in motion capture. The spine has none: with the middle between hips
# and shoulders for it, the limbs that the shipped lifter gives are off by 92 mm on twelve test clips of hdm05_11 and by 88 mm on twelve of
# cmu_9act, and with a missing spine by 65 and 36 mm.
_MIDPOINTS = {
    "pelvis": (("left_hip", "right_hip"),),
    "thorax": (("left_shoulder", "right_shoulder"),),
    "neck": (("left_shoulder", "right_shoulder"),),
    "head": (("left_ear", "right_ear"), ("head_base", "head_top")),
    "left_toe": (("left_big_toe", "left_small_toe"),),
    "right_toe": (("right_big_toe", "right_small_toe"),),
    "left_hand": (("left_hand_index_mcp", "left_hand_pinky_mcp"),),
    "right_hand": (("right_hand_index_mcp", "right_hand_pinky_mcp"),),
}


@dataclass(frozen=True)
class Sides:
    """The joint indices of a body by side: left[k] and right[k] mirror each other; those in `centre` are their own mirror image."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    centre: tuple[int, ...]


def sides(body: Skeleton) -> Sides:
    """Return the mirror pairs of a body, in the order of its left joints, and the joints that are their own mirror image."""
    left = tuple(i for i, joint in enumerate(body.joints) if joint.startswith("left_"))
    centre = tuple(i for i, image in enumerate(body.mirror) if i == image)
    return Sides(left, tuple(body.mirror[i] for i in left), centre)


def mirrored(
    points: Float[np.ndarray, "*batch joints channels"], body: Skeleton
) -> Float[np.ndarray, "*batch joints channels"]:
    """Apply the chirality transform: negate the first coordinate and exchange left and right joints.

    Coordinates are x first, measured from the mirror plane; the channels after it (y, z, a confidence) stay. Applying the transform twice
    is the identity. Raises WrongJoints.
    """
    body.check_points(points)
    swapped = points[..., list(body.mirror), :]
    swapped[..., 0] *= -1
    return swapped


def undefined_joints(source: Skeleton, target: Skeleton) -> tuple[str, ...]:
    """Return the joints of `target` that `source` lacks and that cannot be computed from its joints."""
    return tuple(joint for joint, parts in zip(target.joints, _parts(source, target), strict=True) if not parts)


def orders_with(count: int) -> tuple[str, ...]:
    """Return the names of the orders of so many joints."""
    return tuple(order.name for order in BODIES.values() if len(order.joints) == count)


def convert_body(
    points: Float[np.ndarray, "*batch source_joints dims"],
    source: Skeleton,
    target: Skeleton,
    *,
    partial: bool = False,
) -> Float[np.ndarray, "*batch target_joints dims"]:
    """Convert bodies to another joint order, in the same unit and in any number of dimensions.

    A pelvis, thorax, neck, head, toe or hand that `source` lacks is the midpoint of two joints that it has. Any other joint raises
    UndefinedJoint or, with `partial`, is NaN. A missing point is NaN and stays NaN. Raises WrongJoints.
    """
    source.check_points(points)
    if not partial and (missing := undefined_joints(source, target)):
        raise UndefinedJoint(f"{target.name} bodies need {', '.join(missing)}, which {source.name} bodies do not have")
    parts = _parts(source, target)
    first, second = ([each[end] if each else 0 for each in parts] for end in (0, -1))
    converted = points[..., first, :]
    if first != second:
        converted = (converted + points[..., second, :]) / 2  # the mean of a joint and itself is exactly that joint
    converted[..., [not each for each in parts], :] = np.nan
    return converted


def convert_confidence(
    confidence: Float[np.ndarray, "*batch source_joints"], source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "*batch target_joints"]:
    """Return the confidences that belong to the points of `convert_body`.

    A computed joint has the lowest confidence of its parts; a joint that cannot be computed has confidence 0. Raises WrongJoints.
    """
    if confidence.shape[-1] != len(source.joints):
        raise WrongJoints(
            f"expected {len(source.joints)} confidences per {source.name} body, got an array of shape {confidence.shape}"
        )
    converted = np.zeros((*confidence.shape[:-1], len(target.joints)), dtype=confidence.dtype)
    for joint, parts in enumerate(_parts(source, target)):
        if parts:
            converted[..., joint] = confidence[..., parts].min(axis=-1)
    return converted


def _parts(source: Skeleton, target: Skeleton) -> list[list[int]]:
    """Return, for each joint of `target`, the joints of `source` whose mean it is: one, two, or none."""
    ways = [((joint,), *_MIDPOINTS.get(joint, ())) for joint in target.joints]
    possible = [next((way for way in each if set(way) <= set(source.joints)), ()) for each in ways]
    return [[source.joints.index(joint) for joint in way] for way in possible]
