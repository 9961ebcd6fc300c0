"""A recording: one stretch of hand motion, where it comes from and what is done in it."""

from dataclasses import dataclass

from models.motion.hands import HandClip


@dataclass(frozen=True)
class Recording:
    """`source` is the data set, `name` its recording (several stretches may share it), `label` the activity."""

    source: str
    name: str
    label: str
    clip: HandClip
