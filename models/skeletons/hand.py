"""Joint orders of hands, and conversion between them.

All orders share one vocabulary of joints, so that conversion is selection by name: `thumb_cmc`, `thumb_mcp`, `thumb_ip`, `thumb_tip`; for
each finger `index_metacarpal` (the base of that bone, near the wrist), `index_mcp`, `index_pip`, `index_dip`, `index_tip`; `wrist`;
`palm_centre`. OpenXR's palm is another point, the middle of the middle metacarpal, and has its own name: `openxr_palm`.

Networks use Assembly101 order. It lacks the thumb CMC and the metacarpal bases; `carry` moves these rigidly with the palm.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, UndefinedJoint, find_order

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_OUTWARDS = (
    "trapezium",
    "cmc",
    "metacarpal",
    "mcp",
    "pip",
    "ip",
    "dip",
    "tip",
)  # a finger's joints from the wrist outwards


def _hand(name: str, joints: tuple[str, ...]) -> Skeleton:
    """Build a hand in which each finger is a chain of bones from the wrist outwards and the palm is joined to the wrist."""
    chains = [
        ["wrist", *(joint for part in _OUTWARDS if (joint := f"{finger}_{part}") in joints)] for finger in FINGERS
    ]
    chains += [["wrist", other] for other in ("palm_centre", "openxr_palm", "forearm") if other in joints]
    bones = [(joints.index(a), joints.index(b)) for chain in chains for a, b in pairwise(chain)]
    return Skeleton(name, joints, tuple(bones), tuple(range(len(joints))))


def _fingers(thumb: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return joint names finger by finger: the `thumb` parts, then the `others` parts of each of the four fingers."""
    return tuple(f"{finger}_{part}" for finger in FINGERS for part in (thumb if finger == "thumb" else others))


_OPENPOSE = ("wrist", *_fingers(("cmc", "mcp", "ip", "tip"), ("mcp", "pip", "dip", "tip")))
_OPENXR = _fingers(("cmc", "mcp", "ip", "tip"), ("metacarpal", "mcp", "pip", "dip", "tip"))

HANDS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        _hand(  # tips first; wrist 5, palm centre 20
            "assembly101",
            (
                *(f"{finger}_tip" for finger in FINGERS),
                "wrist",
                *_fingers(("mcp", "ip"), ("mcp", "pip", "dip")),
                "palm_centre",
            ),
        ),
        _hand("mano", _OPENPOSE),
        _hand("mediapipe", _OPENPOSE),
        _hand(  # enum XrHandJointEXT: its thumb "metacarpal, proximal, distal" begin at CMC, MCP, IP
            "openxr",
            (
                "openxr_palm",
                "wrist",
                *_OPENXR,
            ),
        ),
        _hand("webxr", ("wrist", *_OPENXR)),  # XRHand: OpenXR's joints without the palm
        _hand("unity-xr", ("wrist", "openxr_palm", *_OPENXR)),  # XRHandJointID and MRTK's TrackedHandJoint: wrist first
        _hand(  # OVRSkeleton: where its bones begin, then the tips
            "quest",
            (
                "wrist",
                "forearm",
                "thumb_trapezium",
                *(f"thumb_{part}" for part in ("cmc", "mcp", "ip")),
                *(f"{finger}_{part}" for finger in FINGERS[1:4] for part in ("mcp", "pip", "dip")),
                *(f"pinky_{part}" for part in ("metacarpal", "mcp", "pip", "dip")),
                *(f"{finger}_tip" for finger in FINGERS),
            ),
        ),
        _hand(  # MANO's own kinematic tree, thumb last and pinky before ring, then the tips as manopth and smplx add them
            "mano-smplx",
            (
                "wrist",
                *(
                    f"{finger}_{part}"
                    for finger in ("index", "middle", "pinky", "ring")
                    for part in ("mcp", "pip", "dip")
                ),
                *(f"thumb_{part}" for part in ("cmc", "mcp", "ip")),
                *(f"{finger}_tip" for finger in FINGERS),
            ),
        ),
        _hand(  # LeapJS: palmPosition, wrist, then mcp, pip, dip, btip; in the thumb they are CMC, MCP, IP, tip
            "leap", ("palm_centre", *_OPENPOSE)
        ),
    )
}


