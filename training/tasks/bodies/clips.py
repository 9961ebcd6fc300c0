"""A stretch of one person's motion, in two or three dimensions, and the check that left and right in it are the person's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.skeletons.skeleton import Skeleton
from training.data.reading import MAX_BYTES
from training.data.splits import Split
from training.data.untrusted import load_numpy

_OTHER = {"left": "right", "right": "left"}
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])")

Points = Float[np.ndarray, "frames joints dims"]
Confidence = Float[np.ndarray, "frames joints"]


class MalformedBodies(ValueError):
    """A file that is not as its data set publishes it; the message says what was wanted and what came."""


class UnknownBodies(ValueError):
    """No such data set, split or protocol; the message lists those there are."""


class MirroredMotion(ValueError):
    """Motion in which left and right are exchanged: a reflection happened on the way."""


@dataclass(frozen=True)
class BodyClip:
    """`points` are in metres (three dimensions, right-handed) or in the data set's own image unit (two, x right, y down), float32.

    A joint that is missing is NaN and has confidence 0. Where an annotator guessed, the guess is there, with confidence 0 as well;
    `seen_points` takes it away. `label` is the action; `subject` is "" where the data set does not tell people apart.
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
    """The points, NaN where the confidence is 0."""
    return np.where(confidence[..., None] > 0, points, np.nan).astype(points.dtype)


def confidence_of(points: Points) -> Confidence:
    """1 where a point is finite, 0 where it is missing."""
    return np.where(np.isfinite(points).all(axis=-1), np.float32(1), np.float32(0))


def handedness(
    points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton, up: tuple[float, float, float]
) -> float:
    """The share of frames in which (left hip - right hip) . (up x toes' direction) > 0, as it is for people in right-handed coordinates.

    Above 0.98 for motion capture, about 0.9 for Kinect v1, which now and then confuses the legs, and one minus that after a reflection.
    `skeleton` has ankles, and toes or feet; frames in which these are missing do not count.
    """
    end = "toe" if "left_toe" in skeleton.joints else "foot"
    names = ("left_hip", "right_hip", "left_ankle", "right_ankle", f"left_{end}", f"right_{end}")
    left_hip, right_hip, *feet = (points[:, i] for i in skeleton.indices(names))
    forward = feet[2] - feet[0] + feet[3] - feet[1]
    agreement = ((left_hip - right_hip) * np.cross(np.array(up, dtype=points.dtype), forward)).sum(axis=-1)
    known = np.isfinite(agreement)
    return float((agreement[known] > 0).mean()) if known.any() else np.nan


def check_handedness(
    points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton, up: tuple[float, float, float], what: str
) -> None:
    """Raise MirroredMotion unless most frames are of unmirrored people."""
    share = handedness(points, skeleton, up)
    if not share > 0.5:
        raise MirroredMotion(
            f"{what}: the left hip is on the person's left in {share:.0%} of the frames, wanted in more than half; "
            "a reflection happened on the way, such as two axes exchanged"
        )


def class_mirror(classes: Sequence[str]) -> tuple[int, ...]:
    """What class a mirrored clip of each class is of: that with left and right exchanged in its name, where there is one, else itself.

    "wave-left-hand" becomes "wave-right-hand"; HDM05's "grabHighR" has no counterpart there and stays.
    """
    images = [_SIDE.sub(lambda side: _OTHER[side[0]], name) for name in classes]
    return tuple(classes.index(image) if image in classes else i for i, image in enumerate(images))


def read_arrays(path: Path, wanted: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The arrays of a .npz, among them those `wanted`, which says their numbers of dimensions. Raises MalformedBodies, UntrustedFile."""
    if not path.is_file():
        raise UnknownBodies(f"no file {path}")
    arrays = load_numpy(path, MAX_BYTES)
    if not isinstance(arrays, dict):
        raise MalformedBodies(f"{path} wants to be a .npz of arrays {', '.join(wanted)}; a lone array came")
    if missing := [name for name in wanted if name not in arrays]:
        raise MalformedBodies(f"{path} wants arrays {', '.join(wanted)}; it has no {', '.join(missing)}")
    if wrong := [name for name, ndim in wanted.items() if arrays[name].ndim != ndim]:
        came = ", ".join(f"{name} {arrays[name].shape}" for name in wrong)
        raise MalformedBodies(
            f"{path}: wanted {', '.join(f'{n} of {wanted[n]} dimensions' for n in wrong)}; came {came}"
        )
    return arrays


def pieces(path: Path, seq_start: Int[np.ndarray, " edges"], frames: int) -> list[slice]:
    """The rows of each sequence. Raises MalformedBodies unless `seq_start` rises from 0 to `frames`."""
    if len(seq_start) < 2 or seq_start[0] != 0 or seq_start[-1] != frames or (np.diff(seq_start) < 1).any():
        ends = f"{seq_start[0]} to {seq_start[-1]}" if len(seq_start) else "nothing"
        raise MalformedBodies(f"{path}: seq_start wants to rise from 0 to the {frames} frames; came {ends}")
    return [slice(int(a), int(b)) for a, b in pairwise(seq_start)]


def check_joint_names(path: Path, names: np.ndarray, wanted: Sequence[str]) -> None:
    """Raise MalformedBodies unless the file's joints are those wanted, in that order."""
    if tuple(names) != tuple(wanted):
        raise MalformedBodies(f"{path} wants joints {', '.join(wanted)}; came {', '.join(map(str, names))}")


def check_per_sequence(path: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str], sequences: int) -> None:
    """Raise MalformedBodies unless each of these arrays has an entry for every sequence."""
    if wrong := [name for name in names if len(arrays[name]) != sequences]:
        came = ", ".join(f"{name} {len(arrays[name])}" for name in wrong)
        raise MalformedBodies(f"{path} has {sequences} sequences and wants as many entries in each array; came {came}")


def hold_out(splits: Sequence[Split], labels: Sequence[str]) -> list[Split]:
    """The splits with the last tenth of each label's training clips made validation, at least one of two or more.

    For data sets that do not tell people apart: what is cut from one video or take comes one after the other, so that the last of a label
    share least with the others.
    """
    chosen = list(splits)
    for label in dict.fromkeys(labels):
        training = [
            i for i, (split, own) in enumerate(zip(splits, labels, strict=True)) if (split, own) == ("train", label)
        ]
        held = max(1, round(len(training) / 10)) if len(training) > 1 else 0
        for i in training[len(training) - held :]:
            chosen[i] = "validation"
    return chosen
