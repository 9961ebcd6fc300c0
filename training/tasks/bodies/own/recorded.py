"""Recorded motion as a file has it, and its joints in a joint order: by the names that skeletons and markers usually have."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.body import convert_body, undefined_joints
from models.skeletons.skeleton import Skeleton

MAX_FRAMES = 1_000_000  # more than two hours at 120 frames a second
MAX_POINTS = 1000  # joints or markers of a file
MOST_NAMES = 40  # in a message

_SIDES = {"left": ("left", "l"), "right": ("right", "r")}
_TRUNK = {
    **{"hips": "pelvis", "hip": "pelvis", "pelvis": "pelvis", "root": "pelvis"},
    **{"spine": "lower_spine", "spine1": "spine", "chest": "spine", "spine2": "chest", "upperchest": "chest"},
    **{"neck": "thorax", "neck1": "neck", "head": "head_base"},
    **{"headtopend": "head_top", "headend": "head_top", "headtop": "head_top"},
}
_BY_BONES = {  # CMU's and Mixamo's limbs, then Bandai Namco's: a joint has the name of the bone that it turns
    **{"upleg": "hip", "leg": "knee", "foot": "ankle", "toebase": "foot", "toeend": "toe", "toebaseend": "toe"},
    **{"shoulder": "clavicle", "arm": "shoulder", "forearm": "elbow", "hand": "wrist"},
    **{"fingerbase": "hand", "handmiddle1": "hand"},
    **{"upperleg": "hip", "lowerleg": "knee", "toes": "toe", "upperarm": "shoulder", "lowerarm": "elbow"},
}
_BY_JOINTS = {
    **{joint: joint for joint in ("hip", "knee", "ankle", "heel", "foot", "toe", "shoulder", "elbow", "wrist", "hand")},
    **{"collar": "clavicle", "clavicle": "clavicle"},
}
_CENTRES = {"hjc": "hip", "kjc": "knee", "ajc": "ankle", "sjc": "shoulder", "ejc": "elbow", "wjc": "wrist"}


class MalformedMotion(ValueError):
    """A recording that is not understood; the message says what was expected and what came."""


@dataclass(frozen=True)
class Recorded:
    """The points of a file, (frames, points, 3), NaN where missing, and what it states of itself, None for what it does not.

    `labels` name the points; without them, the points are the joints of `joints` in order.
    """

    points: Float[np.ndarray, "frames points 3"]
    labels: tuple[str, ...] | None = None
    fps: float | None = None
    units: str | None = None
    axes: str | None = None
    joints: str | None = None


def _plain(label: str) -> str:
    """Return the letters and digits of a label in lower case, without what is before a colon, such as a subject's name."""
    return "".join(character for character in label.rpartition(":")[2].lower() if character.isalnum())


def _sided(parts: Mapping[str, str]) -> dict[str, str]:
    """Return the names of parts with a side, before or after them."""
    return {
        name: f"{side}_{joint}"
        for part, joint in parts.items()
        for side, words in _SIDES.items()
        for word in words
        for name in (word + part, part + word)
    }


TREES = (_TRUNK | _sided(_BY_BONES), _TRUNK | _sided(_BY_JOINTS))  # of the joints of a BVH


def in_order(
    recorded: Recorded, order: Skeleton, markers: Mapping[str, tuple[str, ...]]
) -> Float[np.ndarray, "frames joints 3"]:
    """Return labelled points as the joints of an order: those of `markers` as means, the others by the usual names, or the order's own.

    Raises MalformedMotion, with the joints that nothing gives.
    """
    labels = recorded.labels or ()
    plain = {_plain(label): place for place, label in reversed(list(enumerate(labels)))}
    own = {_plain(joint): joint for joint in order.joints}
    tables = (*TREES, own | _sided(_CENTRES))
    named = max((_places(table, plain) for table in tables), key=lambda places: len(set(places) & set(order.joints)))
    places = {joint: [place] for joint, place in named.items()}
    for joint, names in markers.items():
        if unknown := [name for name in names if _plain(name) not in plain]:
            raise MalformedMotion(f"expected the marker {unknown[0]!r} of {joint}, got {_some(labels)}")
        places[joint] = [plain[_plain(name)] for name in names]
    found = Skeleton("recorded", tuple(places), (), tuple(range(len(places))))
    if missing := undefined_joints(found, order):
        raise MalformedMotion(
            f"expected the joints of {order.name}, got none for {', '.join(missing)}; the file has {_some(labels)}; "
            "give them in `markers`, or declare another order as `joints`"
        )
    points = recorded.points
    return convert_body(np.stack([points[:, own].mean(axis=1) for own in places.values()], axis=1), found, order)


def _places(table: Mapping[str, str], plain: Mapping[str, int]) -> dict[str, int]:
    return {table[name]: place for name, place in plain.items() if name in table}


def _some(labels: tuple[str, ...]) -> str:
    shown = [label[:40] for label in labels[:MOST_NAMES]]
    return (", ".join(shown) or "no labels") + (", ..." if len(labels) > MOST_NAMES else "")
