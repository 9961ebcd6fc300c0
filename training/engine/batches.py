"""Batches, the interface between data sets and the training loop."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

Batch = tuple[
    dict[str, np.ndarray], np.ndarray
]  # the inputs of the task by name, and the target; the first axis counts samples


@runtime_checkable
class Batches(Protocol):
    """A data set that is open: training batches by number, and validation batches in order."""

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """Return the samples rank, rank + ranks, ... of batch `step`, a function of seed and step alone."""
        ...

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """Yield the validation data in batches, each with the name of its source."""
        ...


@runtime_checkable
class CountedBatches(Batches, Protocol):
    """Batches of which a known number is one pass over the training data."""

    def steps_an_epoch(self) -> int:
        """Return the number of batches of one pass."""
        ...
