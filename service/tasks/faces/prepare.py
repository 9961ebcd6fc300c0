"""A scan in its file's form to the input of the search for a face, and the search itself.

scan = prepare(upload, model, limits)
found = yield from steps(scan)
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from models.contract.bundle import BundleMeta
from models.scans.cloud import Scan, TooBig
from models.scans.files import read_scan
from models.scans.head import head_pose, seen_from_behind
from models.scans.levels import CONFIDENT, MESH_POINTS, Face
from models.scans.looks import FaceTask, search
from models.scans.plausible_faces import (
    EYES_M,
    TYPICAL_M,
    check_face,
    check_size,
    eye_distance,
    sizes_in_all_units,
    typical_radius,
    units_of_eyes,
)
from models.scans.sampling import sample_with_normals, thinned
from models.scans.surface import seen
from models.skeletons.face import FACE68
from models.skeletons.units import METRIC, describe_size, to_metres
from service.tasks.endpoint import Limits, Steps
from service.tasks.faces.schemas import FaceOptions
from service.tasks.faces.upload import Upload
from service.tasks.fields import Unit

MOST_POINTS = 50_000  # of a cloud that are used, so that windows of a scan of a whole person have enough
NO_FACE = (
    0.04  # mean confidence below which there is no face, whatever else is wrong: balls and boxes have less than 0.01
)
MOST_FULL = 300_000  # points at which heatmaps are interpolated: 68 float32 each, 82 MB
MOST_ALIGNED = 1_000_000  # points of an aligned copy in an answer, which has 38 MB with twice as many triangles
MIRRORED = (
    "the triangles around the face are seen from behind: either the scan is mirrored, and left and right are exchanged in this answer "
    "(negate one axis), or its triangles are turned inside out, which does not matter here"
)


class UnclearUnits(ValueError):
    """A scan whose unit cannot be inferred: it has the size of a face in no metric unit, or its face is no person's in the one it has."""


class NoFace(ValueError):
    """A scan on which the network is confident of nothing."""


@dataclass(frozen=True)
class PreparedScan:
    """A scan, ready for the search."""

    options: FaceOptions
    task: FaceTask
    points: Float[np.ndarray, "points 3"]  # those that are used: float64, metres
    indices: Int[np.ndarray, " points"] | None  # of these points in the file; None for points drawn on a mesh
    normals: Float[np.ndarray, "points 3"] | None  # of the mesh at these points; None for a cloud
    unit: Unit
    vertices: int  # in the file
    dropped: int  # of them, because they are not measurements
    triangles: int
    whole: Scan | None  # all of it, in metres, where heatmaps at every point, an aligned copy or a picture are wanted


@dataclass(frozen=True)
class FoundFace:
    """A face on a scan."""

    scan: PreparedScan
    face: Face  # in the scan's frame, in metres

    @property
    def landmarks(self) -> Float[np.ndarray, "landmarks 3"]:
        """Return the landmarks in the scan's frame and unit, float64."""
        return self.face.landmarks / to_metres(self.scan.unit)

    @cached_property
    def seen(self) -> Bool[np.ndarray, " landmarks"]:
        """Return which landmarks have surface of the scan under them."""
        return seen(self.face.landmarks, self.scan.points)

    @property
    def pose(self) -> Float[np.ndarray, "4 4"]:
        """Return the rigid transform from the head's frame to the scan's, in the scan's unit."""
        return head_pose(self.landmarks)

    @property
    def warnings(self) -> list[str]:
        """Return warnings about the answer for the caller."""
        scan = self.scan
        if scan.normals is not None and seen_from_behind(self.face.landmarks, scan.points, scan.normals):
            return [MIRRORED]
        return []

    @property
    def samples(self) -> Float[np.ndarray, "sampled 3"]:
        """Return the points that the heatmaps are over, in the scan's frame and unit."""
        return self.scan.points[self.face.sampled] / to_metres(self.scan.unit)

    @property
    def within(self) -> float:
        """Return the distance that the confidences are about, in the scan's unit."""
        return self.scan.task.confident_m / to_metres(self.scan.unit)

    @property
    def meaning(self) -> str:
        """Return the meaning of a confidence, in words."""
        return f"the probability that a landmark is within {self.within:g} {self.scan.unit} of the true one"


