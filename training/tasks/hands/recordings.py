"""A recording of hand motion, and a source of recordings: a data set with its reader and its licence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.motion.hands import HandClip
from training.data.licences import Source


@dataclass(frozen=True)
class Recording:
    """One stretch of hand motion.

    `source` is the data set and `label` the activity. Several stretches of one recording share its `name`.
    """

    source: str
    name: str
    label: str
    clip: HandClip


@dataclass(frozen=True)
class HandSource(Source):
    """A data set of hand motion, which runs name in `HandData.sources`.

    `read(folder, split)` returns the recordings of a split ("train", "validation" or "test"), or all recordings if the split is None.
    `folder` is the subfolder `hands` of the data folder.
    """

    read: Callable[[Path, str | None], Sequence[Recording]]
