"""The check of a set of body recordings of one's own: every fault of every recording, before a step is taken on it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from models.motion.plausible_bodies import check_person
from training.data.declaration import FILE
from training.data.reading import READING, MalformedData
from training.data.splits import SPLITS, Split
from training.tasks.bodies.clips import MirroredMotion, check_handedness
from training.tasks.bodies.own.declaration import Declaration, read_declaration
from training.tasks.bodies.own.sets import Motion, files, motion
from training.tasks.bodies.readers.npz import UP

MOST_FAULTS = 10  # in one message
SHORTEST = 12  # frames: fewer are not worth training on
FEET = ({"left_toe", "right_toe"}, {"left_foot", "right_foot"})


def check_set(folder: Path, note: Callable[[str], None] = lambda _: None) -> dict[Split, int]:
    """Read every recording of the set in a folder and count them by split; `note` gets what is doubtful.

    Raises MalformedData with every fault, or for a wrong dataset.json or a folder without recordings.
    """
    declared, names, faults = read_declaration(folder), list[str](), list[str]()
    for path in files(folder):
        try:
            one = motion(path, folder, declared)
            names.append(one.name)
            for doubt in _doubts(one):
                note(f"{one.name}: {doubt}")
        except READING as error:
            name = path.relative_to(folder).as_posix()
            faults.append(f"{name}: {str(error).replace(f'{path}: ', '') or type(error).__name__}")
    counts = {} if faults else _counts(declared, names, faults)
    if faults:
        more = len(faults) - MOST_FAULTS
        text = "; ".join(faults[:MOST_FAULTS])
        raise MalformedData(f"{text}; and {more} more" if more > 0 else text)
    return counts


def _counts(declared: Declaration, names: list[str], faults: list[str]) -> dict[Split, int]:
    """Return the number of recordings in each split; add what is wrong with the splits to `faults`."""
    try:
        counts = Counter(declared.splits.splits(names).values())
    except ValueError as error:
        faults.append(f"{FILE}: {error}")
        return {}
    faults += [f"{FILE}: {split} has no recording" for split in SPLITS if not counts[split]]
    return {split: counts[split] for split in SPLITS}


def _doubts(one: Motion) -> list[str]:
    """Return what is doubtful in a recording. Raises ValueError for one that is too short, and for one that no person can have."""
    if len(one.points) < SHORTEST:
        raise ValueError(
            f"expected at least {SHORTEST} frames in a row with every joint, got {len(one.points)} of {one.frames}"
        )
    doubts = check_person(one.points, one.order, one.unit)
    joints = set(one.order.joints)
    if {"left_hip", "right_hip", "left_ankle", "right_ankle"} <= joints and any(feet <= joints for feet in FEET):
        try:
            check_handedness(one.points, one.order, UP, "left and right")
        except MirroredMotion as error:  # a person who lies on the floor throughout has no side that shows
            doubts.append(str(error))
    if (lost := one.frames - len(one.points)) > 0:
        doubts.append(
            f"{lost} of {one.frames} frames lack joints, or are apart from the longest run without gaps, and are not used"
        )
    return doubts
