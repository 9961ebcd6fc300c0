"""Joint orders of bodies, their mirror images, and conversion between orders.

All orders share one vocabulary of joints, so that conversion is selection by name. Left and right are the person's own. The joints of the
trunk and head, from below, are: `pelvis` (between the hips), `lower_spine`, `spine` (the middle of the back), `thorax` (the base of the
neck, between the shoulders), `neck`, `head_base` (where the skull turns: Human3.6M's "neck/nose", MPII's "upper neck"), `head_top` (the
crown: Human3.6M's "head") and `head` (its middle). Data sets differ by centimetres on where these are, and by less on the limbs.

Penn Action's published names call the viewer's left "left": its `left_shoulder` is `right_shoulder` here, and so are all its pairs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import Skeleton, UndefinedJoint, WrongJoints, find_order

_OTHER = {"left": "right", "right": "left"}
_ARM, _LEG = "shoulder elbow wrist", "hip knee ankle"
_MIDPOINTS = {  # exact midpoints in OpenPose, nearly so in Human3.6M, up to 11 cm off in motion capture
    "pelvis": (("left_hip", "right_hip"),),
    "thorax": (("left_shoulder", "right_shoulder"),),
    "neck": (("left_shoulder", "right_shoulder"),),
    "head": (("left_ear", "right_ear"), ("head_base", "head_top")),
}


@dataclass(frozen=True)
class Sides:
    """The joint indices of a body by side: left[k] and right[k] mirror each other; those in `centre` are their own mirror image."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    centre: tuple[int, ...]


def _sided(side: str, parts: str) -> tuple[str, ...]:
    """Return the joints of one side for space-separated `parts`."""
    return tuple(f"{side}_{part}" for part in parts.split())


def _pairs(parts: str) -> tuple[str, ...]:
    """Return left, then right, for each of the space-separated `parts`."""
    return tuple(f"{side}_{part}" for part in parts.split() for side in ("left", "right"))


def _image(joint: str) -> str:
    """Return the joint that is the mirror image of `joint`."""
    side, _, part = joint.partition("_")
    return f"{_OTHER[side]}_{part}" if side in _OTHER else joint


def _body(name: str, joints: tuple[str, ...], *chains: str) -> Skeleton:
    """Build a body from its joints and chains of bones; a chain with *parts stands for one on the left and one on the right."""
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
        _body(  # OpenPose's neck is the midpoint of the shoulders
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
        _body(  # in each pair the person's right, which Penn Action calls left, comes first
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


ALIASES = {  # other names of orders; case and punctuation do not matter
    "coco": "coco-17",
    "yolo": "coco-17",
    "openpose": "openpose-18",
    "openpose-coco": "openpose-18",
    "human36m": "h36m-17",
    "h36m": "h36m-17",
    "mpii": "mpii-16",
    "humaneva": "humaneva-15",
    "kinect": "nw-ucla-20",
    "kinect-20": "nw-ucla-20",
    "penn": "penn-13",
    "jhmdb": "jhmdb-15",
}


def get_body_order(name: str) -> Skeleton:
    """Return the joint order called `name`, or one of its ALIASES; case and punctuation do not matter. Raises UnknownOrder."""
    return find_order(name, BODIES, ALIASES)


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


def convert_body(
    points: Float[np.ndarray, "*batch source_joints dims"],
    source: Skeleton,
    target: Skeleton,
    *,
    partial: bool = False,
) -> Float[np.ndarray, "*batch target_joints dims"]:
    """Convert bodies to another joint order, in the same unit and in any number of dimensions.

    A pelvis, thorax, neck or head that `source` lacks is the midpoint of two joints that it has. Any other joint that `source` lacks raises
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
