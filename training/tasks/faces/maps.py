"""Depth maps of simulated scans in batches, for training and for measuring: a camera in front of a face, tilted, rolled, near or far.

A map is quick to draw and a scan is not. So a pool of scans, each of its own identity, expression and scanner settings, is drawn once. The
training batch of step s draws cameras, sizes and mirror images of scans from it, by the seed and s alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.contract.face_map import FEWEST_POINTS, FaceMap
from models.scans.cloud import Degenerate
from models.scans.depth import Camera, camera_axes, depth_map, without_strays
from models.scans.head import face_axes
from models.skeletons.face import FACE68
from training.data.splits import Split
from training.engine.batches import Batch
from training.tasks.faces.data import SCANNERS, Scan, draw, scans_of
from training.tasks.faces.ict import SOURCE, FaceModel, read_model
from training.tasks.faces.scanner import CLEAN, VARIED, Scanner

OFF_M = 0.012  # standard deviation of the middle of a map from that of the face, along each axis


@dataclass(frozen=True)
class Poses:
    """The distribution of cameras: the largest tilt from the front in degrees, any roll or none, the range of sizes, and mirror images."""

    tilt: float = 25.0
    roll: bool = True
    sizes: tuple[float, float] = (0.8, 1.25)
    mirror: bool = True


UPRIGHT = Poses(roll=False, sizes=(1.0, 1.0), mirror=False)
ANY = Poses()


@dataclass(frozen=True)
class FaceMapData:
    """Depth maps of the ICT face model as a value."""

    task: FaceMap
    scanners: tuple[Scanner, ...] = (CLEAN, VARIED)
    poses: Poses = ANY
    batch: int = 8
    pool: int = 400  # training scans that maps are drawn of
    validation: int = 24  # maps of each kind

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read."""
        return ("faces",)

    def load(self, folder: Path) -> "FaceMapBatches":
        """Open the batches with the model in <folder>/faces/ict_facekit. Raises MalformedModel."""
        return FaceMapBatches(self, folder / "faces")


class FaceMapBatches:
    """The maps of a FaceMapData, drawn from a face model."""

    def __init__(self, data: FaceMapData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.model: FaceModel = read_model(folder)

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone."""
        samples = []
        for number in range(rank, self.data.batch, ranks):
            rng = np.random.default_rng([seed, step, number])
            samples.append(self._drawn(rng))
        return stacked(samples)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield maps of clean and varied scans of validation identities in any pose, with their kind."""
        yield from self.validation

    def scans(self, split: Split, count: int) -> tuple[Scan, ...]:
        """Return the first `count` clean scans of a split, upright."""
        return scans_of(self.model, split, "clean", count, self.data.task, upright=True)

    def batches_to_fit(self, count: int) -> Iterator[Batch]:
        """Yield `count` training maps in batches, or two for each scan of the pool; no step of the training draws them."""
        count = min(count, 2 * self.data.pool)
        for step in range(count // self.data.batch):
            rng = np.random.default_rng([step, count])
            yield stacked([self._drawn(rng) for _ in range(self.data.batch)])

    def example(self) -> Batch:
        """Return the map of a clean test scan, seen from the front."""
        (scan,) = self.scans("test", 1)
        return stacked([drawn(scan, UPRIGHT_AHEAD, self.data.task, np.random.default_rng(0))])

    def trained_on(self, steps: int) -> TrainingSource:
        """Return the bundle's entry: every scan of the pool counts as a recording, since each is of another identity."""
        return SOURCE.trained_on(min(self.data.pool, steps * self.data.batch))

    def _drawn(self, rng: np.random.Generator) -> Batch:
        pool = pool_of(self.folder, self.data.scanners, self.data.pool)
        while True:
            try:
                return drawn(pool[rng.integers(len(pool))], self.data.poses, self.data.task, rng)
            except Degenerate:  # a scan of which this camera sees next to nothing: draw another
                continue

    @cached_property
    def validation(self) -> list[tuple[str, Batch]]:
        """Return the validation batches with their kind; they have any pose, whatever poses are trained on."""
        batches = []
        for kind in SCANNERS:
            scans = scans_of(self.model, "validation", kind, self.data.validation, self.data.task, upright=True)
            rng = np.random.default_rng(len(batches))
            maps = [drawn(clear(scan), ANY_UNMIRRORED, self.data.task, rng) for scan in scans]
            batches += [(kind, stacked(maps[i : i + self.data.batch])) for i in range(0, len(maps), self.data.batch)]
        return batches


UPRIGHT_AHEAD = Poses(tilt=0.0, roll=False, sizes=(1.0, 1.0), mirror=False)
ANY_UNMIRRORED = Poses(mirror=False)


@lru_cache(maxsize=2)
def pool_of(folder: Path, scanners: tuple[Scanner, ...], count: int) -> tuple[Scan, ...]:
    """Return `count` upright training scans without stray points, of each scanner in turn."""
    model = read_model(folder)
    return tuple(
        clear(
            draw(
                model,
                "train",
                scanners[number % len(scanners)],
                np.random.default_rng([number, count]),
                fewest=FEWEST_POINTS,
            )
        )
        for number in range(count)
    )


def clear(scan: Scan) -> Scan:
    """Return a scan without stray points, as the service sees it."""
    return Scan(scan.points[without_strays(scan.points)], scan.landmarks)


def drawn(scan: Scan, poses: Poses, task: FaceMap, rng: np.random.Generator) -> Batch:
    """Return a map of a scan and its landmarks in the camera's frame, a batch of one. Raises Degenerate."""
    points, landmarks = scan.points, scan.landmarks
    if poses.mirror and rng.random() < 0.5:
        turn = np.array([-1.0, 1.0, 1.0])
        points, landmarks = points * turn, landmarks[list(FACE68.mirror)] * turn
    size = np.exp(rng.uniform(*np.log(poses.sizes)))
    points, landmarks = points * size, landmarks * size
    camera = Camera(landmarks.mean(axis=0) + rng.normal(0, OFF_M, 3) * (poses.tilt > 0), axes_of(landmarks, poses, rng))
    return depth_map(points, camera, task).tensors, camera.seen_from(landmarks)[None]


def axes_of(landmarks: Float[np.ndarray, "68 3"], poses: Poses, rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Return the axes of a camera that looks at a face, tilted by up to the largest tilt in any direction, and rolled."""
    across, up, out = face_axes(landmarks)
    tilt, around = np.deg2rad(poses.tilt) * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    side = np.cos(around) * across + np.sin(around) * up
    axes = camera_axes(np.cos(tilt) * out + np.sin(tilt) * side)
    roll = rng.uniform(0, 2 * np.pi) * poses.roll
    c, s = np.cos(roll), np.sin(roll)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ axes


def stacked(samples: list[Batch]) -> Batch:
    """Return batches of one as one batch."""
    tensors = {name: np.concatenate([inputs[name] for inputs, _ in samples]) for name in samples[0][0]}
    return tensors, np.concatenate([landmarks for _, landmarks in samples])
