"""From a scan as its file has it to what the search for a face takes, and from what that finds to an answer in the scan's frame and unit.

Nothing here knows of requests: `chiron landmarks` does the same with files.

    question = prepare(read_scan(data, ".ply"), "auto")
    face = find(question.points, meta.task, run)
    require_face(question, face)
    json_bytes(document(question, face, meta))
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.contract.bundle import BundleMeta
from models.contract.task import FaceLandmarks
from models.contract.units import UNITS, to_metres
from models.scans.cloud import (
    Scan,
    TooBig,
    centre,
)
from models.scans.levels import MESH_POINTS, Face
from models.scans.sampling import sample_surface, thinned
from service.tasks.faces.schemas import Heatmaps
from service.tasks.fields import Unit

MOST_POINTS = 50_000  # of a cloud that are looked at: farthest points and neighbours of so many take 30 ms of a core
TYPICAL_M = (0.03, 0.25)  # of a face's typical radius: 0.05 if it is cropped tightly, 0.08 with ears, 0.17 as a bust
NO_FACE = (
    0.1  # mean confidence below which a scan is called none: simulated faces have 0.4 and more, balls and boxes 0.01
)
MOST_FULL = 300_000  # points at which heatmaps are interpolated: 68 float32 each, 82 MB
CHUNK = 8192  # of those at a time
ROUND_M, ROUND_HEAT = 1e-9, 6  # a nanometre, and decimals of a heatmap, in JSON


class UnclearUnits(ValueError):
    """A scan whose size is that of a face in no unit."""


class NoFace(ValueError):
    """A scan on which the network is sure of nothing."""


@dataclass(frozen=True)
class Question:
    """A scan, ready for the search."""

    points: Float[np.ndarray, "points 3"]  # float64, metres
    indices: Int[np.ndarray, " points"] | None  # which points of the file they are; None: drawn on the mesh
    unit: Unit
    inferred: bool
    uploaded: int  # points or vertices in the file
    triangles: int
    vertices: Float[np.ndarray, "uploaded 3"] | None  # all of them in metres, where heatmaps at them are wanted


def prepare(scan: Scan, units: Unit | Literal["auto"] = "auto", heatmaps: Heatmaps = "none") -> Question:
    """Some of the scan's points, in metres: drawn evenly on a mesh, of a cloud all or MOST_POINTS, by a fixed seed.

    Raises UnclearUnits, TooBig for more points than heatmaps can be given at, Degenerate for a mesh without any area.
    """
    if heatmaps == "full" and len(scan.points) > MOST_FULL:
        raise TooBig(
            f"heatmaps at every point are given for at most {MOST_FULL} points; {len(scan.points)} came. Ask for those at the sampled ones"
        )
    if scan.triangles is None:
        indices = thinned(len(scan.points), MOST_POINTS)
        points = scan.points[indices]
    else:
        indices, points = None, sample_surface(scan.points, scan.triangles, MESH_POINTS)
    unit: Unit = unit_of(points) if units == "auto" else units
    scale = to_metres(unit)
    return Question(
        points=points * scale,
        indices=indices,
        unit=unit,
        inferred=units == "auto",
        uploaded=len(scan.points),
        triangles=0 if scan.triangles is None else len(scan.triangles),
        vertices=scan.points * scale if heatmaps == "full" else None,
    )


def typical_radius(points: Float[np.ndarray, "points 3"]) -> float:
    """How far from their middle half of the points are at most; the middle is that of the half nearest to the centroid,
    so that some points far away do not count."""
    about, _ = centre(points)
    radii = np.linalg.norm(about, axis=1)
    middle = about[radii <= np.median(radii)].mean(axis=0)
    return float(np.median(np.linalg.norm(about - middle, axis=1)))


def unit_of(points: Float[np.ndarray, "points 3"]) -> Unit:
    """The unit in which the points are the size of a face; TYPICAL_M reaches less than tenfold, so there is one at most.

    Raises UnclearUnits.
    """
    radius = typical_radius(points)
    for unit in ("m", "cm", "mm"):
        if TYPICAL_M[0] <= radius * to_metres(unit) <= TYPICAL_M[1]:
            return unit
    sizes = " or ".join(f"{radius * metres * 100:.3g} cm (if in {unit})" for unit, metres in UNITS.items())
    low, high = (100 * metres for metres in TYPICAL_M)
    raise UnclearUnits(
        f"half of a face is within {low:g} to {high:g} cm of its middle; half of this scan is within {sizes}: say its units"
    )


def require_face(question: Question, face: Face) -> None:
    """Raises NoFace unless the network found anything it is at all sure of."""
    numbers = (face.landmarks, face.confidence, face.heatmaps)
    if not all(np.isfinite(array).all() for array in numbers):
        raise NoFace("the network has no finite answer for these points")
    sure = float(face.confidence.mean())
    if sure < NO_FACE:
        centimetres = 100 * typical_radius(question.points)
        raise NoFace(
            f"a mean confidence of at least {NO_FACE:g} over the {len(face.landmarks)} landmarks is wanted; it is {sure:.3g}. Taken in "
            f"{question.unit}, half of the scan is within {centimetres:.3g} cm of its middle"
        )


def landmarks_of(question: Question, face: Face) -> Float[np.ndarray, "landmarks 3"]:
    """In the scan's frame and unit, float64."""
    return face.landmarks / to_metres(question.unit)


def sampled_of(question: Question, face: Face) -> Float[np.ndarray, "sampled 3"]:
    """The points that the heatmaps are over, in the scan's frame and unit."""
    return question.points[face.sampled] / to_metres(question.unit)


def task_of(meta: BundleMeta) -> FaceLandmarks:
    """The task of a model for faces."""
    assert isinstance(meta.task, FaceLandmarks), f"{meta.name} finds no landmarks"
    return meta.task
