"""Scans of one's own in batches, for training and for measuring."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from models.contract.bundle import TrainingSource
from models.contract.task import FaceLandmarks
from models.scans.levels import MESH_POINTS, REACH_M
from models.skeletons.face import FACE68
from training.data.declaration import FILE, read_declared
from training.data.reading import READING, MalformedData
from training.data.splits import SPLITS, Split
from training.engine.batches import Batch
from training.tasks.faces.data import Scan, batch_of, in_batches, turned
from training.tasks.faces.floor import MeanFace
from training.tasks.faces.own.mean import mean_face
from training.tasks.faces.own.sets import Declaration, ScanOf, ScanSet, read_own, scans_in, splits_of
from training.tasks.faces.report import Subject

NOSE = FACE68.joints.index("nose_tip")
CACHED = 512  # scans in memory, of less than 1 MB each
WHOLE = 0.5  # share of training scans that are shown whole, as the service looks first; others end around the nose, as it looks next
MEASURED = 200  # scans of a split


@dataclass(frozen=True)
class OwnFaceData:
    """A set of scans of one's own as a value, in the data folder itself; None before it is known."""

    task: FaceLandmarks
    batch: int = 4
    own: ScanSet | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read: the folder itself, of a known set."""
        return (".",) if self.own else ("faces",)

    def load(self, folder: Path) -> "OwnFaceBatches":
        """Open the batches in a folder. Raises MalformedData."""
        return OwnFaceBatches(self, folder)


class OwnFaceBatches:
    """The scans of an OwnFaceData, read when they are needed. Raises MalformedData for a set that is not as the check admits it."""

    def __init__(self, data: OwnFaceData, folder: Path) -> None:
        declared = read_declared(folder, Declaration)
        found, faults = scans_in(folder)
        if data.own is None or faults:
            raise MalformedData("; ".join(faults[:3]) or f"expected the set in {folder}, got none")
        try:
            splits = splits_of(declared, found)
        except ValueError as error:
            raise MalformedData(f"{folder / FILE}: {error}") from None
        self.data, self.own = data, data.own
        self.files: dict[Split, list[ScanOf]] = {
            split: [scan for scan in found if splits[scan.name] == split] for split in SPLITS
        }
        if empty := [split for split, files in self.files.items() if not files]:
            raise MalformedData(f"{folder / FILE}: {empty[0]} has no scan")
        self.read = lru_cache(CACHED)(lambda scan: _read(scan, declared.units))

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass over the scans to train on; the last may be filled from the next pass."""
        return -(-len(self.files["train"]) // self.data.batch)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are the task's, and the target is the landmarks (batch, 68, 3), in metres.
        """
        files, scans = self.files["train"], []
        for number in range(rank, self.data.batch, ranks):
            epoch, place = divmod(step * self.data.batch + number, len(files))
            scan = files[np.random.default_rng([seed, epoch]).permutation(len(files))[place]]
            scans.append(self._shown(self.read(scan), np.random.default_rng([seed, step, number])))
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the surroundings of the nose of validation scans in random poses, in batches with their source."""
        for batch in self._in_batches("validation", MEASURED):
            yield self.own.name, batch

    def scans(self, split: Split, count: int) -> list[Scan]:
        """Return the first `count` scans of a split, fewer if it has fewer, each in a random pose."""
        files = self.files[split][:count]
        return [turned(self.read(scan), np.random.default_rng(number)) for number, scan in enumerate(files)]

    def subjects(self, split: Split) -> list[Subject]:
        """Return the first MEASURED scans of a split in random poses, to measure on."""
        files = self.files[split][:MEASURED]
        scans = zip(files, self.scans(split, MEASURED), strict=True)
        return [Subject(self.own.name, file.person, scan.points, scan.landmarks) for file, scan in scans]

    def people(self) -> int:
        """Return the number of people to train on."""
        return len({scan.person for scan in self.files["train"]})

    def mean_face(self) -> MeanFace:
        """Return the mean of at most MEASURED scans to train on, as a landmarker without a network."""
        return mean_face([self.read(scan) for scan in self.files["train"][:MEASURED]])

    def batches_to_fit(self, count: int) -> Iterator[Batch]:
        """Yield at most `count` training scans in random poses, in batches."""
        yield from self._in_batches("train", count)

    def example(self) -> Batch:
        """Return a batch of one test scan."""
        return batch_of(self.scans("test", 1), self.data.task)

    def trained_on(self, steps: int) -> TrainingSource:
        """Return the bundle's entry; its recordings are the people to train on, whatever the number of steps."""
        return self.own.trained_on(self.people())

    def _in_batches(self, split: Split, count: int) -> Iterator[Batch]:
        scans = [near_the_nose(scan, self.data.task.fewest) for scan in self.scans(split, count)]
        yield from in_batches(scans, self.data.task, self.data.batch)

    def _shown(self, scan: Scan, rng: np.random.Generator) -> Scan:
        """Return a scan, or the surroundings of its nose, with other points each time if it has many."""
        seen = scan if rng.random() < WHOLE else near_the_nose(scan, self.data.task.fewest)
        kept = rng.permutation(len(seen.points))[:MESH_POINTS]
        return Scan(seen.points[kept], seen.landmarks)


def _read(scan: ScanOf, units: str) -> Scan:
    """Return a scan in metres. Raises MalformedData."""
    try:
        own = read_own(scan, units)
    except READING as error:
        raise MalformedData(f"{scan.name}: {error}") from error
    return Scan(own.points, own.landmarks)


def near_the_nose(scan: Scan, fewest: int) -> Scan:
    """Return the points within REACH_M of the nose, or the whole scan if they are fewer than `fewest`."""
    near = np.linalg.norm(scan.points - scan.landmarks[NOSE], axis=1) <= REACH_M
    return Scan(scan.points[near], scan.landmarks) if near.sum() >= fewest else scan
