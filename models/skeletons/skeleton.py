"""A joint order as a value, and the errors of functions that take joint orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Hand = Literal["left", "right"]
LEFT_RIGHT: tuple[Hand, Hand] = ("left", "right")  # the order of hands along every axis of hands


class UnknownOrder(ValueError):
    """A joint order that does not exist; the message lists the known ones."""


class UndefinedJoint(ValueError):
    """A joint that the source order lacks and that cannot be computed from its joints."""


class WrongJoints(ValueError):
    """Points whose shape does not fit their skeleton."""


@dataclass(frozen=True)
class Skeleton:
    """A joint order: names, bones and mirror images of its joints.

    `bones` are pairs of joint indices, the one nearer the root first. `mirror[i]` is the joint that the mirror image of joint i is. For a
    single hand `mirror` is the identity: the mirror image of a left thumb is a right thumb, the same joint of the other hand.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]

    @property
    def kinds(self) -> tuple[int, ...]:
        """Return a number for each joint, from 0, which a joint and its mirror image share."""
        firsts = [min(joint, image) for joint, image in enumerate(self.mirror)]
        numbers = {first: number for number, first in enumerate(sorted(set(firsts)))}
        return tuple(numbers[first] for first in firsts)

    def indices(self, joints: Sequence[str]) -> list[int]:
        """Return the indices of the named joints. Raises UndefinedJoint if the order lacks one."""
        if missing := [joint for joint in joints if joint not in self.joints]:
            raise UndefinedJoint(f"the joint order {self.name} has no {', '.join(missing)}")
        return [self.joints.index(joint) for joint in joints]

    def check_points(self, points: np.ndarray, dims: int | None = None) -> None:
        """Raise WrongJoints unless `points` has shape (..., joints, dims), with any last axis if `dims` is None."""
        expected = (len(self.joints), dims)
        if points.ndim < 2 or points.shape[-2] != expected[0] or (dims is not None and points.shape[-1] != dims):
            last = "dims" if dims is None else dims
            raise WrongJoints(
                f"expected {self.name} points of shape (..., {len(self.joints)}, {last}), got {points.shape}"
            )


def find_order(name: str, orders: Mapping[str, Skeleton], aliases: Mapping[str, str]) -> Skeleton:
    """Return the order called `name` or an alias of it, with or without its number of joints. Raises UnknownOrder.

    Case and punctuation do not matter.
    """
    if name in orders:
        return orders[name]
    names = [(order, order) for order in orders] + list(aliases.items())
    known = {_plain(other): order for other, order in names}
    counted = {f"{_plain(other)}{len(orders[order].joints)}": order for other, order in names}
    if (plain := _plain(name)) not in (known := counted | known):
        raise UnknownOrder(f"expected a joint order, one of {', '.join(orders)}, got {name!r}")
    return orders[known[plain]]


def plain_joint(name: str) -> str:
    """Return the letters and digits of a joint's name, in lower case; `landmark_3` and `joint3` are 3."""
    plain = _plain(name)
    for prefix in ("handlandmark", "landmark", "joint", "point", "lm"):
        if plain.startswith(prefix) and plain[len(prefix) :].isdigit():
            return plain[len(prefix) :]
    return plain


def _plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return "".join(character for character in name.lower() if character.isalnum())
