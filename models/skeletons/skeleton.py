"""models.skeletons.skeleton."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Hand = Literal["left", "right"]


LEFT_RIGHT: tuple[Hand, Hand] = ("left", "right")  # the order of hands along every axis of hands


class UnknownOrder(ValueError):
    """No joint order of that name; the message lists those there are."""


class UndefinedJoint(ValueError):
    """A joint that the source does not have and that cannot be computed from those it has."""


class WrongJoints(ValueError):
    """Points that are not (..., joints, 3) for the skeleton they are said to be of."""


@dataclass(frozen=True)
class Skeleton:
    """A joint order. `bones` are pairs of joint indices, nearer the wrist first; `mirror[i]` is what joint i becomes.

    For one hand `mirror` is the identity: the mirror image of a left thumb is a right thumb, the same joint of the
    other hand.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]

    def indices(self, joints: Sequence[str]) -> list[int]:
        """Where the named joints are. Raises UndefinedJoint for one that this order has not."""
        if missing := [joint for joint in joints if joint not in self.joints]:
            raise UndefinedJoint(f"{self.name} hands have no {', '.join(missing)}")
        return [self.joints.index(joint) for joint in joints]
