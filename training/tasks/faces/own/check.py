"""The check of a set of scans of one's own: every fault of every scan, before a step is taken on it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from models.contract.task import FaceLandmarks
from models.scans.head import face_axes, seen_from_behind, sides_exchanged
from models.scans.plausible_faces import EYES_M, check_face, eye_distance
from models.skeletons.face import FACE68, FACE_REGIONS
from models.skeletons.units import Implausible, check_size, describe_size
from training.data.declaration import FILE, read_declared
from training.data.reading import READING, Found, MalformedData
from training.data.splits import SPLITS
from training.tasks.faces.own.sets import Declaration, OwnScan, digest, read_own, scans_in, splits_of

MOST_FAULTS = 10  # in one message
OFF_SURFACE_M = 0.03  # from a landmark to the nearest point of its scan
LONGEST_BONE = 0.3  # between neighbours on a curve, of the largest distance between two landmarks: 0.13 on faces
DOWNWARDS = (
    "right_brow",
    "right_eye",
    "nose_base",
    "outer_lip",
)  # regions in their order from the forehead to the chin
FEWEST = FaceLandmarks().fewest


def check_own(folder: Path, note: Callable[[str], None] = lambda _: None) -> Found:
    """Read every scan of the set in a folder; yield (name, split, scans). `note` gets what is doubtful. Raises MalformedData."""
    declared = read_declared(folder, Declaration)
    scans, faults = scans_in(folder)
    same: dict[str, str] = {}
    for scan in scans:
        if (first := same.setdefault(digest(scan.path), scan.name)) != scan.name:
            faults.append(f"{scan.name}: expected another scan than {first}, got the same file; remove one of them")
        try:
            own = read_own(scan, declared.units)
            check_scan(own, declared.units)
        except READING as error:
            faults.append(f"{scan.name}: {str(error) or type(error).__name__}")
            continue
        if own.normals is not None and seen_from_behind(own.landmarks, own.points, own.normals):
            note(
                f"{scan.name}: the triangles around the face are seen from behind: the mesh is mirrored, or inside out"
            )
    if not faults:
        try:
            splits = splits_of(declared, scans)
        except ValueError as error:
            faults.append(f"{FILE}: {error}")
        else:
            of: dict[str, set[str]] = {}
            for scan in scans:
                of.setdefault(scan.person, set()).add(splits[scan.name])
            for person, several in of.items():
                if len(several) > 1:
                    note(f"{person}: scans of one folder are in {' and in '.join(sorted(several))}")
            counts = {split: list(splits.values()).count(split) for split in SPLITS}
            faults += [f"{FILE}: {split} has no scan" for split, count in counts.items() if not count]
            if not faults:
                yield from ((declared.name, split, count) for split, count in counts.items())
    if faults:
        more = len(faults) - MOST_FAULTS
        text = "; ".join(faults[:MOST_FAULTS])
        raise MalformedData(f"{text}; and {more} more" if more > 0 else text)


def check_scan(own: OwnScan, unit: str) -> None:
    """Raise Implausible for a scan or landmarks, in metres, read in `unit`, that are not those of a face, or not of one another."""
    points, landmarks = own.points, own.landmarks
    if len(points) < FEWEST:
        raise Implausible(
            f"expected a cloud of at least {FEWEST} points, got {len(points)}; use a denser cloud or a mesh"
        )
    check_face(landmarks, points, unit)
    apart = KDTree(points).query(landmarks)[0]
    if (farthest := float(apart.max())) > OFF_SURFACE_M:
        raise Implausible(
            f"expected landmarks within {describe_size(OFF_SURFACE_M)} of the scan, got {int((apart > OFF_SURFACE_M).sum())} farther away, "
            f"{FACE68.joints[int(apart.argmax())]} the farthest at {describe_size(farthest)}"
        )
    _check_order(landmarks)
    if sides_exchanged(landmarks):
        raise Implausible(
            f"expected landmarks in {FACE68.name} order with the person's own left and right, got those of a mirror image: either left and "
            "right are exchanged, or the scan is mirrored"
        )
    check_size("outer eye corners at a distance", eye_distance(landmarks), unit, *EYES_M)


def _check_order(landmarks: np.ndarray) -> None:
    """Raise Implausible if neighbours on a curve of the face are far apart, or the regions are not one below the other."""
    ends, span = np.array(FACE68.bones), float(pdist(landmarks).max())
    bones = np.linalg.norm(landmarks[ends[:, 0]] - landmarks[ends[:, 1]], axis=1)
    if (longest := float(bones.max())) > LONGEST_BONE * span:
        first, second = (FACE68.joints[end] for end in ends[bones.argmax()])
        raise Implausible(
            f"expected landmarks in {FACE68.name} order, got {first} and {second}, which are neighbours, {describe_size(longest)} apart"
        )
    heights = landmarks @ face_axes(landmarks)[1]
    for upper, lower in pairwise(DOWNWARDS):
        if heights[list(FACE_REGIONS[upper])].mean() <= heights[list(FACE_REGIONS[lower])].mean():
            raise Implausible(f"expected landmarks in {FACE68.name} order, got the {lower} above the {upper}")
