"""Batches of FaceScape meshes, as scans of the front of a face: for training your own landmarker where the licence allows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from models.contract.bundle import TrainingSource
from models.contract.task import FaceLandmarks
from models.scans.sampling import sample_surface
from models.skeletons.face import FACE68
from training.data.licences import source_of
from training.engine.batches import Batch
from training.tasks.faces.data import (
    Scan,
    batch_of,
    turned,
)
from training.tasks.faces.facescape import (
    EXPRESSIONS,
    SPLITS,
    Mesh,
    MeshFile,
    UnknownChoice,
    find_meshes,
    landmark_indices,
    read_mesh,
)

NOSE, CHIN = FACE68.joints.index("nose_tip"), FACE68.joints.index("chin")
BEHIND_M, BELOW_M = 0.147, 0.041  # of the nose and of the chin: the crop of the reference's clouds
POINTS, NOISE_M = 8192, 0.0003
KEPT = 256  # meshes in memory, 1 MB each: reading one takes a tenth of a second


@dataclass(frozen=True)
class FaceScapeData:
    """Meshes of the split of each subject. `rotate` turns each at random, which a network that keeps rotations needs not."""

    task: FaceLandmarks
    batch: int = 4
    rotate: bool = False
    expressions: tuple[str, ...] = EXPRESSIONS
    validation: int = 96  # meshes

    def load(self, folder: Path) -> "FaceScapeBatches":
        """The batches, from <folder>/facescape. Raises MalformedRelease."""
        return FaceScapeBatches(self, folder / "facescape")


class FaceScapeBatches:
    """The meshes of a FaceScapeData, read as they are needed. Raises UnknownChoice where a split has none."""

    def __init__(self, data: FaceScapeData, root: Path) -> None:
        self.data = data
        indices = landmark_indices(root)
        self.files = {
            split: find_meshes(root, split, expressions=data.expressions, skip_missing=True) for split in SPLITS
        }
        if empty := [split for split, files in self.files.items() if not files]:
            raise UnknownChoice(f"{root} has no meshes of these expressions for {', '.join(empty)}")
        self.read = lru_cache(KEPT)(lambda file: read_mesh(file, indices))

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Batch `step` of the run of this seed: the task's inputs, and landmarks (batch, 68, 3); metres."""
        scans = []
        for number in range(rank, self.data.batch, ranks):
            rng = np.random.default_rng([seed, step, number])
            one = front(self.read(self._drawn("train", rng)), rng)
            scans.append(turned(one, rng) if self.data.rotate else one)
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Validation meshes, always the same, in random poses."""
        scans = self.scans("validation", self.data.validation)
        for i in range(0, len(scans), self.data.batch):
            yield "facescape", batch_of(scans[i : i + self.data.batch], self.data.task)

    def scans(self, split: str, count: int) -> list[Scan]:
        """`count` scans to measure on of a split, each in a random pose; fewer where it has fewer meshes."""
        found = []
        for number in range(min(count, len(self.files[split]))):
            rng = np.random.default_rng(number)
            found.append(turned(front(self.read(self._drawn(split, rng)), rng), rng))
        return found

    def scans_to_fit(self, count: int) -> list[Scan]:
        """Training scans, in random poses."""
        return self.scans("train", count)

    def trained_on(self, steps: int) -> TrainingSource:
        """What a bundle says of it."""
        return source_of("facescape", len({file.subject for file in self.files["train"]}))

    def _drawn(self, split: str, rng: np.random.Generator) -> MeshFile:
        return self.files[split][rng.integers(len(self.files[split]))]


def front(mesh: Mesh, rng: np.random.Generator) -> Scan:
    """A clean scan of what is ahead of a plane behind the nose and above one below the chin; meshes are stored upright."""
    centres = mesh.points[mesh.triangles].mean(axis=1)
    ahead = centres[:, 2] > mesh.landmarks[NOSE, 2] - BEHIND_M
    above = centres[:, 1] > mesh.landmarks[CHIN, 1] - BELOW_M
    points = sample_surface(mesh.points, mesh.triangles[ahead & above], POINTS, seed=int(rng.integers(2**31)))
    return Scan(points + NOISE_M * rng.standard_normal(points.shape), mesh.landmarks)
