"""Tracking: the detections of each person, by the detector's labels or by positions from frame to frame."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.contract.task import MAX_FRAMES
from service.http.problems import Problem
from service.tasks.bodies.detections import Detections, Seen
from service.tasks.bodies.schemas import MAX_CLIPS

MOST_PEOPLE = 64  # in a frame
REACH = 0.7  # of a person's size: the largest movement from one frame to the next
PATIENCE = 15  # frames for which a hidden person's track is kept


@dataclass
class Track:
    """One person over time."""

    seen: dict[int, Seen]  # by frame
    place: Float[np.ndarray, "2"]
    size: float
    last: int


def tracks(detections: Detections, pointer: str) -> list[dict[int, Seen]]:
    """Return each person's detections by frame, in the order in which people enter.

    Labels are used where every person has one and no frame has one twice. Otherwise the nearest in consecutive frames are
    the same person. Raises too-many-frames, and wrong-shape for more than MOST_PEOPLE in a frame.
    """
    if (most := max(map(len, detections.frames), default=0)) > MOST_PEOPLE:
        raise Problem.at("wrong-shape", pointer, f"expected at most {MOST_PEOPLE} people in a frame, got {most}")
    labels = [[seen.label for seen in people] for people in detections.frames]
    if all(None not in frame and len(set(frame)) == len(frame) for frame in labels):
        people = _by_label(detections.frames)
    else:
        people = [track.seen for track in _by_place(detections.frames)]
    if len(people) > MAX_CLIPS or len(people) * len(detections.frames) > MAX_FRAMES:
        detail = (
            f"expected at most {MAX_CLIPS} people and {MAX_FRAMES} frames of all together, got {len(people)} people over "
            f"{len(detections.frames)} frames; leave out detections of a low score, or send fewer frames"
        )
        raise Problem("too-many-frames", detail)
    return people


def _by_label(frames: list[list[Seen]]) -> list[dict[int, Seen]]:
    people: dict[Hashable, dict[int, Seen]] = {}
    for frame, seen in ((frame, seen) for frame, group in enumerate(frames) for seen in group):
        people.setdefault(seen.label, {})[frame] = seen
    return list(people.values())


def _by_place(frames: list[list[Seen]]) -> list[Track]:
    """Return the tracks of people, matching the nearest track and detection first. Stop beyond MAX_CLIPS tracks."""
    followed: list[Track] = []
    for frame, people in enumerate(frames):
        boxes = [_box(seen) for seen in people]
        near = [track for track in followed if frame - track.last <= PATIENCE]
        pairs = _pairs(near, boxes) if near and boxes else {}
        for one, other in pairs.items():
            near[one].seen[frame], near[one].last = people[other], frame
            near[one].place, near[one].size = boxes[other]
        free = sorted(set(range(len(people))) - set(pairs.values()))
        followed += [Track({frame: people[i]}, *boxes[i], frame) for i in free]
        if len(followed) > MAX_CLIPS:
            break
    return followed


def _pairs(near: list[Track], boxes: list[tuple[Float[np.ndarray, "2"], float]]) -> dict[int, int]:
    """Return the index of the box in which each track continues: pairs within REACH of the person's size, the nearest first."""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.array([track.place for track in near])[:, None] - np.array([place for place, _ in boxes])
        sizes = np.maximum(np.array([track.size for track in near])[:, None], [size for _, size in boxes])
        distances = np.linalg.norm(steps, axis=-1) / sizes
    pairs: dict[int, int] = {}
    matched: set[int] = set()
    for index in np.argsort(distances, axis=None, kind="stable"):
        one, other = divmod(int(index), len(boxes))
        if not distances[one, other] <= REACH or len(pairs) == min(len(near), len(boxes)):
            break
        if one not in pairs and other not in matched:
            pairs[one] = other
            matched.add(other)
    return pairs


def _box(seen: Seen) -> tuple[Float[np.ndarray, "2"], float]:
    """Return the middle of a person's joints and the longer side of the box around them."""
    points = seen.numbers[seen.numbers[:, -1] > 0, :2]
    points = points[np.isfinite(points).all(axis=-1)]
    if not len(points):
        return np.zeros(2), 1.0
    with np.errstate(over="ignore"):
        return points.mean(axis=0), float((points.max(axis=0) - points.min(axis=0)).max()) or 1.0