def prepare(upload: Upload, model: BundleMeta, limits: Limits) -> PreparedScan:
    """Read the scan and choose its points and its unit.

    The points are drawn evenly on a mesh, and are all points of a cloud, or MOST_POINTS of them, by a fixed seed. Raises
    BadCloud and UnclearUnits.
    """
    task, options = model.task, upload.options
    assert isinstance(task, FaceTask), f"{model.name} finds no landmarks"
    scan = read_scan(upload.data, upload.suffix, max_bytes=limits.bytes, max_points=limits.points)
    if options.heatmaps == "full" and len(scan.points) > MOST_FULL:
        detail = f"expected at most {MOST_FULL} points for heatmaps at every point, got {len(scan.points)}"
        raise TooBig(f"{detail}; ask for heatmaps at the sampled points")
    if options.aligned and len(scan.points) > MOST_ALIGNED:
        detail = f"expected at most {MOST_ALIGNED} points for an aligned copy, got {len(scan.points)}"
        raise TooBig(f"{detail}; move the scan by the inverse of `pose`, or thin it")
    normals = None
    if scan.triangles is None:
        indices = thinned(len(scan.points), MOST_POINTS)
        points = scan.points[indices]
        if scan.kept is not None:
            indices = np.flatnonzero(scan.kept)[indices]
    else:
        indices, (points, normals) = None, sample_with_normals(scan.points, scan.triangles, MESH_POINTS)
    unit = unit_of(points) if options.units == "auto" else options.units
    if scan.triangles is not None and typical_radius(points) * to_metres(unit) > TYPICAL_M[1]:  # more than a head
        points, normals = sample_with_normals(scan.points, scan.triangles, MOST_POINTS)
    scale, triangles = to_metres(unit), 0 if scan.triangles is None else len(scan.triangles)
    keep = upload.keep or options.aligned or options.heatmaps == "full"
    whole = Scan(scan.points * scale, scan.triangles, scan.kept) if keep else None
    vertices = len(scan.points if scan.kept is None else scan.kept)
    dropped = vertices - len(scan.points)
    return PreparedScan(options, task, points * scale, indices, normals, unit, vertices, dropped, triangles, whole)


def steps(scan: PreparedScan) -> Steps[FoundFace]:
    """Ask the network once or twice, by the search. Raises Degenerate, NoFace, Implausible and UnclearUnits."""
    looks = search(scan.points, scan.task)
    tensors = next(looks)
    while True:
        (output,) = yield [{name: tensor[0] for name, tensor in tensors.items()}]
        try:
            tensors = looks.send({name: tensor[None] for name, tensor in output.items()})
        except StopIteration as stop:
            require_face(scan, stop.value)
            return FoundFace(scan, stop.value)


def unit_of(points: Float[np.ndarray, "points 3"]) -> Unit:
    """Return the metric unit in which the points have the size of a face. Raises UnclearUnits.

    TYPICAL_M spans less than a factor of ten, so there is at most one such unit. A scan in inches or feet can have the size of a face in
    a metric unit too, so `require_inferred` judges the answer.
    """
    radius = typical_radius(points)
    for unit in METRIC:
        if TYPICAL_M[0] <= radius * to_metres(unit) <= TYPICAL_M[1]:
            return unit
    low, high = (100 * metres for metres in TYPICAL_M)
    detail = f"expected half of the scan within {low:g} to {high:g} cm of its middle, as in a face"
    raise UnclearUnits(
        f"{detail}, got {sizes_in_all_units(points)}; say its units, and crop it to the head and shoulders"
    )


def require_face(scan: PreparedScan, face: Face) -> None:
    """Check a network's answer against its scan.

    Raises NoFace unless the network is confident of some landmarks, Implausible unless they have the size of a face and lie on the
    scan, and UnclearUnits if the unit was inferred and the eyes are not as far apart in it as a person's.
    """
    if not all(np.isfinite(array).all() for array in (face.landmarks, face.confidence, face.heatmaps)):
        raise NoFace("the network has no finite answer for these points")
    check_size(scan.points, scan.unit)  # the unit is named before the network's doubt, which a wrong one causes
    confidence = float(face.confidence.mean())
    if confidence < NO_FACE:
        raise _no_face(scan, NO_FACE, confidence)
    check_face(face.landmarks, scan.points[face.sampled], scan.unit)
    if scan.options.units == "auto":
        require_inferred(scan.unit, face)
    elif confidence < CONFIDENT:
        raise _no_face(scan, CONFIDENT, confidence)


def _no_face(scan: PreparedScan, least: float, confidence: float) -> NoFace:
    """Return the error for a network that is not confident, with the size of the scan and what to do about it."""
    radius = typical_radius(scan.points)
    detail = f"expected a mean confidence of at least {least:g} over the {len(FACE68.joints)} landmarks, got {confidence:.3g}"
    size = f"in {scan.unit}, half of the scan is within {100 * radius:.3g} cm of its middle"
    advice = (
        "crop it to the head and shoulders" if radius > TYPICAL_M[1] else "the face may be missing, or the unit wrong"
    )
    return NoFace(f"{detail}; {size}; {advice}")


def require_inferred(unit: Unit, face: Face) -> None:
    """Raise UnclearUnits unless, in the unit that was inferred, the network is sure and the eyes are as far apart as a person's."""
    confidence, fitting = float(face.confidence.mean()), units_of_eyes(face.landmarks, unit)
    suggested = f"in {unit}, which the size of the scan suggests"
    if confidence < CONFIDENT:
        detail = (
            f"expected a mean confidence of at least {CONFIDENT:g} {suggested}, got {confidence:.3g}; say its units"
        )
        raise UnclearUnits(detail)
    if unit in fitting:
        return
    low, high = (100 * metres for metres in EYES_M)
    advice = f"say units={' or '.join(fitting)} if that is the scan's unit" if fitting else "say its units"
    raise UnclearUnits(
        f"expected outer eye corners {low:g} to {high:g} cm apart, as those of people, got "
        f"{describe_size(eye_distance(face.landmarks))} {suggested}; {advice}"
    )
