"""From a scan as its file has it to what the search for a face takes, and from what that finds to an answer in the scan's frame and unit.

Nothing here knows of requests: `chiron landmarks` does the same with files.

    question = prepare(read_scan(data, ".ply"), "auto")
    face = find(question.points, meta.task, run)
    require_face(question, face)
    json_bytes(document(question, face, meta))
"""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from jaxtyping import Float, Int

from models.contract.bundle import BundleMeta
from models.contract.clip import UNITS, to_metres
from models.contract.cloud import Scan, TooBig, centre, interpolate, interpolation
from models.contract.levels import MESH_POINTS, Face
from models.contract.sampling import sample_surface, thinned
from models.contract.skeleton import FACE68, FACE_REGIONS
from models.contract.task import FaceLandmarks
from service.schemas import Heatmaps, Unit, expected_error

MOST_POINTS = 50_000  # of a cloud that are looked at: farthest points and neighbours of so many take 30 ms of a core
TYPICAL_M = (0.03, 0.25)  # of a face's typical radius: 0.05 if it is cropped tightly, 0.08 with ears, 0.17 as a bust
NO_FACE = (
    0.1  # mean confidence below which a scan is called none: simulated faces have 0.4 and more, balls and boxes 0.01
)
MOST_FULL = 300_000  # points at which heatmaps are interpolated: 68 float32 each, 82 MB
CHUNK = 8192  # of those at a time
ROUND_M, ROUND_HEAT = 1e-9, 6  # a nanometre, and decimals of a heatmap, in JSON

COLOURS = {
    "jaw": (153, 153, 153),
    "right_brow": (166, 86, 40),
    "left_brow": (255, 127, 0),
    "nose_bridge": (228, 26, 28),
    "nose_base": (247, 129, 191),
    "right_eye": (55, 126, 184),
    "left_eye": (77, 175, 74),
    "outer_lip": (152, 78, 163),
    "inner_lip": (255, 217, 47),
}


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


def everywhere(question: Question, face: Face) -> Float[np.ndarray, "landmarks uploaded"]:
    """The heatmaps at every point of the file, interpolated from the three nearest sampled ones."""
    assert question.vertices is not None, "prepare() was not told to keep them"
    known, values = question.points[face.sampled], face.heatmaps.T
    full = np.empty((len(face.heatmaps), len(question.vertices)), np.float32)
    for start in range(0, len(question.vertices), CHUNK):
        some = question.vertices[start : start + CHUNK]
        full[:, start : start + CHUNK] = interpolate(values, *interpolation(known, some)).T
    return full


def document(question: Question, face: Face, meta: BundleMeta, heatmaps: Heatmaps = "none") -> dict[str, Any]:
    """The answer as FaceAnswer has it; arrays are numpy's. Full heatmaps are for `npz_bytes` only."""
    task = task_of(meta)
    within, decimals = task.confident_m / to_metres(question.unit), _decimals(question)
    positions = np.round(landmarks_of(question, face), decimals)
    answer: dict[str, Any] = {
        "model": {"name": meta.name, "version": meta.version},
        "units": question.unit,
        "units_inferred": question.inferred,
        "points": question.uploaded,
        "triangles": question.triangles,
        "sampled": len(face.sampled),
        "looks": face.looks,
        "landmarks": [
            {"index": index, "name": name, "position": position, "confidence": confidence}
            for index, (name, position, confidence) in enumerate(
                zip(FACE68.joints, positions, face.confidence, strict=True)
            )
        ],
        "regions": {region: list(landmarks) for region, landmarks in FACE_REGIONS.items()},
        "confidence": {
            "within": round(within, decimals),
            "meaning": f"the probability that a landmark is within {within:g} {question.unit} of the true one",
        },
        "expected_error": expected_error(meta),
    }
    if heatmaps != "none":
        answer["heatmaps"] = {
            "points": np.round(sampled_of(question, face), decimals),
            "indices": None if question.indices is None else question.indices[face.sampled],
            "values": np.round(face.heatmaps, ROUND_HEAT),
        }
    return answer


def json_bytes(answer: dict[str, Any]) -> bytes:
    """The document as JSON."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def npz_bytes(question: Question, face: Face, meta: BundleMeta, heatmaps: Heatmaps = "none") -> bytes:
    """The answer as arrays, none of them rounded.

    Always landmarks (68, 3) float64, confidence, names, model, version, units; with heatmaps also sampled_points
    (n, 3), sampled_indices (n), unless they were drawn on a mesh, and heatmaps (68, n); full_heatmaps (68, points) last.
    """
    arrays: dict[str, np.ndarray] = {
        "landmarks": landmarks_of(question, face),
        "confidence": face.confidence,
        "names": np.array(FACE68.joints),
        "model": np.array(meta.name),
        "version": np.array(meta.version),
        "units": np.array(question.unit),
    }
    if heatmaps != "none":
        arrays |= {"sampled_points": sampled_of(question, face), "heatmaps": face.heatmaps}
        if question.indices is not None:
            arrays["sampled_indices"] = question.indices[face.sampled]
    if heatmaps == "full":
        arrays["full_heatmaps"] = everywhere(question, face)
    np.savez(buffer := io.BytesIO(), **arrays)  # pyright: ignore[reportArgumentType] - numpy's stub takes allow_pickle there
    return buffer.getvalue()


def ply_bytes(question: Question, face: Face, meta: BundleMeta) -> bytes:
    """The landmarks as a text .ply for MeshLab and its like: coloured by region, with edges along the regions."""
    within = task_of(meta).confident_m / to_metres(question.unit)
    colours = {index: COLOURS[region] for region, indices in FACE_REGIONS.items() for index in indices}
    rows = [
        f"{x!r} {y!r} {z!r} {' '.join(map(str, colours[index]))} {index} {confidence:.6g} {confidence:.6g}"
        for index, ((x, y, z), confidence) in enumerate(
            zip(landmarks_of(question, face).tolist(), face.confidence.tolist(), strict=True)
        )
    ]
    header = [
        "ply",
        "format ascii 1.0",
        f"comment {meta.name} {meta.version}",
        f"comment lengths in {question.unit}",
        f"comment confidence: the probability that a landmark is within {within:g} {question.unit} of the true one",
        *(f"comment {index} {name}" for index, name in enumerate(FACE68.joints)),
        f"element vertex {len(rows)}",
        *(f"property double {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        "property int index",
        "property float confidence",
        "property float quality",  # the same, by the name under which MeshLab reads it
        f"element edge {len(FACE68.bones)}",
        "property int vertex1",
        "property int vertex2",
        "end_header",
    ]
    return "\n".join([*header, *rows, *(f"{a} {b}" for a, b in FACE68.bones), ""]).encode()


def cloud_ply(points: Float[np.ndarray, "points 3"], comment: str) -> bytes:
    """Points as a text .ply."""
    header = ["ply", "format ascii 1.0", f"comment {comment}", f"element vertex {len(points)}"]
    header += [*(f"property double {axis}" for axis in "xyz"), "end_header"]
    return "\n".join([*header, *(f"{x} {y} {z}" for x, y, z in points), ""]).encode()


def task_of(meta: BundleMeta) -> FaceLandmarks:
    """The task of a model for faces."""
    assert isinstance(meta.task, FaceLandmarks), f"{meta.name} finds no landmarks"
    return meta.task


def _decimals(question: Question) -> int:
    """To round to ROUND_M in the scan's unit."""
    return round(-np.log10(ROUND_M / to_metres(question.unit)))
