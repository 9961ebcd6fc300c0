"""The mean of the faces of a set, as a landmarker without a network: the floor of what is trained on the set."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from training.tasks.faces.alignment import template_of
from training.tasks.faces.data import Scan
from training.tasks.faces.floor import MeanFace

ROUNDS = 3  # of aligning all to their mean (Gower 1975)


def mean_face(scans: Sequence[Scan]) -> MeanFace:
    """Return the mean landmarks, and as the template to align with the scan whose landmarks are nearest to them."""
    about = [scan.landmarks - scan.landmarks.mean(axis=0) for scan in scans]
    mean = about[0]
    for _ in range(ROUNDS):
        about = [one @ _turn(one, mean) for one in about]
        mean = np.mean(about, axis=0)
    nearest = scans[int(np.argmin([np.linalg.norm(one - mean) for one in about]))]
    middle = nearest.landmarks.mean(axis=0)
    points = (nearest.points - middle) @ _turn(nearest.landmarks - middle, mean)
    return MeanFace(template_of(points), mean)


def _turn(landmarks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the rotation R, applied as `landmarks @ R`, that takes centred landmarks nearest to others (Kabsch 1976)."""
    return Rotation.align_vectors(mean, landmarks)[0].as_matrix().T
