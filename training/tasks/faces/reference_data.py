"""FaceScape in the reference's files in batches, for training as the reference was trained, where the licence allows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.contract.task import FaceLandmarks
from training.data.splits import Split
from training.engine.batches import Batch
from training.tasks.faces.data import Scan, batch_of, in_batches, turned
from training.tasks.faces.facescape import SOURCE
from training.tasks.faces.facescape_reference import ReferenceFace, read_reference

VALIDATION = 10  # one in so many of the people to train on validates; the reference validates on the test people


class TooFewFaces(ValueError):
    """A file with too few faces for a training and a validation split."""


@dataclass(frozen=True)
class ReferenceData:
    """The reference's clouds of neutral faces as a value; `rotate` turns each at random. Every epoch is a permutation of all faces."""

    task: FaceLandmarks
    batch: int = 3
    rotate: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read; `faces` is measured on where it is."""
        return ("facescape", "faces")

    def load(self, folder: Path) -> "ReferenceBatches":
        """Open the batches in <folder>/facescape. Raises FileNotFoundError, MalformedReference, UntrustedFile, TooFewFaces."""
        return ReferenceBatches(self, folder / "facescape")


class ReferenceBatches:
    """The faces of a ReferenceData. One in VALIDATION of the faces to train on validates. Raises TooFewFaces without any."""

    def __init__(self, data: ReferenceData, root: Path) -> None:
        self.data, self.root = data, root
        faces = read_reference(root, "train")
        if len(faces) < VALIDATION:
            raise TooFewFaces(f"expected at least {VALIDATION} faces to train on in {root}, got {len(faces)}")
        self.faces: dict[Split, list[ReferenceFace]] = {
            "train": [face for number, face in enumerate(faces) if number % VALIDATION],
            "validation": faces[::VALIDATION],
        }

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass over the faces to train on; the last may be filled from the next pass."""
        return -(-len(self.faces["train"]) // self.data.batch)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are the task's, and the target is the landmarks (batch, 68, 3), in metres.
        """
        faces, scans = self.faces["train"], []
        for number in range(rank, self.data.batch, ranks):
            epoch, place = divmod(step * self.data.batch + number, len(faces))
            face = faces[np.random.default_rng([seed, epoch]).permutation(len(faces))[place]]
            one = Scan(face.points, face.landmarks)
            scans.append(turned(one, np.random.default_rng([seed, step, number])) if self.data.rotate else one)
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the validation faces in random poses, in batches with their source."""
        scans = self.scans("validation", len(self.faces["validation"]))
        for batch in in_batches(scans, self.data.task, self.data.batch):
            yield "facescape", batch

    def scans(self, split: Split, count: int, *, upright: bool = False) -> list[Scan]:
        """Return the first `count` faces of a split, fewer if it has fewer, each in a random pose unless `upright`.

        The test faces are read when they are first wanted, so that training needs no test file.
        """
        if split not in self.faces:
            self.faces[split] = read_reference(self.root, split)
        scans = [Scan(face.points, face.landmarks) for face in self.faces[split][:count]]
        return scans if upright else [turned(one, np.random.default_rng(number)) for number, one in enumerate(scans)]

    def template(self) -> Float[np.ndarray, "points 3"]:
        """Return the cloud that scans are aligned to: as in the reference, that of the first test face."""
        return self.scans("test", 1, upright=True)[0].points

    def batches_to_fit(self, count: int) -> Iterator[Batch]:
        """Yield `count` training faces in random poses, in batches."""
        yield from in_batches(self.scans("train", count), self.data.task, self.data.batch)

    def example(self) -> Batch:
        """Return a batch of one test face."""
        return batch_of(self.scans("test", 1), self.data.task)

    def trained_on(self, steps: int) -> TrainingSource:
        """Return the bundle's entry; every face to train on is of another person."""
        return SOURCE.trained_on(len(self.faces["train"]))
