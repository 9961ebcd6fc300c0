"""The surface of a scan under its landmarks: which landmarks lie on it, and which float where the scan has a hole or has ended.

A network places all 68 landmarks, also those of a cheek that the scan does not show. Such a landmark is a guess from the rest of the face.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

REACH_M = 0.006  # from a landmark to the nearest point of a dense scan: a landmark may be inside the surface by a few millimetres
SPACINGS = 1.25  # the same in mean distances of neighbours, for scans of few points
NEIGHBOURS = 8


def seen(
    landmarks: Float[np.ndarray, "landmarks 3"], points: Float[np.ndarray, "points 3"]
) -> Bool[np.ndarray, " landmarks"]:
    """Return which landmarks have surface of the scan under them; all in metres.

    A landmark has if a point is within REACH_M, or within SPACINGS times the distance of neighbouring points, whichever is more. That
    distance is the median over the places nearest to the landmarks, so that a ragged border does not decide.
    """
    tree = KDTree(points, balanced_tree=False)
    apart, nearest = tree.query(landmarks)
    near = tree.query(points[nearest], k=NEIGHBOURS + 1)[0][:, 1:]
    spacing = float(np.median(near.mean(axis=1)))
    return apart <= max(REACH_M, SPACINGS * spacing)
