"""Clips of one or several people with one action each, for training and measuring recognition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from models.motion.bodies import box_of, boxed, facing
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, class_mirror, seen_points

People = Float[np.ndarray, "persons frames joints dims"]
Scores = Float[np.ndarray, "persons frames joints"]


@dataclass(frozen=True)
class ActionSet:
    """The clips of one data set.

    `read(i)` returns the points of clip i and their confidence; the mirror plane is x = 0 and missing points are NaN. `names`, `labels`
    (indices into `classes`) and `splits` have one entry a clip. So have `origins`, the sources that the clips come from, if the set is made
    of several.
    """

    source: str
    skeleton: Skeleton
    dims: int
    persons: int
    classes: tuple[str, ...]
    names: Sequence[str]
    labels: Int[np.ndarray, " clips"]
    splits: Sequence[Split]
    read: Callable[[int], tuple[People, Scores]]
    origins: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def class_mirror(self) -> tuple[int, ...]:
        """Map each class to the class of its mirrored clips (`clips.class_mirror`)."""
        return class_mirror(self.classes)

    def origin(self, i: int) -> str:
        """Return the source of clip i."""
        return self.origins[i] if self.origins else self.source


def actions_of(clips: Sequence[BodyClip], *, turned: bool = False, source: str | None = None) -> ActionSet:
    """Collect clips of one person each; the classes are their labels in alphabetical order. `source` names clips of several sources.

    2D points are in units of the box around the clip's visible points. 3D points are in metres from the pelvis of the first frame, y up;
    with `turned` they are seen from the front (`models.motion.bodies.facing`).
    """
    classes = tuple(sorted({clip.label for clip in clips}))

    @cache
    def read(i: int) -> tuple[People, Scores]:
        points = seen_points(clips[i].points, clips[i].confidence)
        if points.shape[-1] == 2:
            points = boxed(points, box_of(points))
        else:
            pelvis = clips[i].skeleton.indices(("pelvis",))[0]
            points = points - points[0, pelvis]
            points = facing(points, clips[i].skeleton) if turned else points
        return points[None], clips[i].confidence[None]

    return ActionSet(
        source=source or clips[0].source,
        skeleton=clips[0].skeleton,
        dims=clips[0].points.shape[-1],
        persons=1,
        classes=classes,
        names=[clip.name for clip in clips],
        labels=np.array([classes.index(clip.label) for clip in clips]),
        splits=[clip.split for clip in clips],
        read=read,
        origins=[clip.source for clip in clips] if source else (),
    )
