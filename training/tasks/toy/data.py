"""Rows of four random numbers and their means."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.engine.batches import Batch


@dataclass(frozen=True)
class ToyData:
    """Random rows; nothing is read."""

    batch: int = 16

    @property
    def parts(self) -> tuple[str, ...]:
        return ()

    def load(self, folder: Path) -> "ToyBatches":
        return ToyBatches(self.batch)


class ToyBatches:
    """Batches of random rows."""

    def __init__(self, size: int) -> None:
        self.size = size

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        numbers = np.random.default_rng((seed, step)).normal(size=(self.size, 4)).astype(np.float32)[rank::ranks]
        return {"numbers": numbers}, numbers.mean(axis=1, keepdims=True)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        yield "made up", self.training_batch(0, -1 % 2**31)
