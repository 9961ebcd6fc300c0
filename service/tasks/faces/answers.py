"""A found face to an answer: JSON, .npz, .csv, or a form of another program (meshes, slicer)."""

import csv
import io
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.bundle import Bundle, BundleMeta
from models.scans.cloud import interpolate, interpolation
from models.scans.head import distances
from models.scans.looks import FaceTask, shown
from models.skeletons.face import FACE68, FACE_REGIONS
from models.skeletons.units import to_metres
from service.http.negotiation import JSON, NPZ
from service.tasks.arrays import json_bytes, npz_bytes
from service.tasks.endpoint import Encoded
from service.tasks.faces.meshes import aligned, cloud_ply, obj, ply
from service.tasks.faces.prepare import FoundFace
from service.tasks.faces.slicer import fcsv, markups
from service.tasks.faces.upload import CSV, FCSV, MRK, OBJ, PLY
from service.tasks.fields import with_model

ROUND_M, ROUND_HEAT, ROUND_AXES = 1e-9, 6, 9  # a nanometre, and decimals of a heatmap and of a pose's axes, in JSON
CHUNK = 8192  # points at which heatmaps are interpolated at a time


def encode(result: FoundFace, model: BundleMeta, media: str) -> Encoded:
    """Return the answer in the form of a media type; headers carry the model and the unit where the body has no fields."""
    if media == JSON:
        return Encoded(json_bytes(document(result, model)), {})
    name, write = ("aligned.ply", aligned) if result.scan.options.aligned else WRITERS[media]
    headers = {
        "x-chiron-model": model.name,
        "x-chiron-model-version": model.version,
        "x-chiron-units": result.scan.unit,
        "content-disposition": f'attachment; filename="{name}"',
    }
    if warnings := result.warnings:
        headers["x-chiron-warnings"] = "; ".join(warnings)
    return Encoded(write(result, model), headers)


def document(result: FoundFace, model: BundleMeta) -> dict[str, Any]:
    """Return the answer as FaceAnswer has it; its arrays are numpy's. Heatmaps at every point are for `npz` only."""
    scan, face = result.scan, result.face
    within, decimals = result.within, round(-np.log10(ROUND_M / to_metres(scan.unit)))
    positions = np.round(result.landmarks, decimals)
    landmarks = zip(FACE68.joints, positions, face.confidence, result.seen, strict=True)
    answer: dict[str, Any] = {
        "units": scan.unit,
        "units_inferred": scan.options.units == "auto",
        "points": scan.vertices,
        "dropped": scan.dropped,
        "triangles": scan.triangles,
        "sampled": len(face.sampled),
        "looks": face.looks,
        "landmarks": [
            {"index": index, "name": name, "position": position, "confidence": confidence, "seen": bool(seen)}
            for index, (name, position, confidence, seen) in enumerate(landmarks)
        ],
        "regions": {region: list(indices) for region, indices in FACE_REGIONS.items()},
        "confidence": {"within": round(within, decimals), "meaning": result.meaning},
        "pose": _rounded_pose(result, decimals),
        "distances": {
            name: {"value": round(distance.value, decimals), "uncertainty": round(distance.uncertainty, decimals)}
            for name, distance in distances(result.landmarks, face.confidence, within).items()
        },
        "warnings": result.warnings,
    }
    if scan.options.heatmaps != "none":
        answer["heatmaps"] = {
            "points": np.round(result.samples, decimals),
            "indices": None if scan.indices is None else scan.indices[face.sampled],
            "values": np.round(face.heatmaps, ROUND_HEAT),
        }
    return with_model(answer, model)


def npz(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the answer as arrays, none of them rounded.

    They are landmarks (68, 3) float64, confidence, seen, names, pose (4, 4), distances, their names and uncertainties, warnings, model,
    version and units. With heatmaps they are also sampled_points (n, 3), heatmaps (68, n), and sampled_indices (n) unless the points
    were drawn on a mesh; with heatmaps at every point also full_heatmaps (68, points).
    """
    scan, face = result.scan, result.face
    measured = distances(result.landmarks, face.confidence, result.within)
    arrays: dict[str, Any] = {
        "landmarks": result.landmarks,
        "confidence": face.confidence,
        "seen": result.seen,
        "names": FACE68.joints,
        "pose": result.pose,
        "distances": np.array([distance.value for distance in measured.values()]),
        "distance_uncertainties": np.array([distance.uncertainty for distance in measured.values()]),
        "distance_names": list(measured),
        "warnings": np.array(result.warnings, dtype=np.str_),
        "model": model.name,
        "version": model.version,
        "units": scan.unit,
    }
    if scan.options.heatmaps != "none":
        arrays |= {"sampled_points": result.samples, "heatmaps": face.heatmaps}
        if scan.indices is not None:
            arrays["sampled_indices"] = scan.indices[face.sampled]
    if scan.options.heatmaps == "full":
        arrays["full_heatmaps"] = heatmaps_everywhere(result)
    return npz_bytes(arrays)


def heatmaps_everywhere(result: FoundFace) -> Float[np.ndarray, "landmarks vertices"]:
    """Return the heatmaps at every point of the file, from the three nearest sampled points; NaN at one that was dropped."""
    assert result.scan.whole is not None, "the whole scan is kept where heatmaps at every point are wanted"
    vertices = result.scan.whole.points
    known, values = result.scan.points[result.face.sampled], result.face.heatmaps.T
    full = np.empty((values.shape[1], len(vertices)), np.float32)
    for start in range(0, len(vertices), CHUNK):
        chunk = vertices[start : start + CHUNK]
        full[:, start : start + CHUNK] = interpolate(values, *interpolation(known, chunk)).T
    if (kept := result.scan.whole.kept) is None:
        return full
    everywhere = np.full((len(full), len(kept)), np.nan, np.float32)
    everywhere[:, kept] = full
    return everywhere


def table(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the landmarks as .csv, one line each, in the scan's frame and unit."""
    writer = csv.writer(text := io.StringIO(), lineterminator="\n")
    writer.writerow(("index", "name", "x", "y", "z", "confidence", "seen"))
    rows = zip(
        FACE68.joints, result.landmarks.tolist(), result.face.confidence.tolist(), result.seen.tolist(), strict=True
    )
    for index, (name, position, confidence, seen) in enumerate(rows):
        writer.writerow((index, name, *position, f"{confidence:.6g}", int(seen)))
    return text.getvalue().encode()


def scan_of_bundle(bundle: Bundle) -> bytes:
    """Return the bundle's example scan as a request body: the points that the network saw, in metres."""
    task = bundle.meta.task
    assert isinstance(task, FaceTask), f"{bundle.meta.name} finds no landmarks"
    return cloud_ply(shown(bundle.example()[0], task), f"the example of {bundle.meta.name}, in m")


WRITERS = {
    NPZ: ("landmarks.npz", npz),
    CSV: ("landmarks.csv", table),
    PLY: ("landmarks.ply", ply),
    OBJ: ("landmarks.obj", obj),
    MRK: ("landmarks.mrk.json", markups),
    FCSV: ("landmarks.fcsv", fcsv),
}


def _rounded_pose(result: FoundFace, decimals: int) -> Float[np.ndarray, "4 4"]:
    """Return the head's pose with its origin rounded as landmarks are."""
    pose = result.pose
    pose[:3, :3], pose[:3, 3] = np.round(pose[:3, :3], ROUND_AXES), np.round(pose[:3, 3], decimals)
    return pose
