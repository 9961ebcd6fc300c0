"""Skeletons of one's own: a JSON file with joints, bones, and the pairs of joints that a mirror exchanges.

    {"name": "tail", "joints": ["base", "middle", "tip"], "bones": [["base", "middle"], ["middle", "tip"]], "root": "base"}

`root` is the first joint unless the file says otherwise, and `mirror` is empty: the mirror image of a joint is the same joint, as it is of
a hand, whose image is the other hand. A skeleton is never converted to another one.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from models.skeletons.body_orders import get_body_order
from models.skeletons.faults import fault_text
from models.skeletons.hand import get_hand_order
from models.skeletons.skeleton import Skeleton, UnknownOrder, plain_joint

LEAST_JOINTS, MOST_JOINTS = 2, 128
MAX_BYTES = 1 << 20  # of a file
MOST_FAULTS = 5  # in one message
JointName = Annotated[str, Field(min_length=1, max_length=64)]
Pair = tuple[JointName, JointName]


class MalformedSkeleton(ValueError):
    """A file that is no skeleton; the message says what was expected and what came."""


class OwnSkeleton(BaseModel, frozen=True, extra="forbid"):
    """A skeleton as its file declares it: bones and mirror pairs by the names of joints.

    Bones form a tree, and the mirror maps bones to bones and the root to itself. Names of joints differ in letters or digits, and the name
    is that of no order that comes with the package.
    """

    name: str = Field(max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    joints: tuple[JointName, ...] = Field(min_length=LEAST_JOINTS, max_length=MOST_JOINTS)
    bones: tuple[Pair, ...] = Field(max_length=MOST_JOINTS)
    root: JointName | None = None
    mirror: tuple[Pair, ...] = Field(default=(), max_length=MOST_JOINTS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_names()
        self._check_tree()
        self._check_mirror()
        return self

    @property
    def layout(self) -> Skeleton:
        """Return the joint order of one body, its bones from the root outwards."""
        return _layout(self)

    def _check_names(self) -> None:
        for find in (get_hand_order, get_body_order):
            try:
                taken = find(self.name).name
            except UnknownOrder:
                continue
            raise ValueError(f"expected a name of its own, got {self.name!r}, which is the joint order {taken}")
        seen: dict[str, str] = {}
        for place, joint in enumerate(self.joints):
            plain = plain_joint(joint)
            if not plain or plain in seen:
                other = f"{joint!r} beside {seen[plain]!r}" if plain else f"{joint!r}"
                raise ValueError(f"expected joints whose names differ in letters or digits, got {other}")
            seen[plain] = joint
            if plain.isdigit() and plain != str(place):
                raise ValueError(
                    f"expected joints that are named by a number to count from 0, got {joint!r} at place {place}"
                )
        used = (*(self.bones), *(self.mirror), *([(self.root, self.root)] if self.root else []))
        if unknown := [joint for pair in used for joint in pair if joint not in self.joints]:
            raise ValueError(f"expected the joints {_some(self.joints)}, got {unknown[0]!r}")

    def _check_tree(self) -> None:
        """Refuse bones that are no tree over all joints."""
        root = self.root or self.joints[0]
        if len(self.bones) != (most := len(self.joints) - 1):
            raise ValueError(f"expected {most} bones, a tree over {len(self.joints)} joints, got {len(self.bones)}")
        reached = {root, *(joint for bone in _outwards(root, self.bones) for joint in bone)}
        if apart := [joint for joint in self.joints if joint not in reached]:
            raise ValueError(
                f"expected bones that join every joint to {root}, got none to {_some(apart)} and a loop elsewhere"
            )

    def _check_mirror(self) -> None:
        """Refuse mirror pairs that share a joint, or that map a bone to no bone."""
        paired = [joint for pair in self.mirror for joint in pair]
        if twice := [joint for joint in self.joints if paired.count(joint) > 1]:
            raise ValueError(f"expected mirror pairs of different joints, got {twice[0]!r} twice")
        image = self._image()
        root = self.root or self.joints[0]
        if image[root] != root:
            raise ValueError(f"expected a root in no mirror pair, got {root!r}, paired with {image[root]!r}")
        bones = {frozenset(bone) for bone in self.bones}
        for one, other in self.bones:
            if frozenset((image[one], image[other])) not in bones:
                raise ValueError(
                    f"expected a bone from {image[one]} to {image[other]}, the mirror image of {one} to {other}, got none"
                )

    def _image(self) -> dict[str, str]:
        """Return the mirror image of each joint."""
        images = {joint: joint for joint in self.joints}
        for one, other in self.mirror:
            images[one], images[other] = other, one
        return images


def read_skeleton(path: Path) -> OwnSkeleton:
    """Return the skeleton in a file. Raises MalformedSkeleton, with the field that is wrong, and OSError."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise MalformedSkeleton(f"{path.name}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
    try:
        return OwnSkeleton.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(_fault(one) for one in error.errors()[:MOST_FAULTS])
        raise MalformedSkeleton(f"{path.name}: {faults}") from None


def _fault(error: Any) -> str:
    """Return one fault that pydantic found: its field, what was expected, and what came."""
    where = ".".join(str(part) for part in error["loc"])
    message = fault_text(error)
    return f"{where}: {message}" if where else message


def _some(joints: tuple[str, ...] | list[str]) -> str:
    return ", ".join(joints[:8]) + (", ..." if len(joints) > 8 else "")


@cache
def _layout(own: OwnSkeleton) -> Skeleton:
    index = {joint: place for place, joint in enumerate(own.joints)}
    images = own._image()
    return Skeleton(
        own.name,
        own.joints,
        tuple((index[one], index[other]) for one, other in _outwards(own.root or own.joints[0], own.bones)),
        tuple(index[images[joint]] for joint in own.joints),
    )


def _outwards(root: str, bones: tuple[Pair, ...]) -> list[Pair]:
    """Return the bones that the root is joined to, nearest first, each with the end nearer the root first."""
    found: list[Pair] = []
    reached, left = [root], list(bones)
    for near in reached:
        for bone in [bone for bone in left if near in bone]:
            left.remove(bone)
            far = bone[1] if bone[0] == near else bone[0]
            if far not in reached:
                found.append((near, far))
                reached.append(far)
    return found
