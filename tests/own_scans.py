"""Scans of one's own for tests: made-up faces of several people, as meshes and clouds, with their landmarks beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from faces import synthetic_face  # pyright: ignore[reportAttributeAccessIssue] - it takes another folder for the module
from scipy.spatial import Delaunay

from models.skeletons.face import FACE68

DECLARED = {
    "kind": "faces",
    "name": "clinic",
    "licence": "CC0-1.0",
    "attribution": "our clinic",
    "units": "mm",
    "splits": {"seed": 0, "validation": 0.2, "test": 0.2},
}


def face(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a scan and its 68 landmarks in millimetres, of another size for each seed."""
    points, landmarks = synthetic_face(1500)
    size = 1000 * np.random.default_rng(seed).uniform(0.95, 1.05)
    return size * points, size * landmarks


def as_mesh(points: np.ndarray) -> str:
    """Return points that face +z as a mesh in .obj."""
    triangles = Delaunay(points[:, :2]).simplices + 1
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points] + [f"f {a} {b} {c}" for a, b, c in triangles]
    return "\n".join(lines) + "\n"


def as_rows(points: np.ndarray, separator: str = ",") -> str:
    """Return points as lines of three numbers."""
    return "\n".join(separator.join(f"{x:.6f}" for x in point) for point in points) + "\n"


def as_markups(landmarks: np.ndarray, system: str = "LPS", labels: list[str] | None = None) -> str:
    """Return landmarks as Slicer writes them; `landmarks` are in the coordinate system that is named."""
    points = [
        {"id": str(i + 1), "label": label, "position": position, "positionStatus": "defined"}
        for i, (label, position) in enumerate(zip(labels or FACE68.joints, landmarks.tolist(), strict=True))
    ]
    return json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}]})


def write_scans(folder: Path, scans: int = 6, **declared: Any) -> Path:
    """Write a set of meshes and clouds, with landmarks in .csv and .mrk.json, and other fields of dataset.json as given."""
    folder.mkdir(parents=True)
    for number in range(scans):
        points, landmarks = face(number)
        if number % 2:
            (folder / f"p{number}.xyz").write_text(as_rows(points, " "))
            (folder / f"p{number}.mrk.json").write_text(as_markups(landmarks * [-1, -1, 1], "RAS"))
        else:
            (folder / f"p{number}.obj").write_text(as_mesh(points))
            (folder / f"p{number}.csv").write_text(as_rows(landmarks))
    (folder / "dataset.json").write_text(json.dumps({**DECLARED, **declared}))
    return folder