ALIASES = {  # other names of orders; case and punctuation do not matter
    "manopth": "mano",
    "manotorch": "mano",
    "openpose-hand": "mano",
    "coco-hand": "mano",
    "freihand": "mano",
    "mano-21": "mano-smplx",
    "smplx": "mano-smplx",
    "mediapipe-hands": "mediapipe",
    "hololens": "openxr",
    "mrtk": "unity-xr",
    "unity": "unity-xr",
    "unity-xr-hands": "unity-xr",
    "oculus": "quest",
    "meta-quest": "quest",
    "ovr": "quest",
    "ultraleap": "leap",
    "leapjs": "leap",
    "leap-motion": "leap",
}


def pair_of(hand: Skeleton) -> Skeleton:
    """Build the skeleton of two hands, left then right, in which each joint mirrors to its image in the other hand."""
    n = len(hand.joints)
    return Skeleton(
        name=f"{hand.name}-pair",
        joints=tuple(f"{side}_{joint}" for side in LEFT_RIGHT for joint in hand.joints),
        bones=tuple((i + shift, j + shift) for shift in (0, n) for i, j in hand.bones),
        mirror=tuple(image + shift for shift in (n, 0) for image in hand.mirror),
    )


ASSEMBLY101 = HANDS["assembly101"]
HAND_PAIR = pair_of(ASSEMBLY101)  # nodes 0-20 left, 21-41 right
PALM = ("wrist", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp")  # the rigid palm; every order has these joints


def get_hand_order(name: str) -> Skeleton:
    """Return the joint order called `name`, or one of its ALIASES; case and punctuation do not matter. Raises UnknownOrder."""
    return find_order(name, HANDS, ALIASES)


def is_known(order: Skeleton) -> bool:
    """Return whether an order is one of HANDS, which can be converted, and no skeleton of one's own."""
    return order.name in HANDS  # skeletons of one's own have other names


def is_converted(order: Skeleton) -> bool:
    """Return whether hands in this order are converted for a network: Assembly101's, and skeletons of one's own, are not."""
    return is_known(order) and order.name != ASSEMBLY101.name


def orders_with(count: int) -> tuple[str, ...]:
    """Return the names of the orders of so many joints."""
    return tuple(order.name for order in HANDS.values() if len(order.joints) == count)


def palm_centre(
    wrist: Float[np.ndarray, "*batch 3"],
    index_mcp: Float[np.ndarray, "*batch 3"],
    pinky_mcp: Float[np.ndarray, "*batch 3"],
    hand: Hand,
) -> Float[np.ndarray, "*batch 3"]:
    """Compute Assembly101's palm centre from three joints of the palm, in their unit; coordinates are right-handed.

    The result is wrist + 0.5984 a + 0.3205 b + 0.1110 |a| n, with a = index MCP - wrist, b = pinky MCP - wrist and n the unit normal out of
    the palm: along a x b for a right hand, against it for a left one. The coefficients were fitted on 1272 frames of Assembly101, where the
    mean error is below 0.7 mm.
    """
    a, b = index_mcp - wrist, pinky_mcp - wrist
    normal = np.cross(a, b) if hand == "right" else np.cross(b, a)
    normal = normal * (np.linalg.norm(a, axis=-1, keepdims=True) / np.linalg.norm(normal, axis=-1, keepdims=True))
    return wrist + 0.5984 * a + 0.3205 * b + 0.1110 * normal


def convert(
    points: Float[np.ndarray, "*batch source_joints 3"], source: Skeleton, target: Skeleton, hand: Hand
) -> Float[np.ndarray, "*batch target_joints 3"]:
    """Convert a hand to another joint order, in the same unit; compute the palm centre if `source` lacks it.

    Raises WrongJoints if the shape of `points` does not fit `source`, and UndefinedJoint if `target` has a joint that `source` cannot give:
    Assembly101 has neither the thumb CMC nor the metacarpal bases.
    """
    source.check_points(points, 3)
    if source.joints == target.joints:
        return points
    missing = [joint for joint in target.joints if joint not in source.joints and joint != "palm_centre"]
    if missing:
        raise UndefinedJoint(f"{target.name} hands need {', '.join(missing)}, which {source.name} hands do not have")
    joints = source.joints
    if "palm_centre" in target.joints and "palm_centre" not in joints:
        wrist, index_mcp, pinky_mcp = (points[..., i, :] for i in source.indices(("wrist", "index_mcp", "pinky_mcp")))
        centre = palm_centre(wrist, index_mcp, pinky_mcp, hand)
        points = np.concatenate([points, centre[..., None, :]], axis=-2)
        joints = (*joints, "palm_centre")
    return points[..., [joints.index(joint) for joint in target.joints], :]


def carried_joints(target: Skeleton) -> tuple[str, ...]:
    """Return the joints of `target` that Assembly101 lacks, which `carry` moves rigidly with the palm; none of a skeleton of one's own."""
    return _carried(target.name) if is_known(target) else ()


@cache
def _carried(order: str) -> tuple[str, ...]:
    return tuple(joint for joint in HANDS[order].joints if joint not in ASSEMBLY101.joints)


def carry(
    reference: Float[np.ndarray, "target_joints 3"], moved: Float[np.ndarray, "*batch joints 3"], target: Skeleton
) -> Float[np.ndarray, "*batch target_joints 3"]:
    """Convert hands in Assembly101 order to `target` order, moving `carried_joints(target)` rigidly with the palm.

    `reference` is one frame of the same hand in `target` order; `moved` is any number of later or forecast frames, in the same unit. The
    palm's motion is the proper rotation and translation that best maps the wrist and the four finger MCPs of the reference to the moved
    ones (Kabsch 1976). Raises WrongJoints.
    """
    target.check_points(reference, 3)
    ASSEMBLY101.check_points(moved, 3)
    before = reference[target.indices(PALM)]
    after = moved[..., ASSEMBLY101.indices(PALM), :]
    origin_before, origin_after = before.mean(axis=-2), after.mean(axis=-2, keepdims=True)
    rotation = _best_rotation(before - origin_before, after - origin_after)
    carried = carried_joints(target)
    copied = [joint for joint in target.joints if joint not in carried]
    offsets = reference[target.indices(carried)] - origin_before
    out = np.empty((*moved.shape[:-2], len(target.joints), 3), dtype=moved.dtype)
    out[..., target.indices(copied), :] = moved[..., ASSEMBLY101.indices(copied), :]
    out[..., target.indices(carried), :] = offsets @ np.swapaxes(rotation, -1, -2) + origin_after
    return out


def carried_spread(
    spread: Float[np.ndarray, "*batch joints"], target: Skeleton
) -> Float[np.ndarray, "*batch target_joints"]:
    """Convert standard deviations in Assembly101 order to `target` order.

    A joint that `carry` moves with the palm has the root mean square of the standard deviations of the joints that move it: the wrist and
    the four finger MCPs. This is a definition of this project.
    """
    palm = np.sqrt((spread[..., ASSEMBLY101.indices(PALM)] ** 2).mean(axis=-1))
    joints = [
        spread[..., ASSEMBLY101.joints.index(joint)] if joint in ASSEMBLY101.joints else palm for joint in target.joints
    ]
    return np.stack(joints, axis=-1)


def _best_rotation(
    before: Float[np.ndarray, "points 3"], after: Float[np.ndarray, "*batch points 3"]
) -> Float[np.ndarray, "*batch 3 3"]:
    """Return the proper rotation R that minimises the sum of |R before_i - after_i|^2 (Kabsch 1976); both inputs are centred."""
    u, _, vt = np.linalg.svd(np.swapaxes(after, -1, -2) @ before)
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt
