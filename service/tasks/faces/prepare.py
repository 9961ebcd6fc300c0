"""A scan in its file's form to the input of the search for a face, and the search itself.

scan = prepare(upload, model, limits)
found = yield from steps(scan)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.contract.bundle import BundleMeta
from models.contract.task import FaceLandmarks
from models.scans.cloud import Scan, TooBig, centre
from models.scans.files import read_scan
from models.scans.levels import MESH_POINTS, Face, search
from models.scans.sampling import sample_surface, thinned
from models.skeletons.units import UNITS, to_metres
from service.tasks.endpoint import Limits, Steps
from service.tasks.faces.schemas import FaceOptions
from service.tasks.faces.upload import Upload
from service.tasks.fields import Unit

MOST_POINTS = 50_000  # of a cloud that are used: their farthest points and neighbours take 30 ms of a core
TYPICAL_M = (0.03, 0.25)  # of a face's typical radius: 0.05 if cropped tightly, 0.08 with ears, 0.17 as a bust
NO_FACE = 0.1  # mean confidence below which there is no face: simulated faces have 0.4 and more, balls and boxes 0.01
MOST_FULL = 300_000  # points at which heatmaps are interpolated: 68 float32 each, 82 MB


class UnclearUnits(ValueError):
    """A scan that has the size of a face in no unit."""


class NoFace(ValueError):
    """A scan on which the network is confident of nothing."""


@dataclass(frozen=True)
class PreparedScan:
    """A scan, ready for the search."""

    options: FaceOptions
    task: FaceLandmarks
    points: Float[np.ndarray, "points 3"]  # those that are used: float64, metres
    indices: Int[np.ndarray, " points"] | None  # of these points in the file; None for points drawn on a mesh
    unit: Unit
    vertices: int  # in the file
    dropped: int  # of them, because they are not measurements
    triangles: int
    whole: Scan | None  # all of it, in metres, where heatmaps at every point or a picture are wanted


@dataclass(frozen=True)
class FoundFace:
    """A face on a scan."""

    scan: PreparedScan
    face: Face  # in the scan's frame, in metres

    @property
    def landmarks(self) -> Float[np.ndarray, "landmarks 3"]:
        """The landmarks in the scan's frame and unit, float64."""
        return self.face.landmarks / to_metres(self.scan.unit)

    @property
    def samples(self) -> Float[np.ndarray, "sampled 3"]:
        """The points that the heatmaps are over, in the scan's frame and unit."""
        return self.scan.points[self.face.sampled] / to_metres(self.scan.unit)


def prepare(upload: Upload, model: BundleMeta, limits: Limits) -> PreparedScan:
    """Read the scan and choose its points and its unit.

    The points are drawn evenly on a mesh, and are all points of a cloud, or MOST_POINTS of them, by a fixed seed. Raises
    BadCloud and UnclearUnits.
    """
    task, options = model.task, upload.options
    assert isinstance(task, FaceLandmarks), f"{model.name} finds no landmarks"
    scan = read_scan(upload.data, upload.suffix, max_bytes=limits.bytes, max_points=limits.points)
    if options.heatmaps == "full" and len(scan.points) > MOST_FULL:
        detail = f"expected at most {MOST_FULL} points for heatmaps at every point, got {len(scan.points)}"
        raise TooBig(f"{detail}; ask for heatmaps at the sampled points")
    if scan.triangles is None:
        indices = thinned(len(scan.points), MOST_POINTS)
        points = scan.points[indices]
        if scan.kept is not None:
            indices = np.flatnonzero(scan.kept)[indices]
    else:
        indices, points = None, sample_surface(scan.points, scan.triangles, MESH_POINTS)
    unit = unit_of(points) if options.units == "auto" else options.units
    scale, triangles = to_metres(unit), 0 if scan.triangles is None else len(scan.triangles)
    whole = Scan(scan.points * scale, scan.triangles, scan.kept) if upload.keep or options.heatmaps == "full" else None
    vertices = len(scan.points if scan.kept is None else scan.kept)
    dropped = vertices - len(scan.points)
    return PreparedScan(options, task, points * scale, indices, unit, vertices, dropped, triangles, whole)


def steps(scan: PreparedScan) -> Steps[FoundFace]:
    """Ask the network once or twice, by the search. Raises Degenerate and NoFace."""
    looks = search(scan.points, scan.task)
    tensors = next(looks)
    while True:
        (output,) = yield [{name: tensor[0] for name, tensor in tensors.items()}]
        try:
            tensors = looks.send({name: tensor[None] for name, tensor in output.items()})
        except StopIteration as stop:
            require_face(scan, stop.value)
            return FoundFace(scan, stop.value)


def typical_radius(points: Float[np.ndarray, "points 3"]) -> float:
    """Return the median distance of the points from their middle, in the unit of the points.

    The middle is that of the half nearest to the centroid, so that some points far away do not count.
    """
    about, _ = centre(points)
    radii = np.linalg.norm(about, axis=1)
    middle = about[radii <= np.median(radii)].mean(axis=0)
    return float(np.median(np.linalg.norm(about - middle, axis=1)))


def unit_of(points: Float[np.ndarray, "points 3"]) -> Unit:
    """Return the unit in which the points have the size of a face. Raises UnclearUnits.

    TYPICAL_M spans less than a factor of ten, so there is at most one such unit.
    """
    radius = typical_radius(points)
    for unit in ("m", "cm", "mm"):
        if TYPICAL_M[0] <= radius * to_metres(unit) <= TYPICAL_M[1]:
            return unit
    sizes = ", ".join(f"{radius * metres * 100:.3g} cm if in {unit}" for unit, metres in UNITS.items())
    low, high = (100 * metres for metres in TYPICAL_M)
    detail = f"expected half of the scan within {low:g} to {high:g} cm of its middle, as in a face, got {sizes}"
    raise UnclearUnits(f"{detail}; say its units")


def require_face(scan: PreparedScan, face: Face) -> None:
    """Raise NoFace unless the network is confident of some landmarks."""
    if not all(np.isfinite(array).all() for array in (face.landmarks, face.confidence, face.heatmaps)):
        raise NoFace("the network has no finite answer for these points")
    confidence = float(face.confidence.mean())
    if confidence < NO_FACE:
        centimetres = 100 * typical_radius(scan.points)
        raise NoFace(
            f"expected a mean confidence of at least {NO_FACE:g} over the {len(face.landmarks)} landmarks, got {confidence:.3g}; "
            f"in {scan.unit}, half of the scan is within {centimetres:.3g} cm of its middle"
        )
