"""Recording sets of one's own: folders with a dataset.json, whose recordings are as a tracker's program wrote them.

A set is the data folder itself, or a folder of hands/ in one. Runs name it like any other source of hand motion, and its licence and
attribution, which it declares, go into the bundle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.motion.hands import HandClip, WrongClip, clip_of
from models.motion.missing import unseen_hands
from models.motion.timing import BadTimes, timing_of
from models.skeletons.hand import ASSEMBLY101, convert, get_hand_order, is_known
from models.skeletons.own import OwnSkeleton
from models.skeletons.skeleton import LEFT_RIGHT, Skeleton, UndefinedJoint, UnknownOrder
from models.skeletons.units import UnknownUnit, to_metres
from training.data.declaration import FILE, HANDS, kind_of
from training.data.licences import Source
from training.data.own_files import digest_of, name_in, recording_files
from training.data.reading import READING, MalformedData
from training.data.splits import Split
from training.tasks.hands.own.declaration import SKELETON, Declaration, read_declaration
from training.tasks.hands.own.json_logs import read_json, read_lines
from training.tasks.hands.own.log import Log, MalformedLog
from training.tasks.hands.own.table_logs import read_array, read_csv
from training.tasks.hands.recordings import Recording
from training.tasks.hands.sources import hand_sources

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".npy", ".npz")
MAX_TEXT_BYTES = 64 << 20  # of a log in text: a quarter of an hour of two hands at 30 frames a second


@dataclass(frozen=True)
class OwnSet(Source):
    """A recording set of one's own: what dataset.json declares of it, and the digest of its recordings.

    `part` is the folder of the data folder that holds it: "." for the data folder itself.
    """

    sha256: str
    part: Literal[".", "hands"]
    skeleton: OwnSkeleton | None = None

    def folder(self, hands: Path) -> Path:
        """Return the folder of the set; `hands` is the subfolder `hands` of the data folder."""
        return hands.parent if self.part == "." else hands / self.name

    def read(self, hands: Path, split: str | None) -> list[Recording]:
        """Return the recordings of a split, or all of them. Raises MalformedData."""
        recordings, splits = _read(self.folder(hands), self.sha256)
        return [recording for recording in recordings if split in (None, splits[recording.name])]

    def trained_on(self, recordings: int) -> TrainingSource:
        """Return the entry for a bundle, with the digest of the recordings."""
        return super().trained_on(recordings).model_copy(update={"sha256": self.sha256})


@dataclass(frozen=True)
class Motion:
    """A recording in metres and right-handed axes, in the order that it has: (frames, 2 hands, joints, 3), NaN where unseen."""

    name: str
    label: str
    order: Skeleton
    unit: str
    values: Float[np.ndarray, "frames 2 joints 3"]
    times: Float[np.ndarray, " frames"]

    @property
    def seen(self) -> np.ndarray:
        """Return the frames, (frames, 2), in which every joint of a hand was seen."""
        return np.asarray(np.isfinite(self.values).all(axis=(2, 3)))

    def clip(self) -> HandClip:
        """Return the clip to train on, float32: hands in Assembly101 order, other bodies in their own. Raises UndefinedJoint, WrongClip."""
        if not is_known(self.order):
            return clip_of(self.values.astype(np.float32), self.times, order=self.order)
        with np.errstate(invalid="ignore", divide="ignore"):  # unseen hands are NaN
            hands = [convert(self.values[:, h], self.order, ASSEMBLY101, side) for h, side in enumerate(LEFT_RIGHT)]
        return clip_of(np.stack(hands, axis=1).astype(np.float32), self.times)


def own_sets(hands: Path) -> dict[str, OwnSet]:
    """Return the sets in a data folder by name; `hands` is its subfolder of that name. Raises MalformedData."""
    places: list[tuple[Path, Literal[".", "hands"]]] = [(hands.parent, ".")]
    for path in sorted(hands.glob(f"*/{FILE}")):
        places.append((path.parent, "hands"))  # noqa: PERF401 - a list of literals has another type
    found: dict[str, OwnSet] = {}
    for folder, part in places:
        if kind_of(folder) != HANDS:
            continue
        own = own_set(folder, part)
        if own.name in hand_sources():
            raise MalformedData(f"{folder / FILE}: {own.name!r} is a source that Chiron knows; choose another name")
        if part == "hands" and own.name != folder.name:
            raise MalformedData(f"{folder / FILE}: expected the name {folder.name!r}, its folder's, got {own.name!r}")
        if found.setdefault(own.name, own) is not own:
            raise MalformedData(f"{folder / FILE}: two sets have the name {own.name!r}; rename one of them")
    return found


def own_set(folder: Path, part: Literal[".", "hands"] = ".") -> OwnSet:
    """Return the set in a folder. Raises MalformedData."""
    declared = read_declaration(folder)
    sha256 = digest_of(folder, declared.deciding, files(folder))
    return OwnSet(declared.name, declared.licence, declared.attribution, sha256, part, declared.own)


def files(folder: Path) -> list[Path]:
    """Return the recordings' files in a set, sorted. Raises MalformedData for none, and for too many."""
    return recording_files(folder, SUFFIXES, (SKELETON,))


