"""Plausibility of a face: the sizes of scan and landmarks, the distance between the eyes, and landmarks that lie on the scan.

A network answers for a scan of any size, often with high confidence: landmarks are offsets from points, so those of a scan of a
tenth of a millimetre span centimetres. All sizes here are invariant to rotation, translation and the order of the points.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from models.scans.cloud import centre
from models.skeletons.face import INTEROCULAR
from models.skeletons.units import UNITS, Implausible, describe_size, fitting_units, to_metres

TYPICAL_M = (0.03, 0.25)  # of a face's typical radius: 0.05 if cropped tightly, 0.08 with ears, 0.17 as a bust
LEAST_M = 0.02  # of the typical radius, whatever the unit: two thirds of the smallest face
SPAN_M = (
    0.05,
    0.40,
)  # the largest distance between two landmarks: 0.13 to 0.19 on people, at most 0.044 if metres are read as mm
EYES_M = (
    0.062,
    0.13,
)  # between the outer eye corners: 0.065 on children, 0.072 to 0.103 on adults; at most 0.055 if inches are read as cm
FAR_M = 0.04  # from a landmark to the nearest point of the scan: 0.01 for three quarters of the landmarks of any scan
MOST_FAR = 0.5  # share of the landmarks that may be farther: a scan that is cropped tightly lacks the jaw

Points = Float[np.ndarray, "points 3"]
Landmarks = Float[np.ndarray, "landmarks 3"]


def typical_radius(points: Points) -> float:
    """Return the median distance of the points from their middle, in the unit of the points.

    The middle is that of the half nearest to the centroid, so that some points far away do not count.
    """
    about, _ = centre(points)
    radii = np.linalg.norm(about, axis=1)
    middle = about[radii <= np.median(radii)].mean(axis=0)
    return float(np.median(np.linalg.norm(about - middle, axis=1)))


def units_of_scan(points: Points, unit: str) -> tuple[str, ...]:
    """Return the units in which a scan would have the size of a face; `points` are in metres if the scan is in `unit`."""
    return fitting_units(typical_radius(points), unit, *TYPICAL_M)


def eye_distance(landmarks: Landmarks) -> float:
    """Return the distance between the outer eye corners, in the unit of the landmarks."""
    right, left = landmarks[list(INTEROCULAR)]
    return float(np.linalg.norm(left - right))


def units_of_eyes(landmarks: Landmarks, unit: str) -> tuple[str, ...]:
    """Return the units in which the eyes would be as far apart as a person's; `landmarks` are in metres if the scan is in `unit`."""
    return fitting_units(eye_distance(landmarks), unit, *EYES_M)


def check_face(landmarks: Landmarks, points: Points, unit: str) -> None:
    """Check that scan and landmarks have the size of a face, and that the landmarks lie on the scan. Raises Implausible.

    Both are in metres, read in `unit`. The message gives the sizes that were found and the units in which the scan would have the size
    of a face.
    """
    check_size(points, unit)
    span = float(pdist(landmarks).max())
    if not SPAN_M[0] <= span <= SPAN_M[1]:
        sizes = " to ".join(map(describe_size, SPAN_M))
        raise Implausible(f"expected landmarks that span {sizes}, got {describe_size(span)} {_of_scan(points, unit)}")
    far = int((KDTree(points).query(landmarks)[0] > FAR_M).sum())
    if far > MOST_FAR * len(landmarks):
        raise Implausible(
            f"expected landmarks within {describe_size(FAR_M)} of the scan, got {far} of {len(landmarks)} that are farther "
            f"{_of_scan(points, unit)}"
        )


def check_size(points: Points, unit: str) -> None:
    """Raise Implausible for a scan that is smaller than a face, in metres, read in `unit`; no answer of a network is needed."""
    if typical_radius(points) < LEAST_M:
        least = describe_size(2 * LEAST_M)
        raise Implausible(f"expected a scan at least {least} wide, got a face {_of_scan(points, unit)}")


def _of_scan(points: Points, unit: str) -> str:
    """Return the rest of a message: the size of the scan, and the other units in which a face would have it."""
    size = describe_size(2 * typical_radius(points))
    others = [name for name in units_of_scan(points, unit) if name != unit]
    advice = f"units={' or '.join(others)} would fit" if others else "it is as large as a face in no other unit"
    return f"on a scan that is about {size} wide, read in {unit}; {advice}"


def sizes_in_all_units(points: Points) -> str:
    """Return the typical radius of a scan in every unit that it could have, for a message; `points` are in the scan's own unit."""
    radius = typical_radius(points)
    return ", ".join(f"{describe_size(radius * to_metres(unit))} if in {unit}" for unit in UNITS)
