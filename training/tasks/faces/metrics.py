"""How wrong face landmarks are: distances, success rates, left and right in each other's place, overlap of heatmaps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.face import FACE68, INTEROCULAR

INNER_FACE = range(
    FACE68.joints.index("nasion"), len(FACE68.joints)
)  # nose, eyes, mouth: without the contour and the brows
SUCCESS_MM = (2, 3, 5)
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(18))  # 0.10 .. 0.95, as the reference sweeps them

Landmarks = Float[np.ndarray, "faces landmarks 3"]
Heatmaps = Float[np.ndarray, "faces landmarks points"]
Distances = Float[np.ndarray, "faces landmarks"]


@dataclass(frozen=True)
class LandmarkScores:
    """Means over faces and landmarks; `interocular` is in units of the distance between the outer eye corners, rates are fractions."""

    mean_mm: float
    median_mm: float
    inner_mm: float  # landmarks 27-67: nose, eyes, mouth
    interocular: float
    inner_interocular: float
    success: dict[str, float]  # landmarks within 2, 3, 5 mm
    swapped: float
    by_landmark_mm: dict[str, float]
    faces: int


def scores(landmarks: Landmarks, true: Landmarks) -> LandmarkScores:
    """All of it at once, of positions in metres. A true landmark that is NaN is not known and does not count."""
    apart = distances_mm(landmarks, true)
    known = np.isfinite(apart)
    relative = apart / interocular_mm(true)[:, None]
    inner = list(INNER_FACE)
    return LandmarkScores(
        mean_mm=float(apart[known].mean()),
        median_mm=float(np.median(apart[known])),
        inner_mm=float(np.nanmean(apart[:, inner])),
        interocular=float(np.nanmean(relative)),
        inner_interocular=float(np.nanmean(relative[:, inner])),
        success={f"{limit} mm": float((apart[known] <= limit).mean()) for limit in SUCCESS_MM},
        swapped=swap_rate(landmarks, true),
        by_landmark_mm={
            name: float(mm[here].mean())
            for name, mm, here in zip(FACE68.joints, apart.T, known.T, strict=True)
            if here.any()
        },
        faces=len(apart),
    )


def distances_mm(landmarks: Landmarks, true: Landmarks) -> Distances:
    return 1000 * np.linalg.norm(landmarks - true, axis=-1)


def interocular_mm(true: Landmarks) -> Float[np.ndarray, " faces"]:
    """Between the outer corners of the eyes."""
    right, left = INTEROCULAR
    return 1000 * np.linalg.norm(true[:, right] - true[:, left], axis=-1)


def swap_rate(landmarks: Landmarks, true: Landmarks) -> float:
    """The fraction, of landmarks that have one opposite, that lie nearer to the true place of that one than to their own."""
    mirror = np.array(FACE68.mirror)
    sided = mirror != np.arange(len(mirror))
    own, opposite = distances_mm(landmarks, true)[:, sided], distances_mm(landmarks, true[:, mirror])[:, sided]
    return float((opposite < own)[np.isfinite(own + opposite)].mean())


def overlap(
    heatmaps: Heatmaps, true: Heatmaps, thresholds: tuple[float, ...] = THRESHOLDS
) -> Float[np.ndarray, "thresholds landmarks"]:
    """IoU of the points where the heatmap is at least t and where the true one is, for each landmark: the mean over faces.

    Where neither has such a point the overlap counts as 0, as in the reference.
    """
    found = []
    for t in thresholds:
        ours, theirs = heatmaps >= t, true >= t
        either = (ours | theirs).sum(axis=2)
        found.append(np.where(either, (ours & theirs).sum(axis=2) / np.maximum(either, 1), 0.0).mean(axis=0))
    return np.array(found)
