"""A head's pose and the distances that people measure on a face, from its 68 landmarks.

The frame of a face has x to the person's left, y up, z forward out of the face, and its origin between the eyes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri

from models.skeletons.face import FACE68, FACE_REGIONS

DISTANCES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # name: the landmarks whose means are its two ends
    "interocular": (FACE_REGIONS["right_eye"], FACE_REGIONS["left_eye"]),
    **{
        name: ((FACE68.joints.index(a),), (FACE68.joints.index(b),))
        for name, a, b in (
            ("outer_eye_corners", "right_eye_outer", "left_eye_outer"),
            ("nose_width", "right_ala", "left_ala"),
            ("mouth_width", "right_mouth_corner", "left_mouth_corner"),
            ("face_height", "nasion", "chin"),
        )
    },
}
AROUND_M = 0.08  # from between the eyes: brows, eyes, nose and mouth, not the back of the head
BACKS = -0.2  # the sum of the normals along a face's front, over that of their sizes: 0.57 to 1 on ten scans, the negative on mirrored ones
LEAST, MOST = 1e-3, 1 - 1e-6  # confidences beyond these say nothing more about an error

Landmarks = Float[np.ndarray, "landmarks 3"]


@dataclass(frozen=True)
class Distance:
    """A distance on a face and one standard deviation of its error, in the unit of the landmarks."""

    value: float
    uncertainty: float


def face_axes(landmarks: Landmarks) -> Float[np.ndarray, "3 3"]:
    """Return the face's own axes as rows: to the subject's left, up, and out of the face.

    If left and right landmarks are exchanged, the nose still decides which side is the front. Landmarks that span no face give the axes of
    the scan.
    """
    across, up = _across(landmarks), _up(landmarks)
    out = np.cross(across, up)
    if np.linalg.norm(out) < 1e-3 * max(np.linalg.norm(across), np.linalg.norm(up), 1e-9) ** 2:
        return np.eye(3)
    if sides_exchanged(landmarks):
        across, out = -across, -out
    axes = np.stack([across, np.cross(out, across), out])
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


def sides_exchanged(landmarks: Landmarks) -> bool:
    """Return whether landmarks are those of a face's mirror image: either left and right are exchanged, or the coordinates are mirrored."""
    forward = landmarks[FACE68.joints.index("nose_tip")] - landmarks[list(FACE_REGIONS["jaw"])].mean(axis=0)
    return bool(np.cross(_across(landmarks), _up(landmarks)) @ forward < 0)


def _across(landmarks: Landmarks) -> Float[np.ndarray, "3"]:
    """Return the mean way from a right landmark to its left partner."""
    pairs = [(i, j) for i, j in enumerate(FACE68.mirror) if FACE68.joints[i].startswith("left_")]
    left, right = (landmarks[list(side)] for side in zip(*pairs, strict=True))
    return (left - right).mean(axis=0)


def _up(landmarks: Landmarks) -> Float[np.ndarray, "3"]:
    """Return the way from the chin to the nasion."""
    nasion, chin = (landmarks[FACE68.joints.index(name)] for name in ("nasion", "chin"))
    return nasion - chin


def head_pose(landmarks: Landmarks) -> Float[np.ndarray, "4 4"]:
    """Return the rigid transform from the face's frame to that of the landmarks: columns are its axes and its origin."""
    pose = np.eye(4)
    pose[:3, :3] = face_axes(landmarks).T
    eyes = [*FACE_REGIONS["right_eye"], *FACE_REGIONS["left_eye"]]
    pose[:3, 3] = landmarks[eyes].mean(axis=0)
    return pose


def in_head_frame(
    points: Float[np.ndarray, "points 3"], pose: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "points 3"]:
    """Return points of the landmarks' frame in the face's frame."""
    return (points - pose[:3, 3]) @ pose[:3, :3]


def seen_from_behind(
    landmarks: Landmarks, points: Float[np.ndarray, "points 3"], normals: Float[np.ndarray, "points 3"]
) -> bool:
    """Return whether a mesh turns its back to the front of the face, by the normals at points on it; all in metres.

    It does if it was mirrored without turning its triangles round, or if it was written inside out. Normals of both directions, as
    of a surface with two sides, tell nothing.
    """
    pose = head_pose(landmarks)
    near = np.linalg.norm(points - pose[:3, 3], axis=1) < AROUND_M
    outward = normals[near] @ pose[:3, 2]
    return bool(outward.sum() < BACKS * np.abs(outward).sum())


def distances(landmarks: Landmarks, confidence: Float[np.ndarray, " landmarks"], within: float) -> dict[str, Distance]:
    """Return the distances of DISTANCES with their uncertainties, in the unit of `landmarks` and `within`.

    `confidence` is the probability that a landmark is within `within` of the true one. An end of a distance has the root mean square
    error of its landmarks: errors of one eye have common causes, so they are not averaged away. Errors of the two ends count as
    independent.
    """
    sigma = standard_deviations(confidence, within)
    measured = {}
    for name, ends in DISTANCES.items():
        first, second = (landmarks[list(end)].mean(axis=0) for end in ends)
        variance = sum(float(np.square(sigma[list(end)]).mean()) for end in ends)
        measured[name] = Distance(float(np.linalg.norm(second - first)), float(np.sqrt(variance)))
    return measured


def standard_deviations(confidence: Float[np.ndarray, " landmarks"], within: float) -> Float[np.ndarray, " landmarks"]:
    """Return the standard deviation of each landmark's error along any one direction.

    The error is taken as Gaussian and equal in all directions, so its squared length over the variance follows a chi-squared law of
    three degrees of freedom, and `confidence` is its probability up to `within`.
    """
    probability = np.clip(confidence.astype(np.float64), LEAST, MOST)
    return within / np.sqrt(chdtri(3, 1 - probability))
