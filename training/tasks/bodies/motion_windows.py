"""Windows of captured motion in world axes, before a camera has seen them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from training.tasks.bodies.clips import BodyClip, UnknownBodies


@dataclass(frozen=True)
class MotionWindows:
    """The frames of many clips in one array. Window i has its first pose at start[i], in the clip that reaches from first[i] to last[i].

    `counts` are the numbers of windows of the groups of clips, which follow each other.
    """

    points: Float[np.ndarray, "frames joints 3"]
    first: Int[np.ndarray, " windows"]
    last: Int[np.ndarray, " windows"]
    start: Int[np.ndarray, " windows"]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, groups: Sequence[Sequence[BodyClip]], outputs: int) -> "MotionWindows":
        """Collect the windows of groups of clips, with poses of `outputs` consecutive frames. Raises UnknownBodies if there are none."""
        clips = [clip for group in groups for clip in group]
        lengths = np.array([len(clip.points) for clip in clips], dtype=int)
        counts = np.maximum(0, lengths - outputs + 1)
        if not counts.sum():
            raise UnknownBodies(f"expected {outputs} consecutive frames of motion in this split, got none")
        begins = np.cumsum(lengths) - lengths
        return cls(
            points=np.concatenate([clip.points for clip in clips]),
            first=np.repeat(begins, counts),
            last=np.repeat(begins + lengths - 1, counts),
            start=np.concatenate([begin + np.arange(n) for begin, n in zip(begins, counts, strict=True)]),
            counts=tuple(sum(max(0, len(clip.points) - outputs + 1) for clip in group) for group in groups),
        )

    def window(self, chosen: Int[np.ndarray, " batch"], receptive: int, outputs: int) -> Float[np.ndarray, "b f j 3"]:
        """Return receptive + outputs - 1 frames of each window; one that reaches beyond its clip repeats the first or last frame."""
        frames = self.start[chosen, None] - receptive // 2 + np.arange(receptive + outputs - 1)
        return self.points[np.clip(frames, self.first[chosen, None], self.last[chosen, None])]
