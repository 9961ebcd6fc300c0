"""Actions under names that people use, from the sources of motion whose weights may ship: hdm05_11, cmu_9act and reactidle.

The actions of the sources that are the same get one name. Recordings of minutes are cut into pieces. cmu_9act has no test recordings of a
referee and of directing traffic, so their last recordings test here. Actions of bandai_namco (noncommercial) and of cmu_9act that have no
name here are never trained on: they measure how often a recogniser says that a clip shows none of its classes.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.readers.npz import read_bodies

NAMED = "named_actions"
NAMES: dict[str, dict[str, str]] = {
    "hdm05_11": {
        "depositFloorR": "put on the floor",
        "elbowToKnee1RepsLelbowStart": "touch knees with elbows",
        "grabHighR": "grab high",
        "hopBothLegs1hops": "hop",
        "jogLeftCircle4StepsRstart": "run",
        "kickLFront1Reps": "kick",
        "lieDownFloor": "lie down",
        "rotateArmsBothBackward1Reps": "rotate arms",
        "sneak2StepsLStart": "sneak",
        "squat1Reps": "squat",
        "throwBasketball": "throw a ball",
    },
    "cmu_9act": {
        "basketball": "dribble a ball",
        "basketball_signal": "signal as a referee",
        "directing_traffic": "direct traffic",
        "jumping": "jump",
        "running": "run",
        "soccer": "play football",
        "walking": "walk",
        "walking_extra": "walk",
    },
    "reactidle": {"acted": "stand idle", "genuine": "stand idle"},
}
CLASSES = tuple(sorted({name for names in NAMES.values() for name in names.values()}))
UNKNOWN: dict[str, tuple[str, ...]] = {
    "cmu_9act": ("washwindow",),
    "bandai_namco": (
        "bow", "bye", "byebye", "guide", "raise-up-both-hands", "raise-up-left-hand", "raise-up-right-hand", "wave-both-hands",
        "wave-left-hand", "wave-right-hand",
    ),
}  # fmt: skip
PIECE_S = 3.0
KEPT = {"hdm05_11": 0, "reactidle": 8}  # one piece in so many: an hour of people who stand; 0: actions that stay whole
LAST_TEST = ("basketball_signal", "directing_traffic")


def named_clips(folder: Path) -> list[BodyClip]:
    """Return the pieces of all recordings that have a name, each source in its own joint order. Raises what reading a source raises."""
    return [
        piece
        for source, names in NAMES.items()
        for clip in _with_tests(read_bodies(folder, source))
        if clip.label in names
        for piece in _pieces(replace(clip, label=names[clip.label]), KEPT.get(source, 1))
    ]


def unknown_clips(folder: Path) -> list[BodyClip]:
    """Return pieces of actions without a name here, all of them for testing. Raises what reading a source raises."""
    return [
        piece
        for source, labels in UNKNOWN.items()
        for clip in read_bodies(folder, source)
        if clip.label in labels
        for piece in _pieces(replace(clip, split="test"), 4)
    ]


def _with_tests(clips: list[BodyClip]) -> list[BodyClip]:
    """Make the last recording of each of LAST_TEST a test one."""
    last = {clip.label: i for i, clip in enumerate(clips) if clip.label in LAST_TEST}
    return [replace(clip, split="test") if i in last.values() else clip for i, clip in enumerate(clips)]


def _pieces(clip: BodyClip, kept: int) -> Iterator[BodyClip]:
    """Yield every `kept`-th piece of about PIECE_S of a clip; with 0, and if it is shorter than two pieces, the whole clip."""
    count = max(1, int(len(clip.points) / (PIECE_S * clip.fps))) if kept else 1
    for i, rows in enumerate(np.array_split(np.arange(len(clip.points)), count)):
        if i % max(1, kept) == 0:
            name = clip.name if count == 1 else f"{clip.name} {i}"
            yield replace(clip, name=name, points=clip.points[rows], confidence=clip.confidence[rows])