@lru_cache(maxsize=2)  # a run reads each split, and each check reads them again
def _read(folder: Path, _sha256: str) -> tuple[list[Recording], dict[str, Split]]:
    """Return the recordings of a set, and the split of each by name."""
    declared = read_declaration(folder)
    recordings = []
    for path in files(folder):
        try:
            recordings += [
                Recording(declared.name, one.name, one.label, one.clip()) for one in motions(path, folder, declared)
            ]
        except READING as error:
            raise MalformedData(f"{path}: {error}") from error
    try:
        return recordings, declared.splits.splits([one.name for one in recordings])
    except ValueError as error:
        raise MalformedData(f"{folder / FILE}: {error}") from None


def motions(path: Path, folder: Path, declared: Declaration) -> Iterator[Motion]:
    """Yield the recordings of a file. Raises MalformedLog, UntrustedFile and other errors of READING."""
    name = name_in(folder, path)
    for part, log in _logs(path, declared).items():
        try:
            yield _motion(f"{name}#{part}" if part else name, path, log, declared)
        except (BadTimes, UnknownOrder, UnknownUnit, UndefinedJoint, WrongClip) as error:
            raise MalformedLog(str(error)) from error


def _logs(path: Path, declared: Declaration) -> dict[str, Log]:
    """Return the logs in a file by the name of the recording in it, "" if it has one."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return read_array(path, declared.order, declared.lone)
    if (size := path.stat().st_size) > MAX_TEXT_BYTES:
        raise MalformedLog(
            f"expected at most {MAX_TEXT_BYTES:,} bytes of a log, got {size:,}; write shorter recordings"
        )
    content = path.read_bytes()
    if suffix == ".csv":
        return {"": read_csv(content, declared.lone, declared.own.joints if declared.own else ())}
    return {"": (read_json if suffix == ".json" else read_lines)(content, declared.lone)}


def _motion(name: str, path: Path, log: Log, declared: Declaration) -> Motion:
    """Return a log in metres, right-handed axes and seconds."""
    stated = log.stated
    order = _order(stated.get("joints"), declared)
    unit, axes = str(stated.get("units", declared.units)), stated.get("axes", declared.axes)
    if len(log.frames) < 2:
        raise MalformedLog(f"expected at least 2 frames, got {len(log.frames)}")
    values = log.joints(order)
    if np.isinf(values).any():
        frame = int(np.argwhere(np.isinf(values))[0][0])
        raise MalformedLog(f"frame {frame}: expected finite coordinates, got infinity")
    for hand in (0, 1):
        values[unseen_hands(values[:, hand]), hand] = np.nan  # zeros, or one point for every joint
    if declared.exchange_hands:
        values = values[:, ::-1]
    values = values * to_metres(unit) * np.array([1.0, 1.0, -1.0 if axes == "left-handed" else 1.0])
    parent = path.parent.name if "/" in name else "own"
    return Motion(name, str(stated.get("label", parent)), order, unit, values, _times(log, declared))


def _order(stated: object, declared: Declaration) -> Skeleton:
    """Return the joint order that a log states, or the declared one. Raises MalformedLog for another than a declared skeleton's."""
    if stated is None or (declared.own and stated == declared.own.name):
        return declared.order
    if declared.own:
        raise MalformedLog(
            f"expected joints of {declared.own.name}, the skeleton that {FILE} declares, got a log in {str(stated)[:64]} order"
        )
    return get_hand_order(str(stated))


def _times(log: Log, declared: Declaration) -> Float[np.ndarray, " frames"]:
    """Return seconds from the first frame: the log's own times, or even ones at its rate or the declared one."""
    fps = log.stated.get("fps", declared.fps)
    if (times := log.times) is not None:
        return timing_of(times).times
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 5 <= fps <= 1000:
        raise MalformedLog(f"expected times, or a rate of 5 to 1000 frames a second, got fps {fps!r}; declare `fps`")
    return np.arange(len(log.frames)) / fps
