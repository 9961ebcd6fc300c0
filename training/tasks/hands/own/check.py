"""The check of a recording set of one's own: every fault of every recording, before a step is taken on it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from models.motion.plausible_hands import check_hand, check_own, check_side
from models.skeletons.hand import is_known
from models.skeletons.skeleton import LEFT_RIGHT
from models.skeletons.units import Implausible
from training.data.declaration import FILE
from training.data.reading import READING, MalformedData
from training.data.splits import SPLITS, Split
from training.tasks.hands.own.declaration import read_declaration
from training.tasks.hands.own.sets import Motion, files, motions

MOST_FAULTS = 10  # in one message
SHORTEST = 12  # frames: fewer give no window that is worth training on
PARTIAL = 0.1  # share of a hand's frames with some unseen joints that is worth a warning


@dataclass
class Checked:
    """The outcome of a check: recordings and seconds by split, hands by number seen at once, warnings, and faults."""

    counts: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    seconds: dict[Split, float] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0.0))
    hands: Counter[str] = field(default_factory=Counter[str])
    warnings: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    def refuse(self) -> None:
        """Raise MalformedData with the faults, if there are any."""
        if self.faults:
            more = len(self.faults) - MOST_FAULTS
            text = "; ".join(self.faults[:MOST_FAULTS])
            raise MalformedData(f"{text}; and {more} more" if more > 0 else text)


def check_set(folder: Path) -> Checked:
    """Read every recording of the set in a folder. Raises MalformedData for a wrong dataset.json or a folder without recordings."""
    declared, checked = read_declaration(folder), Checked()
    length: dict[str, float] = {}
    for path in files(folder):
        try:
            for motion in motions(path, folder, declared):
                length[motion.name] = float(motion.times[-1])
                _check(motion, checked)
        except READING as error:
            name = path.relative_to(folder).as_posix()
            checked.faults.append(f"{name}: {str(error).replace(f'{path}: ', '') or type(error).__name__}")
    if len(checked.faults) and len(length) < len(files(folder)):
        return checked  # splits of recordings that could not be read
    try:
        splits = declared.splits.splits(list(length))
    except ValueError as error:
        checked.faults.append(f"{FILE}: {error}")
        return checked
    for name, split in splits.items():
        checked.counts[split] += 1
        checked.seconds[split] += length[name]
    checked.faults += [f"{FILE}: {split} has no recording" for split in SPLITS if not checked.counts[split]]
    return checked


def _check(motion: Motion, checked: Checked) -> None:
    """Add the faults and warnings of one recording."""
    seen, name = motion.seen, motion.name
    if len(motion.times) < SHORTEST:
        checked.faults.append(f"{name}: expected at least {SHORTEST} frames, got {len(motion.times)}")
    if not seen.any():
        checked.faults.append(f"{name}: expected a hand in at least one frame, got none")
        return
    known = is_known(motion.order)
    one = f"the {LEFT_RIGHT[int(seen[:, 1].any())]} hand alone" if known else "one body"
    two = "two hands" if known else "two bodies"
    checked.hands[two if seen.all(axis=1).any() else one] += 1
    for hand, side in enumerate(LEFT_RIGHT):
        whole, partly = (
            seen[:, hand],
            ~seen[:, hand] & (motion.values[:, hand] == motion.values[:, hand]).any(axis=(1, 2)),
        )
        body = "hand" if known else "body"
        if partly.sum() > PARTIAL * (partly | whole).sum():
            checked.warnings.append(
                f"{name}: the {side} {body} lacks joints in {partly.sum()} of {(partly | whole).sum()} frames, which "
                "are not used"
            )
        points = motion.values[whole, hand]
        try:
            if not known:
                check_own(points, motion.order, motion.unit)
                continue
            doubts = [*check_hand(points, motion.order, motion.unit), *check_side(points, motion.order, side)]
            checked.warnings += [f"{name}: {doubt}" for doubt in doubts]
        except Implausible as error:
            checked.faults.append(f"{name}: {error}")
