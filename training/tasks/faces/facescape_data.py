"""FaceScape meshes in batches, as scans of the front of a face, for training a landmarker of your own where the licence allows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.contract.task import FaceLandmarks
from models.scans.sampling import sample_surface
from models.skeletons.face import FACE68
from training.data.splits import SPLITS
from training.engine.batches import Batch
from training.tasks.faces.data import (
    Scan,
    batch_of,
    in_batches,
    turned,
)
from training.tasks.faces.facescape import (
    EXPRESSIONS,
    SOURCE,
    Mesh,
    MeshFile,
    UnknownChoice,
    find_meshes,
    landmark_indices,
    read_mesh,
)

NOSE, CHIN = FACE68.joints.index("nose_tip"), FACE68.joints.index("chin")
BEHIND_M, BELOW_M = 0.147, 0.041  # behind the nose and below the chin: the crop of the reference's clouds
POINTS, NOISE_M = 8192, 0.0003
CACHED = 256  # meshes in memory, 1 MB each; reading one takes a tenth of a second


@dataclass(frozen=True)
class FaceScapeData:
    """FaceScape meshes as a value; `rotate` turns each at random, which a rotation-equivariant network does not need."""

    task: FaceLandmarks
    batch: int = 4
    rotate: bool = False
    expressions: tuple[str, ...] = EXPRESSIONS
    validation: int = 96  # meshes

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read; `faces` is measured on where it is."""
        return ("facescape", "faces")

    def load(self, folder: Path) -> "FaceScapeBatches":
        """Open the batches in <folder>/facescape. Raises FileNotFoundError, MalformedRelease, UnknownChoice."""
        return FaceScapeBatches(self, folder / "facescape")


class FaceScapeBatches:
    """The meshes of a FaceScapeData, read when they are needed. Raises UnknownChoice if a split has no mesh."""

    def __init__(self, data: FaceScapeData, root: Path) -> None:
        self.data = data
        indices = landmark_indices(root)
        self.files = {
            split: find_meshes(root, split, expressions=data.expressions, skip_missing=True) for split in SPLITS
        }
        if empty := [split for split, files in self.files.items() if not files]:
            raise UnknownChoice(f"{root} has no meshes of these expressions in the split {', '.join(empty)}")
        self.read = lru_cache(CACHED)(lambda file: read_mesh(file, indices))

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are the task's, and the target is the landmarks (batch, 68, 3), in metres.
        """
        scans = []
        for number in range(rank, self.data.batch, ranks):
            rng = np.random.default_rng([seed, step, number])
            one = front(self.read(self._drawn("train", rng)), rng)
            scans.append(turned(one, rng) if self.data.rotate else one)
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the validation scans, always the same, in random poses, in batches with their source."""
        for batch in in_batches(self.scans("validation", self.data.validation), self.data.task, self.data.batch):
            yield "facescape", batch

    def scans(self, split: str, count: int, *, upright: bool = False) -> list[Scan]:
        """Return `count` scans of a split to measure on, fewer if it has fewer meshes, each in a random pose unless `upright`."""
        scans = []
        for number in range(min(count, len(self.files[split]))):
            rng = np.random.default_rng(number)
            one = front(self.read(self._drawn(split, rng)), rng)
            scans.append(one if upright else turned(one, rng))
        return scans

    def template(self) -> Float[np.ndarray, "points 3"]:
        """Return the cloud that scans are aligned to: as in the reference, that of the first test face."""
        return self.scans("test", 1, upright=True)[0].points

    def batches_to_fit(self, count: int) -> Iterator[Batch]:
        """Yield `count` training scans in random poses, in batches."""
        yield from in_batches(self.scans("train", count), self.data.task, self.data.batch)

    def example(self) -> Batch:
        """Return a batch of one test scan."""
        return batch_of(self.scans("test", 1), self.data.task)

    def trained_on(self, steps: int) -> TrainingSource:
        """Return the bundle's entry; the people of the training split count as recordings, whatever the number of steps."""
        return SOURCE.trained_on(len({file.subject for file in self.files["train"]}))

    def _drawn(self, split: str, rng: np.random.Generator) -> MeshFile:
        return self.files[split][rng.integers(len(self.files[split]))]


def front(mesh: Mesh, rng: np.random.Generator) -> Scan:
    """Return a clean scan of the part of an upright mesh that is ahead of a plane behind the nose and above one below the chin."""
    centres = mesh.points[mesh.triangles].mean(axis=1)
    ahead = centres[:, 2] > mesh.landmarks[NOSE, 2] - BEHIND_M
    above = centres[:, 1] > mesh.landmarks[CHIN, 1] - BELOW_M
    points = sample_surface(mesh.points, mesh.triangles[ahead & above], POINTS, seed=int(rng.integers(2**31)))
    return Scan(points + NOISE_M * rng.standard_normal(points.shape), mesh.landmarks)
