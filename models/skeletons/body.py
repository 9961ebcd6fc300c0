"""Skeletons of bodies as values: joints, bones and mirror pairs of every joint order, and conversion between the orders.

All orders share one vocabulary of joints, so that converting is picking by name. Left and right are the person's own. Along the middle,
from below: `pelvis` (between the hips), `lower_spine`, `spine` (the middle of the back), `thorax` (the base of the neck, between the
shoulders), `neck`, `head_base` (where the skull turns: Human3.6M's "neck/nose", MPII's "upper neck"), `head_top` (the crown: Human3.6M's
"head") and `head` (its middle). Data sets do not agree to the centimetre on where these are; the joints of the limbs differ less.

Penn Action's own names call the viewer's left "left": its `left_shoulder` is the right one here, and so are all its pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import Skeleton, UndefinedJoint, UnknownOrder, WrongJoints

_OTHER = {"left": "right", "right": "left"}
_ARM, _LEG = "shoulder elbow wrist", "hip knee ankle"
_MIDPOINTS = {  # half-way between two joints by definition in OpenPose and nearly so in Human3.6M; motion capture puts them up to 11 cm off
    "pelvis": (("left_hip", "right_hip"),),
    "thorax": (("left_shoulder", "right_shoulder"),),
    "neck": (("left_shoulder", "right_shoulder"),),
    "head": (("left_ear", "right_ear"), ("head_base", "head_top")),
}


@dataclass(frozen=True)
class Sides:
    """The joints of a body by side: left[k] and right[k] are each other's mirror image, those in `centre` their own."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    centre: tuple[int, ...]


def _sided(side: str, parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts.split())


def _pairs(parts: str) -> tuple[str, ...]:
    """Left, right of each part in turn."""
    return tuple(f"{side}_{part}" for part in parts.split() for side in ("left", "right"))


def _image(joint: str) -> str:
    """The joint that becomes of this one in a mirror."""
    side, _, part = joint.partition("_")
    return f"{_OTHER[side]}_{part}" if side in _OTHER else joint


def _body(name: str, joints: tuple[str, ...], *chains: str) -> Skeleton:
    """A body from its joints and the chains its bones make; a chain with *parts is one on the left and one on the right."""
    both = [chain.replace("*", f"{side}_").split() for side in _OTHER for chain in chains]
    bones = dict.fromkeys((joints.index(a), joints.index(b)) for chain in both for a, b in pairwise(chain))
    return Skeleton(name, joints, tuple(bones), tuple(joints.index(_image(joint)) for joint in joints))


_ARMS, _LEGS = "thorax *shoulder *elbow *wrist", "pelvis *hip *knee *ankle"

