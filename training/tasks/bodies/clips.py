"""Clips of one person's motion in two or three dimensions, and the check that left and right are the person's own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import Skeleton
from training.data.splits import Split

_OTHER = {"left": "right", "right": "left"}
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])")

Points = Float[np.ndarray, "frames joints dims"]
Confidence = Float[np.ndarray, "frames joints"]


class MalformedBodies(ValueError):
    """A file that differs from what its data set publishes; the message says what was expected and what was found."""


class UnknownBodies(ValueError):
    """A data set, split or protocol that does not exist; the message lists those that do."""


class MirroredMotion(ValueError):
    """Motion in which left and right are exchanged: a reflection was applied somewhere before."""


@dataclass(frozen=True)
class BodyClip:
    """A clip of one person.

    `points` are float32: metres in right-handed axes (3D), or the data set's own image unit with x right and y down (2D). A missing joint
    is NaN with confidence 0. A joint whose place an annotator guessed keeps the guess, also with confidence 0; `seen_points` removes it.
    `label` is the action. `subject` is "" if the data set does not identify people.
    """

    source: str
    name: str
    split: Split
    subject: str
    label: str
    skeleton: Skeleton
    fps: float
    points: Points
    confidence: Confidence


def seen_points(points: Points, confidence: Confidence) -> Points:
    """Replace points of confidence 0 by NaN."""
    return np.where(confidence[..., None] > 0, points, np.nan).astype(points.dtype)


def confidence_of(points: Points) -> Confidence:
    """Return 1 for each finite point and 0 for each missing one."""
    return np.where(np.isfinite(points).all(axis=-1), np.float32(1), np.float32(0))


def handedness(
    points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton, up: tuple[float, float, float]
) -> float:
    """Return the share of frames in which (left hip - right hip) . (up x direction of the toes) > 0.

    This sign is positive for people in right-handed axes. The share is above 0.98 for motion capture and about 0.9 for Kinect v1, which
    sometimes confuses the legs; a reflection turns it into one minus itself. `skeleton` must have ankles, and toes or feet. Frames in
    which these are missing do not count; without any frame the share is NaN.
    """
    end = "toe" if "left_toe" in skeleton.joints else "foot"
    names = ("left_hip", "right_hip", "left_ankle", "right_ankle", f"left_{end}", f"right_{end}")
    left_hip, right_hip, *feet = (points[:, i] for i in skeleton.indices(names))
    forward = feet[2] - feet[0] + feet[3] - feet[1]
    agreement = ((left_hip - right_hip) * np.cross(np.array(up, dtype=points.dtype), forward)).sum(axis=-1)
    known = np.isfinite(agreement)
    return float((agreement[known] > 0).mean()) if known.any() else np.nan


def check_handedness(
    points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton, up: tuple[float, float, float], name: str
) -> None:
    """Raise MirroredMotion unless most frames show an unmirrored person."""
    share = handedness(points, skeleton, up)
    if not share > 0.5:
        raise MirroredMotion(
            f"{name}: expected the left hip on the person's left in more than half of the frames, got {share:.0%}; "
            "undo the reflection in the data, such as two exchanged axes"
        )


def class_mirror(classes: Sequence[str]) -> tuple[int, ...]:
    """Map each class to the class of its mirrored clips, by exchanging left and right in its name.

    "wave-left-hand" maps to "wave-right-hand". A class whose counterpart does not exist, such as HDM05's "grabHighR", maps to itself.
    """
    images = [_SIDE.sub(lambda side: _OTHER[side[0]], name) for name in classes]
    return tuple(classes.index(image) if image in classes else i for i, image in enumerate(images))


def hold_out(splits: Sequence[Split], labels: Sequence[str]) -> list[Split]:
    """Move the last tenth of each label's training clips to validation, at least one of two or more.

    Use it for data sets that do not identify people. Clips cut from one video follow each other, so the last clips of a label share the
    least with the others.
    """
    chosen = list(splits)
    for label in dict.fromkeys(labels):
        training = [
            i for i, (split, own) in enumerate(zip(splits, labels, strict=True)) if (split, own) == ("train", label)
        ]
        count = max(1, round(len(training) / 10)) if len(training) > 1 else 0
        for i in training[len(training) - count :]:
            chosen[i] = "validation"
    return chosen
