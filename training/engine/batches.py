"""training.engine.batches."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

Batch = tuple[dict[str, np.ndarray], np.ndarray]


@runtime_checkable
class Batches(Protocol):
    """What a run's data gives the loop."""

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        """The share of a rank of batch `step`: a function of seed and step."""
        ...

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        """The validation data, with their source, in batches."""
        ...
