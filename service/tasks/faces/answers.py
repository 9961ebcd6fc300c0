"""service.tasks.faces.answers."""

import io
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float

from models.contract.bundle import Bundle, BundleMeta
from models.contract.units import to_metres
from models.scans.cloud import (
    interpolate,
    interpolation,
)
from models.scans.levels import Face
from models.skeletons.face import FACE68, FACE_REGIONS
from service.inference.model import expected_error
from service.tasks.faces.prepare import CHUNK, ROUND_HEAT, ROUND_M, Question, landmarks_of, sampled_of, task_of
from service.tasks.faces.schemas import Heatmaps

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


def _decimals(question: Question) -> int:
    """To round to ROUND_M in the scan's unit."""
    return round(-np.log10(ROUND_M / to_metres(question.unit)))


def scan_of_bundle(bundle: Bundle) -> bytes:
    """The bundle's example scan as a body for POST /landmarks/face: the points that the network saw, in metres."""
    return cloud_ply(bundle.example()[0]["points"][0], f"the example of {bundle.meta.name}, in m")
