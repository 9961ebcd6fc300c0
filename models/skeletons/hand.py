"""Skeletons of hands as values: joints, bones and mirror pairs of every joint order, and conversion between the orders.
 All orders share one vocabulary of joints, so that converting is picking by name: `thumb_cmc`, `thumb_mcp`, `thumb_ip`,
`thumb_tip`; for each finger `index_metacarpal` (the base of that bone, near the wrist), `index_mcp`, `index_pip`,
`index_dip`, `index_tip`; `wrist`; `palm_centre`. OpenXR's palm is another point (the middle of the middle metacarpal)
and has its own name, `openxr_palm`.

Inside, a hand is in Assembly101 order. It has no thumb CMC and no metacarpal bases; `carry` says where those went.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, UndefinedJoint, UnknownOrder, WrongJoints

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_OUTWARDS = ("cmc", "metacarpal", "mcp", "pip", "ip", "dip", "tip")  # the joints of a finger from the wrist on


def _hand(name: str, joints: tuple[str, ...]) -> Skeleton:
    """One hand: each finger is a chain from the wrist outwards, and the palm hangs on the wrist."""
    chains = [
        ["wrist", *(joint for part in _OUTWARDS if (joint := f"{finger}_{part}") in joints)] for finger in FINGERS
    ]
    chains += [["wrist", palm] for palm in ("palm_centre", "openxr_palm") if palm in joints]
    bones = [(joints.index(a), joints.index(b)) for chain in chains for a, b in pairwise(chain)]
    return Skeleton(name, joints, tuple(bones), tuple(range(len(joints))))


def _fingers(thumb: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """The joints finger by finger: `thumb` parts, then `others` parts of the four fingers."""
    return tuple(f"{finger}_{part}" for finger in FINGERS for part in (thumb if finger == "thumb" else others))


_OPENPOSE = ("wrist", *_fingers(("cmc", "mcp", "ip", "tip"), ("mcp", "pip", "dip", "tip")))

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
                *_fingers(("cmc", "mcp", "ip", "tip"), ("metacarpal", "mcp", "pip", "dip", "tip")),
            ),
        ),
        _hand(  # LeapJS: palmPosition, wrist, then mcp, pip, dip, btip; in the thumb they are CMC, MCP, IP, tip
            "leap", ("palm_centre", *_OPENPOSE)
        ),
    )
}


def _pair(hand: Skeleton) -> Skeleton:
    n = len(hand.joints)
    return Skeleton(
        name=f"{hand.name}-pair",
        joints=tuple(f"{side}_{joint}" for side in LEFT_RIGHT for joint in hand.joints),
        bones=tuple((i + shift, j + shift) for shift in (0, n) for i, j in hand.bones),
        mirror=tuple((i + n) % (2 * n) for i in range(2 * n)),
    )


ASSEMBLY101 = HANDS["assembly101"]
HAND_PAIR = _pair(ASSEMBLY101)  # nodes 0-20 left, 21-41 right
PALM = ("wrist", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp")  # joints of the rigid palm, in every order


def get_hand_order(name: str) -> Skeleton:
    """The joint order called `name`. Raises UnknownOrder."""
    if name not in HANDS:
        raise UnknownOrder(f"no joint order {name!r}; known are {', '.join(HANDS)}")
    return HANDS[name]


def palm_centre(
    wrist: Float[np.ndarray, "*batch 3"],
    index_mcp: Float[np.ndarray, "*batch 3"],
    pinky_mcp: Float[np.ndarray, "*batch 3"],
    hand: Hand,
) -> Float[np.ndarray, "*batch 3"]:
    """Assembly101's palm centre from three joints of the palm, in their unit; right-handed coordinates.

    wrist + 0.5984 a + 0.3205 b + 0.1110 |a| n with a = index MCP - wrist, b = pinky MCP - wrist and n the unit normal
    out of the palm: along a x b for a right hand, against it for a left one. Fitted on 1272 frames of Assembly101;
    within 0.7 mm of it on average.
    """
    a, b = index_mcp - wrist, pinky_mcp - wrist
    normal = np.cross(a, b) if hand == "right" else np.cross(b, a)
    normal = normal * (np.linalg.norm(a, axis=-1, keepdims=True) / np.linalg.norm(normal, axis=-1, keepdims=True))
    return wrist + 0.5984 * a + 0.3205 * b + 0.1110 * normal


def convert(
    points: Float[np.ndarray, "*batch source_joints 3"], source: Skeleton, target: Skeleton, hand: Hand
) -> Float[np.ndarray, "*batch target_joints 3"]:
    """The same hand in another joint order, in the same unit; a palm centre that `source` has not is computed.

    Raises WrongJoints if `points` are not `source`'s, UndefinedJoint if `target` has a joint that `source` cannot give:
    Assembly101 has neither the thumb CMC nor the metacarpal bases.
    """
    _check_joints(points, source)
    missing = [joint for joint in target.joints if joint not in source.joints and joint != "palm_centre"]
    if missing:
        raise UndefinedJoint(f"{source.name} hands have no {', '.join(missing)}, which {target.name} hands want")
    if "palm_centre" in target.joints and "palm_centre" not in source.joints:
        wrist, index_mcp, pinky_mcp = (points[..., i, :] for i in source.indices(("wrist", "index_mcp", "pinky_mcp")))
        centre = palm_centre(wrist, index_mcp, pinky_mcp, hand)
        points = np.concatenate([points, centre[..., None, :]], axis=-2)
        joints = (*source.joints, "palm_centre")
    else:
        joints = source.joints
    return points[..., [joints.index(joint) for joint in target.joints], :]


def carried_joints(target: Skeleton) -> tuple[str, ...]:
    """The joints of `target` that Assembly101 has not, which `carry` moves rigidly with the palm."""
    return tuple(joint for joint in target.joints if joint not in ASSEMBLY101.joints)


def carry(
    reference: Float[np.ndarray, "target_joints 3"], moved: Float[np.ndarray, "*batch joints 3"], target: Skeleton
) -> Float[np.ndarray, "*batch target_joints 3"]:
    """Hands in Assembly101 order as `target` hands, the joints in `carried_joints(target)` riding on the palm.

    `reference` is one frame of the same hand in `target` order, `moved` any number of later (or forecast) frames, both
    in one unit. The palm's motion is the proper rotation and translation that best takes the reference's wrist and four
    finger MCPs to the moved ones (Kabsch). Raises WrongJoints.
    """
    _check_joints(reference, target)
    _check_joints(moved, ASSEMBLY101)
    before = reference[target.indices(PALM)]
    after = moved[..., ASSEMBLY101.indices(PALM), :]
    origin_before, origin_after = before.mean(axis=-2), after.mean(axis=-2, keepdims=True)
    rotation = _best_rotation(before - origin_before, after - origin_after)
    riders = carried_joints(target)
    ridden = (reference[target.indices(riders)] - origin_before) @ np.swapaxes(rotation, -1, -2) + origin_after
    out = np.empty((*moved.shape[:-2], len(target.joints), 3), dtype=moved.dtype)
    kept = [joint for joint in target.joints if joint not in riders]
    out[..., target.indices(kept), :] = moved[..., ASSEMBLY101.indices(kept), :]
    out[..., target.indices(riders), :] = ridden
    return out


def _best_rotation(
    before: Float[np.ndarray, "points 3"], after: Float[np.ndarray, "*batch points 3"]
) -> Float[np.ndarray, "*batch 3 3"]:
    """The R of determinant +1 with the least sum of |R before_i - after_i|^2 (Kabsch 1976); both are centred."""
    u, _, vt = np.linalg.svd(np.swapaxes(after, -1, -2) @ before)
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


def _check_joints(points: np.ndarray, skeleton: Skeleton) -> None:
    if points.shape[-2:] != (len(skeleton.joints), 3):
        raise WrongJoints(f"{skeleton.name} hands are points (..., {len(skeleton.joints)}, 3), not {points.shape}")