BODIES: dict[str, Skeleton] = {
    body.name: body
    for body in (
        _body(
            "h36m-17",
            (
                "pelvis",
                *_sided("right", _LEG),
                *_sided("left", _LEG),
                "spine",
                "thorax",
                "head_base",
                "head_top",
                *_sided("left", _ARM),
                *_sided("right", _ARM),
            ),
            *("pelvis spine thorax head_base head_top", _ARMS, _LEGS),
        ),
        _body(
            "coco-17",
            ("nose", *_pairs(f"eye ear {_ARM} {_LEG}")),
            *("nose *eye *ear *shoulder *elbow *wrist", "*shoulder *hip *knee *ankle"),
            *("left_shoulder right_shoulder", "left_hip right_hip"),
        ),
        _body(  # OpenPose's neck is half-way between the shoulders
            "openpose-18",
            (
                "nose",
                "neck",
                *_sided("right", _ARM),
                *_sided("left", _ARM),
                *_sided("right", _LEG),
                *_sided("left", _LEG),
                "right_eye",
                "left_eye",
                "right_ear",
                "left_ear",
            ),
            *("neck nose *eye *ear", "neck *shoulder *elbow *wrist", "neck *hip *knee *ankle"),
        ),
        _body(  # what Penn Action calls left comes first in each pair, and is the person's right
            "penn-13",
            ("head", *(_image(joint) for joint in _pairs(f"{_ARM} {_LEG}"))),
            *("head *shoulder *elbow *wrist", "*shoulder *hip *knee *ankle"),
            *("left_shoulder right_shoulder", "left_hip right_hip"),
        ),
        _body(
            "mpii-16",
            (
                "right_ankle",
                "right_knee",
                "right_hip",
                *_sided("left", _LEG),
                "pelvis",
                "thorax",
                "head_base",
                "head_top",
                "right_wrist",
                "right_elbow",
                "right_shoulder",
                *_sided("left", _ARM),
            ),
            *("pelvis thorax head_base head_top", _ARMS, _LEGS),
        ),
        _body(
            "humaneva-15",
            (
                "pelvis",
                "thorax",
                *_sided("left", _ARM),
                *_sided("right", _ARM),
                *_sided("left", _LEG),
                *_sided("right", _LEG),
                "head",
            ),
            *("pelvis thorax head", _ARMS, _LEGS),
        ),
        _body(  # Kinect v1
            "nw-ucla-20",
            (
                "pelvis",
                "spine",
                "thorax",
                "head",
                *_sided("left", f"{_ARM} hand"),
                *_sided("right", f"{_ARM} hand"),
                *_sided("left", f"{_LEG} foot"),
                *_sided("right", f"{_LEG} foot"),
            ),
            *("pelvis spine thorax head", f"{_ARMS} *hand", f"{_LEGS} *foot"),
        ),
        _body(
            "hdm05-25",
            (
                "pelvis",
                "lower_spine",
                "spine",
                "thorax",
                "neck",
                "head_base",
                "head_top",
                *_sided("left", f"{_ARM} hand {_LEG} foot toe"),
                *_sided("right", f"{_ARM} hand {_LEG} foot toe"),
            ),
            *("pelvis lower_spine spine thorax neck head_base head_top", f"{_ARMS} *hand", f"{_LEGS} *foot *toe"),
        ),
        _body(
            "cmu-24",
            (
                "pelvis",
                "spine",
                "thorax",
                "neck",
                "head_base",
                "head_top",
                *_sided("left", f"{_ARM} hand {_LEG} foot toe"),
                *_sided("right", f"{_ARM} hand {_LEG} foot toe"),
            ),
            *("pelvis spine thorax neck head_base head_top", f"{_ARMS} *hand", f"{_LEGS} *foot *toe"),
        ),
        _body(
            "reactidle-18",
            (
                "pelvis",
                "spine",
                "thorax",
                "head_base",
                *_sided("left", f"{_ARM} {_LEG} toe"),
                *_sided("right", f"{_ARM} {_LEG} toe"),
            ),
            *("pelvis spine thorax head_base", _ARMS, f"{_LEGS} *toe"),
        ),
        _body(
            "bandai-21",
            (
                "pelvis",
                "lower_spine",
                "spine",
                "thorax",
                "head_base",
                *_sided("left", f"clavicle {_ARM}"),
                *_sided("right", f"clavicle {_ARM}"),
                *_sided("left", f"{_LEG} toe"),
                *_sided("right", f"{_LEG} toe"),
            ),
            *("pelvis lower_spine spine thorax head_base", "spine *clavicle *shoulder *elbow *wrist", f"{_LEGS} *toe"),
        ),
        _body(
            "jhmdb-15",
            ("neck", "belly", "face", *(_image(joint) for joint in _pairs("shoulder hip elbow knee wrist ankle"))),
            *("belly neck face", "neck *shoulder *elbow *wrist", "belly *hip *knee *ankle"),
        ),
    )
}


def get_body_order(name: str) -> Skeleton:
    """The joint order called `name`. Raises UnknownOrder."""
    if name not in BODIES:
        raise UnknownOrder(f"no joint order {name!r}; known are {', '.join(BODIES)}")
    return BODIES[name]


def sides(body: Skeleton) -> Sides:
    """The mirror pairs of a body, in the order of the left joints, and the joints that have none."""
    left = tuple(i for i, joint in enumerate(body.joints) if joint.startswith("left_"))
    centre = tuple(i for i, image in enumerate(body.mirror) if i == image)
    return Sides(left, tuple(body.mirror[i] for i in left), centre)


def body_indices(body: Skeleton, joints: Sequence[str]) -> list[int]:
    """Where the named joints are. Raises UndefinedJoint for one that this order has not."""
    if missing := [joint for joint in joints if joint not in body.joints]:
        raise UndefinedJoint(f"{body.name} bodies have no {', '.join(missing)}")
    return [body.joints.index(joint) for joint in joints]


def mirrored(
    points: Float[np.ndarray, "*batch joints channels"], body: Skeleton
) -> Float[np.ndarray, "*batch joints channels"]:
    """The chirality transform: the first coordinate is negated and left and right change places; T applied twice is the identity.

    Coordinates are x first, from the mirror plane; what follows (y, z, a confidence) stays. Raises WrongJoints.
    """
    _check_joints(points, body)
    swapped = points[..., list(body.mirror), :]
    swapped[..., 0] *= -1
    return swapped


def undefined_joints(source: Skeleton, target: Skeleton) -> tuple[str, ...]:
    """The joints of `target` that `source` has not and that cannot be computed from those it has."""
    return tuple(joint for joint, parts in zip(target.joints, _parts(source, target), strict=True) if not parts)


def convert_body(
    points: Float[np.ndarray, "*batch source_joints dims"],
    source: Skeleton,
    target: Skeleton,
    *,
    partial: bool = False,
) -> Float[np.ndarray, "*batch target_joints dims"]:
    """The same bodies in another joint order, in the same unit, in any number of dimensions.

    A pelvis, thorax, neck or head that `source` has not is half-way between two joints it has. Other joints that it has not raise
    UndefinedJoint, or are NaN with `partial`. Missing points are NaN and stay so. Raises WrongJoints.
    """
    _check_joints(points, source)
    if not partial and (missing := undefined_joints(source, target)):
        raise UndefinedJoint(f"{source.name} bodies have no {', '.join(missing)}, which {target.name} bodies want")
    parts = _parts(source, target)
    first, second = ([each[end] if each else 0 for each in parts] for end in (0, -1))
    converted = points[..., first, :]
    if first != second:
        converted = (converted + points[..., second, :]) / 2  # of a joint and itself: exactly that joint
    converted[..., [not each for each in parts], :] = np.nan
    return converted


def convert_confidence(
    confidence: Float[np.ndarray, "*batch source_joints"], source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "*batch target_joints"]:
    """The confidence of what `convert_body` gives: of a computed joint the least of its parts', of one that cannot be had 0."""
    if confidence.shape[-1] != len(source.joints):
        raise WrongJoints(f"{source.name} bodies want {len(source.joints)} confidences, not {confidence.shape}")
    converted = np.zeros((*confidence.shape[:-1], len(target.joints)), dtype=confidence.dtype)
    for joint, parts in enumerate(_parts(source, target)):
        if parts:
            converted[..., joint] = confidence[..., parts].min(axis=-1)
    return converted


def _parts(source: Skeleton, target: Skeleton) -> list[list[int]]:
    """For each joint of `target` those of `source` whose mean it is: itself, two, or none."""
    ways = [((joint,), *_MIDPOINTS.get(joint, ())) for joint in target.joints]
    possible = [next((way for way in each if set(way) <= set(source.joints)), ()) for each in ways]
    return [[source.joints.index(joint) for joint in way] for way in possible]


def _check_joints(points: np.ndarray, body: Skeleton) -> None:
    if points.ndim < 2 or points.shape[-2] != len(body.joints):
        raise WrongJoints(f"{body.name} bodies are points (..., {len(body.joints)}, dims), not {points.shape}")
