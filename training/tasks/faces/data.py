"""Batches of simulated face scans, for training and for measuring.

The training batch of step s is a function of the seed and s alone, as for hands; every scan of every step is of another identity,
expression and scanner's mood. Scans to measure on are few and always the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.scans.levels import levels
from training.data.licences import source_of
from training.engine.batches import Batch
from training.tasks.faces.ict import (
    SEEDS,
    FaceModel,
    Split,
    read_model,
)
from training.tasks.faces.scanner import (
    CLEAN,
    VARIED,
    Scanner,
    scan,
)

SCANNERS = {"clean": CLEAN, "varied": VARIED}


@dataclass(frozen=True)
class Scan:
    """A scan with its true landmarks, in metres, float64."""

    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]


@dataclass(frozen=True)
class FaceData:
    """Scans of the ICT face model. `rotate` turns each at random, which a network that keeps rotations needs not."""

    task: FaceLandmarks
    scanner: Scanner = VARIED
    batch: int = 8
    rotate: bool = False
    validation: int = 48  # scans of each kind

    def load(self, folder: Path) -> "FaceBatches":
        """The batches, from the model under `folder` (which has faces/ict_facekit). Raises MalformedModel."""
        return FaceBatches(self, read_model(folder / "faces"))


class FaceBatches:
    """The scans of a FaceData."""

    def __init__(self, data: FaceData, model: FaceModel) -> None:
        self.data, self.model = data, model

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Batch `step` of the run of this seed: the task's inputs, and landmarks (batch, 68, 3); metres."""
        scans = []
        for number in range(rank, self.data.batch, ranks):
            rng = np.random.default_rng([seed, step, number])
            one = draw(self.model, "train", self.data.scanner, rng, fewest=self.data.task.levels[0])
            scans.append(turned(one, rng) if self.data.rotate else one)
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Clean and varied scans of validation identities, in random poses, in batches, with their kind."""
        yield from self.validation

    def scans(self, split: Split, count: int) -> tuple[Scan, ...]:
        """Clean scans to measure on."""
        return scans_of(self.model, split, "clean", count, self.data.task)

    def scans_to_fit(self, count: int) -> tuple[Scan, ...]:
        """Training scans, half of them clean and half varied, posed as the network is shown them."""
        return tuple(
            one
            for kind in SCANNERS
            for one in scans_of(self.model, "train", kind, count // 2, self.data.task, upright=not self.data.rotate)
        )

    def trained_on(self, steps: int) -> TrainingSource:
        """What a bundle says of it: every scan is of another identity."""
        return source_of("ict_facekit", steps * self.data.batch)

    @cached_property
    def validation(self) -> list[tuple[str, Batch]]:
        kinds = {
            kind: scans_of(self.model, "validation", kind, self.data.validation, self.data.task) for kind in SCANNERS
        }
        size = self.data.batch
        return [
            (kind, batch_of(scans[i : i + size], self.data.task))
            for kind, scans in kinds.items()
            for i in range(0, len(scans), size)
        ]


def draw(model: FaceModel, split: Split, scanner: Scanner, rng: np.random.Generator, *, fewest: int) -> Scan:
    """A scan of a random identity of the split, of at least `fewest` points, upright; another where little was left of it."""
    while True:
        seed = int(rng.integers(SEEDS[split].start, SEEDS[split].stop))
        points, landmarks = scan(model, model.vertices(model.identity(seed), model.expression(rng)), scanner, rng)
        if len(points) >= fewest:
            return Scan(points, landmarks)


def turned(one: Scan, rng: np.random.Generator) -> Scan:
    """The same scan in another pose."""
    turn = random_rotation(rng).T
    return Scan(one.points @ turn, one.landmarks @ turn)


def scans_of(
    model: FaceModel, split: Split, kind: str, count: int, task: FaceLandmarks, *, upright: bool = False
) -> tuple[Scan, ...]:
    """The first `count` scans to measure on of a split, "clean" or "varied", each in a random pose unless `upright`."""
    found = []
    for number in range(count):
        rng = np.random.default_rng([SEEDS[split].start, list(SCANNERS).index(kind), number])
        one = draw(model, split, SCANNERS[kind], rng, fewest=task.levels[0])
        found.append(one if upright else turned(one, rng))
    return tuple(found)


def batch_of(scans: list[Scan] | tuple[Scan, ...], task: FaceLandmarks) -> Batch:
    """The network's inputs for these scans, and their landmarks about the same centroids."""
    inputs = [levels(one.points, task) for one in scans]
    landmarks = [one.landmarks - held.centroid for one, held in zip(scans, inputs, strict=True)]
    tensors = {name: np.concatenate([held.tensors[name] for held in inputs]) for name in task.inputs}
    return tensors, np.stack(landmarks)
