"""Errors of face landmarks: distances, success rates, exchanged left and right, overlap of heatmaps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.face import FACE68, INTEROCULAR

INNER_FACE = range(FACE68.joints.index("nasion"), len(FACE68.joints))  # nose, eyes, mouth; no contour, no brows
SUCCESS_MM = (2, 3, 5)
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(18))  # 0.10 .. 0.95, as the reference sweeps them

Landmarks = Float[np.ndarray, "faces landmarks 3"]
Heatmaps = Float[np.ndarray, "faces landmarks points"]
Distances = Float[np.ndarray, "faces landmarks"]


@dataclass(frozen=True)
class LandmarkScores:
    """Means over faces and landmarks; `interocular` is in units of the distance between the outer eye corners, rates are fractions.

    `success` has the share of landmarks within 2, 3 and 5 mm.
    """

    mean_mm: float
    median_mm: float
    inner_mm: float  # landmarks 27-67: nose, eyes, mouth
    interocular: float
    inner_interocular: float
    success: dict[str, float]
    swapped: float
    by_landmark_mm: dict[str, float]
    faces: int


def scores(landmarks: Landmarks, true: Landmarks) -> LandmarkScores:
    """Return all scores of positions in metres. A true landmark that is NaN is unknown and does not count."""
    distances = distances_mm(landmarks, true)
    known = np.isfinite(distances)
    relative = distances / interocular_mm(true)[:, None]
    inner = list(INNER_FACE)
    return LandmarkScores(
        mean_mm=float(distances[known].mean()),
        median_mm=float(np.median(distances[known])),
        inner_mm=float(np.nanmean(distances[:, inner])),
        interocular=float(np.nanmean(relative)),
        inner_interocular=float(np.nanmean(relative[:, inner])),
        success={f"{limit} mm": float((distances[known] <= limit).mean()) for limit in SUCCESS_MM},
        swapped=swap_rate(landmarks, true),
        by_landmark_mm={
            name: float(mm[here].mean())
            for name, mm, here in zip(FACE68.joints, distances.T, known.T, strict=True)
            if here.any()
        },
        faces=len(distances),
    )


def distances_mm(landmarks: Landmarks, true: Landmarks) -> Distances:
    """Return the distance of each landmark from its true position in mm."""
    return 1000 * np.linalg.norm(landmarks - true, axis=-1)


def interocular_mm(true: Landmarks) -> Float[np.ndarray, " faces"]:
    """Return the distance between the outer corners of the eyes in mm."""
    right, left = INTEROCULAR
    return 1000 * np.linalg.norm(true[:, right] - true[:, left], axis=-1)


def swap_rate(landmarks: Landmarks, true: Landmarks) -> float:
    """Return the share of paired landmarks that are nearer to their partner's true position than to their own."""
    mirror = np.array(FACE68.mirror)
    sided = mirror != np.arange(len(mirror))
    own, opposite = distances_mm(landmarks, true)[:, sided], distances_mm(landmarks, true[:, mirror])[:, sided]
    return float((opposite < own)[np.isfinite(own + opposite)].mean())


def overlap(
    heatmaps: Heatmaps, true: Heatmaps, thresholds: tuple[float, ...] = THRESHOLDS
) -> Float[np.ndarray, "thresholds landmarks"]:
    """Return for each threshold t and landmark the IoU of the points with heatmap >= t and true heatmap >= t, averaged over faces.

    If neither has such a point, the overlap counts as 0, as in the reference.
    """
    overlaps = []
    for t in thresholds:
        ours, theirs = heatmaps >= t, true >= t
        union = (ours | theirs).sum(axis=2)
        overlaps.append(np.where(union, (ours & theirs).sum(axis=2) / np.maximum(union, 1), 0.0).mean(axis=0))
    return np.array(overlaps)
