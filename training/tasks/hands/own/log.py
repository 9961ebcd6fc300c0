"""A log of hands as a tracker's program wrote it: frames with times, and up to two hands in each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, plain_joint

MAX_FRAMES = 1_000_000  # nine hours at 30 frames a second
STATED = ("fps", "units", "joints", "axes", "label")  # what a log may state of itself
Row = list[float | None]


class MalformedLog(ValueError):
    """A log that is not understood; the message says what was expected and what came, and in which frame."""


@dataclass
class Frame:
    """One frame: its time, if the log has one, in the log's own unit, and the joints of each hand that was seen.

    A hand is an array, a list of points, or a mapping from joints' names or numbers to points; a point is [x, y, z], None if it was not
    seen.
    """

    time: float | None
    hands: dict[Hand, Any] = field(default_factory=dict)


@dataclass
class Log:
    """The frames of a log, and what it states of itself: some of STATED."""

    frames: list[Frame]
    stated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def times(self) -> Float[np.ndarray, " frames"] | None:
        """Return the time of each frame, or None if the log has no times. Raises MalformedLog for times in some frames alone."""
        times = [frame.time for frame in self.frames]
        if all(time is None for time in times):
            return None
        if None in times:
            raise MalformedLog(f"expected a time in every frame, got none in frame {times.index(None)}")
        return np.array(times, np.float64)

    def joints(self, order: Skeleton) -> Float[np.ndarray, "frames 2 joints 3"]:
        """Return left and right hands as arrays; joints and hands that were not seen are NaN. Raises MalformedLog."""
        values = np.full((len(self.frames), 2, len(order.joints), 3), np.nan)
        for number, frame in enumerate(self.frames):
            for side, points in frame.hands.items():
                try:
                    values[number, LEFT_RIGHT.index(side)] = _hand(points, order)
                except MalformedLog as error:
                    raise MalformedLog(f"frame {number}, {side} hand: {error}") from None
        return values


def _hand(points: Any, order: Skeleton) -> Float[np.ndarray, "joints 3"]:
    """Return the points of a hand in its order. Raises MalformedLog."""
    if isinstance(points, dict):
        points = _listed(points, order)
    if len(points) != len(order.joints):
        raise MalformedLog(f"expected {len(order.joints)} joints of {order.name}, got {len(points)}")
    return points if isinstance(points, np.ndarray) else np.array([_point(point) for point in points])


def _listed(points: Mapping[Any, Any], order: Skeleton) -> list[Any]:
    """Return points by joint as a list; joints are names of the order, or their numbers. Raises MalformedLog."""
    numbers = {plain_joint(joint): number for number, joint in enumerate(order.joints)}
    numbers |= {str(number): number for number in range(len(order.joints))}
    listed: list[Any] = [None] * len(order.joints)
    for joint, point in points.items():
        if (number := numbers.get(plain_joint(str(joint)))) is None:
            raise MalformedLog(f"{order.name} has no joint {str(joint)[:40]!r}; it has {', '.join(order.joints)}")
        listed[number] = point
    return listed


def _point(point: Any) -> Row:
    """Return [x, y, z] of a point in any of the forms that trackers write; NaN for None. Raises MalformedLog."""
    for wrapper in ("position", "pose", "transform", "position"):
        if isinstance(point, dict) and "x" not in point and wrapper in point:
            point = point[wrapper]
    if isinstance(point, dict) and {"x", "y"} <= set(point):
        if "z" not in point:
            raise MalformedLog("expected points with x, y and z, got points without z")
        point = [point["x"], point["y"], point["z"]]
    if point is None:
        return [np.nan] * 3
    if not isinstance(point, list | tuple) or len(point) < 3:
        raise MalformedLog(f"expected a point [x, y, z] or with x, y and z, got {str(point)[:60]}")
    numbers = [np.nan if number is None else number for number in point[:3]]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise MalformedLog(f"expected numbers, got {str(point)[:60]}")
    return [float(number) for number in numbers]
