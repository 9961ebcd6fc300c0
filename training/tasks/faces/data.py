"""Simulated face scans in batches, for training and for measuring.

The training batch of step s depends on the seed and s alone. Every training scan has an identity, expression and scanner settings of its
own. Scans to measure on are few and always the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import TrainingSource
from models.contract.face_map import FaceMap
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.scans.levels import levels
from training.data.splits import Split
from training.engine.batches import Batch
from training.engine.fingerprint import LATER
from training.tasks.faces.ict import (
    SEEDS,
    SOURCE,
    FaceModel,
    read_model,
)
from training.tasks.faces.scanner import (
    CLEAN,
    DEPTH,
    HALF,
    HEAD,
    PHONE,
    SENSOR,
    VARIED,
    Mix,
    Scanner,
    scan,
)

SCANNERS = {"clean": CLEAN, "varied": VARIED}  # of validation and of every report
OTHERS = {"half": HALF, "head": HEAD, "sensor": SENSOR, "depth": DEPTH, "phone": PHONE}  # measured beside these
KINDS = SCANNERS | OTHERS


@dataclass(frozen=True)
class Scan:
    """A scan with its true landmarks, in metres, float64."""

    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]


@dataclass(frozen=True)
class FaceData:
    """Scans of the ICT face model as a value; `rotate` turns each at random, which a rotation-equivariant network does not need."""

    task: FaceLandmarks
    scanner: Scanner | Mix = VARIED
    batch: int = 8
    rotate: bool = False
    validation: int = 48  # scans of each kind
    kinds: tuple[str, ...] = field(default=tuple(SCANNERS), metadata=LATER)  # of KINDS, to validate on

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the subfolders of the data folder that are read."""
        return ("faces",)

    def load(self, folder: Path) -> "FaceBatches":
        """Open the batches with the model in <folder>/faces/ict_facekit. Raises MalformedModel."""
        return FaceBatches(self, read_model(folder / "faces"))


class FaceBatches:
    """The scans of a FaceData, drawn from a face model."""

    def __init__(self, data: FaceData, model: FaceModel) -> None:
        self.data, self.model = data, model

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone.

        The inputs are the task's, and the target is the landmarks (batch, 68, 3), in metres.
        """
        scans = []
        for number in range(rank, self.data.batch, ranks):
            rng = np.random.default_rng([seed, step, number])
            how = self.data.scanner
            how = how.drawn(rng) if isinstance(how, Mix) else how
            one = draw(self.model, "train", how, rng, fewest=self.data.task.fewest)
            scans.append(turned(one, rng) if self.data.rotate else one)
        return batch_of(scans, self.data.task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield scans of validation identities, of every kind, in random poses, in batches with their kind."""
        yield from self.validation

    def scans(self, split: Split, count: int, *, upright: bool = False) -> tuple[Scan, ...]:
        """Return the first `count` clean scans of a split, in random poses unless `upright`."""
        return scans_of(self.model, split, "clean", count, self.data.task, upright=upright)

    def template(self) -> Float[np.ndarray, "points 3"]:
        """Return the cloud that scans are aligned to: a clean scan of the mean face."""
        return scan(self.model, self.model.mean, CLEAN, np.random.default_rng(0))[0]

    def scans_to_fit(self, count: int) -> tuple[Scan, ...]:
        """Return `count` training scans, half clean and half varied, in the poses that the network was trained with."""
        return tuple(
            one
            for kind in SCANNERS
            for one in scans_of(self.model, "train", kind, count // 2, self.data.task, upright=not self.data.rotate)
        )

    def batches_to_fit(self, count: int) -> Iterator[Batch]:
        """Yield the scans to fit in batches."""
        yield from in_batches(self.scans_to_fit(count), self.data.task, self.data.batch)

    def example(self) -> Batch:
        """Return a batch of one clean test scan."""
        return batch_of(self.scans("test", 1), self.data.task)

    def trained_on(self, steps: int) -> TrainingSource:
        """Return the bundle's entry after `steps` of training; every scan counts as a recording, since each is of another identity."""
        return SOURCE.trained_on(steps * self.data.batch)

    @cached_property
    def validation(self) -> list[tuple[str, Batch]]:
        """Return the validation batches with their kind."""
        kinds = {
            kind: scans_of(self.model, "validation", kind, self.data.validation, self.data.task)
            for kind in self.data.kinds
        }
        return [
            (kind, batch)
            for kind, scans in kinds.items()
            for batch in in_batches(scans, self.data.task, self.data.batch)
        ]


def draw(model: FaceModel, split: Split, scanner: Scanner, rng: np.random.Generator, *, fewest: int) -> Scan:
    """Return an upright scan of a random identity of the split; draw again until it has at least `fewest` points."""
    while True:
        seed = int(rng.integers(SEEDS[split].start, SEEDS[split].stop))
        points, landmarks = scan(model, model.vertices(model.identity(seed), model.expression(rng)), scanner, rng)
        if len(points) >= fewest:
            return Scan(points, landmarks)


def turned(one: Scan, rng: np.random.Generator) -> Scan:
    """Return the scan turned at random."""
    turn = random_rotation(rng).T
    return Scan(one.points @ turn, one.landmarks @ turn)


def scans_of(
    model: FaceModel, split: Split, kind: str, count: int, task: FaceLandmarks | FaceMap, *, upright: bool = False
) -> tuple[Scan, ...]:
    """Return the first `count` scans of a split to measure on, of one of KINDS, in random poses unless `upright`."""
    scans = []
    for number in range(count):
        rng = np.random.default_rng([SEEDS[split].start, list(KINDS).index(kind), number])
        one = draw(model, split, KINDS[kind], rng, fewest=task.fewest)
        scans.append(one if upright else turned(one, rng))
    return tuple(scans)


def batch_of(scans: list[Scan] | tuple[Scan, ...], task: FaceLandmarks) -> Batch:
    """Return the network's inputs for these scans, and their landmarks relative to the same centroids."""
    pyramids = [levels(one.points, task) for one in scans]
    landmarks = [one.landmarks - pyramid.centroid for one, pyramid in zip(scans, pyramids, strict=True)]
    tensors = {name: np.concatenate([pyramid.tensors[name] for pyramid in pyramids]) for name in task.inputs}
    return tensors, np.stack(landmarks)


def in_batches(scans: list[Scan] | tuple[Scan, ...], task: FaceLandmarks, size: int) -> Iterator[Batch]:
    """Yield `batch_of` of every `size` scans."""
    for i in range(0, len(scans), size):
        yield batch_of(scans[i : i + size], task)
