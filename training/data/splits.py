"""training.data.splits."""

from typing import Literal

Split = Literal["train", "validation", "test"]


SPLITS: tuple[Split, ...] = ("train", "validation", "test")
