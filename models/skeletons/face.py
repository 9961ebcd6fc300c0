"""The 68 face landmarks of iBUG 300-W: their order, regions and mirror pairs.

Landmarks have names, and left and right are the subject's own. The order is that of Multi-PIE as used by iBUG 300-W (Sagonas et al. 2013,
10.1109/ICCVW.2013.59): jaw, brows, nose, eyes, lips.
"""

from collections.abc import Sequence
from itertools import pairwise

from models.skeletons.skeleton import Skeleton


def _both(parts: Sequence[str]) -> tuple[str, ...]:
    """Return a curve from the subject's right to the left: `parts`, then their mirror images; a part that begins with = is central."""
    middle = tuple(part[1:] for part in parts if part.startswith("="))
    sides = [part for part in parts if not part.startswith("=")]
    return (*(f"right_{part}" for part in sides), *middle, *(f"left_{part}" for part in reversed(sides)))


def _around(right_to_left: Sequence[str], left_to_right: Sequence[str]) -> tuple[str, ...]:
    """Return a closed curve: the upper half as `_both` gives it, then the lower half backwards."""
    return (*_both(right_to_left), *reversed(_both(left_to_right)))


_EYE = ("outer", "upper_outer", "upper_inner", "inner", "lower_inner", "lower_outer")
_FACE = {  # region: its landmarks in order, and whether the curve is closed
    "jaw": (_both([*(f"jaw_{i}" for i in range(1, 9)), "=chin"]), False),  # from the ear down to the chin
    "right_brow": (tuple(f"right_brow_{i}" for i in range(1, 6)), False),  # from the temple inwards
    "left_brow": (tuple(f"left_brow_{i}" for i in range(5, 0, -1)), False),
    "nose_bridge": (("nasion", "nose_bridge_upper", "nose_bridge_lower", "nose_tip"), False),
    "nose_base": (_both(["ala", "nostril", "=subnasale"]), False),
    "right_eye": (tuple(f"right_eye_{part}" for part in _EYE), True),
    "left_eye": (tuple(f"left_eye_{_EYE[i]}" for i in (3, 2, 1, 0, 5, 4)), True),
    "outer_lip": (
        _around(
            ["mouth_corner", "upper_lip_outer", "upper_lip_inner", "=upper_lip"],
            ["lower_lip_outer", "lower_lip_inner", "=lower_lip"],
        ),
        True,
    ),
    "inner_lip": (
        _around(
            ["mouth_corner_inside", "upper_lip_inside", "=upper_lip_inside"], ["lower_lip_inside", "=lower_lip_inside"]
        ),
        True,
    ),
}


def _face(name: str) -> Skeleton:
    """Build the skeleton whose bones join neighbouring landmarks of each region."""
    joints = tuple(landmark for landmarks, _ in _FACE.values() for landmark in landmarks)
    bones = [
        (joints.index(a), joints.index(b))
        for landmarks, closed in _FACE.values()
        for a, b in pairwise((*landmarks, landmarks[0]) if closed else landmarks)
    ]
    other = {"right": "left", "left": "right"}
    sides = [joint.partition("_") for joint in joints]
    mirror = tuple(
        joints.index(f"{other[side]}_{part}") if side in other else i for i, (side, _, part) in enumerate(sides)
    )
    return Skeleton(name, joints, tuple(bones), mirror)


FACE68 = _face("ibug68")
FACE_REGIONS: dict[str, tuple[int, ...]] = {
    region: tuple(FACE68.indices(landmarks)) for region, (landmarks, _) in _FACE.items()
}
INTEROCULAR = tuple(FACE68.indices(("right_eye_outer", "left_eye_outer")))  # the outer eye corners: 36, 45
