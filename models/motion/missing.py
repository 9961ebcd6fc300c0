"""Sentinels that trackers and detectors write for a joint that they did not see: zeros, -1, or one point for every joint.

JSON has null for what was not seen, and raw arrays have NaN. These functions recognise the other conventions, so that no model is shown
them as places.
"""

import numpy as np
from jaxtyping import Bool, Float


def coincide(points: Float[np.ndarray, "*hands joints 3"]) -> Bool[np.ndarray, "*hands pairs"]:
    """Return which neighbours along x have the same x: nearly always none, and much cheaper to see than equal points."""
    along = np.sort(points[..., 0], axis=-1)
    return along[..., 1:] == along[..., :-1]


def unseen_joints(points: Float[np.ndarray, "frames joints 3"]) -> Bool[np.ndarray, "frames joints"]:
    """Return the joints of a hand that cannot have been seen: those at exactly one point with another joint. NaN equals nothing."""
    if not coincide(points).any():
        return np.zeros(points.shape[:2], bool)
    order = np.lexsort(points.transpose(2, 0, 1), axis=-1)
    ordered = np.take_along_axis(points, order[..., None], axis=1)
    same = (ordered[:, 1:] == ordered[:, :-1]).all(axis=-1)
    marked = np.zeros(points.shape[:2], bool)
    np.put_along_axis(marked, order[:, 1:], same, axis=1)
    before = np.zeros_like(marked)
    np.put_along_axis(before, order[:, :-1], same, axis=1)
    return marked | before


def unseen_hands(points: Float[np.ndarray, "frames joints 3"]) -> Bool[np.ndarray, " frames"]:
    """Return the frames in which a hand cannot have been seen: two of its joints are at exactly one point.

    That holds for a hand of zeros, of -1 or of any other constant, and for one in which some joints are zeros. A single joint at the
    origin is none of these: poses relative to the wrist have one. NaN equals nothing.
    """
    return np.any(unseen_joints(points), axis=-1)


def unseen_keypoints(points: Float[np.ndarray, "frames joints dims"]) -> Bool[np.ndarray, "frames joints"]:
    """Return the keypoints of a person that cannot have been seen: exactly zero, or exactly -1, in every coordinate.

    In three dimensions a joint that is zero in every frame, and is the only one, is the origin of poses relative to it.
    """
    zero = (points == 0).all(axis=-1)
    if points.shape[-1] == 3:
        origin = zero.all(axis=0)
        if origin.sum() == 1:
            zero &= ~origin
    return zero | (points == -1).all(axis=-1)
