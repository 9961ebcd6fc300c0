"""Nine real face scans to measure on, never to train on: facefuns composites, humface and Lee Perry-Smith, in millimetres.

    <folder>/facefuns_composites/facefuns_faces.npz    vertices (7, n, 3), triangles, names, landmarks68_fitted, landmarks68_valid
    <folder>/raw_scans/<name>.ply                      humface and lee_perry_smith
    <folder>/raw_scans/<name>_landmarks68_fitted.csv   ibug, x, y, z, valid: from a face model fitted to the scan, accurate to 2 to 4 mm
    <folder>/raw_scans/<name>_landmarks7_manual.csv    ibug, x, y, z: placed by hand, for humface only

Other devices made them than the scans behind the face model that trains the networks. They have ragged borders, holes and shut eyes. The
scale of lee_perry_smith is a guess, so its errors are accurate to a few per cent only.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from models.scans.files import read_scan
from models.skeletons.face import FACE68
from models.skeletons.units import to_metres
from training.data.untrusted import load_arrays

COMPOSITES, SCANS = "facefuns", ("humface", "lee_perry_smith")
KEYS = ("vertices", "triangles", "names", "landmarks68_fitted", "landmarks68_valid")


class MalformedFace(ValueError):
    """A file that does not have the format above; the message says what was expected and what was found."""


@dataclass(frozen=True)
class RealFace:
    """A mesh in the axes of its file, which are roughly +z ahead and +y up, in metres, float64."""

    source: str
    name: str
    points: Float[np.ndarray, "points 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    landmarks: Float[np.ndarray, "68 3"]  # fitted
    valid: Bool[np.ndarray, "68"]  # whether the fitted landmark is on the scan
    manual: Float[np.ndarray, "68 3"] | None  # placed by hand, NaN for the others

    @property
    def known(self) -> Float[np.ndarray, "68 3"]:
        """Return the true landmarks, NaN for unknown ones: those placed by hand if there are any, else the valid fitted ones."""
        return self.manual if self.manual is not None else np.where(self.valid[:, None], self.landmarks, np.nan)


def real_faces(folder: Path) -> list[RealFace]:
    """Read all nine scans. Raises FileNotFoundError, MalformedFace, BadCloud."""
    return [
        *_composites(folder / "facefuns_composites" / "facefuns_faces.npz"),
        *(_scan(folder, name) for name in SCANS),
    ]


def _composites(path: Path) -> list[RealFace]:
    arrays = load_arrays(path)
    if missing := [key for key in KEYS if key not in arrays]:
        raise MalformedFace(f"{path}: expected the arrays {', '.join(KEYS)}; missing: {', '.join(missing)}")
    vertices, triangles, names, index, valid = (arrays[key] for key in KEYS)
    count = len(FACE68.joints)
    if vertices.shape != (len(names), vertices.shape[1], 3) or index.shape != (count,) or valid.shape != (count,):
        raise MalformedFace(
            f"{path}: expected vertices (faces, n, 3), names (faces,) and {count} landmarks and flags, "
            f"got {vertices.shape}, {names.shape}, {index.shape} and {valid.shape}"
        )
    points = vertices.astype(np.float64) * to_metres("mm")
    return [
        RealFace(COMPOSITES, str(name), face, triangles.astype(np.int64), face[index], valid, None)
        for name, face in zip(names, points, strict=True)
    ]


def _scan(folder: Path, name: str) -> RealFace:
    base = folder / "raw_scans" / name
    scan = read_scan(base.with_suffix(".ply").read_bytes(), ".ply")
    if scan.triangles is None:
        raise MalformedFace(f"{base}.ply: expected triangles, got points only")
    landmarks, valid = _table(base.with_name(f"{name}_landmarks68_fitted.csv"))
    by_hand = base.with_name(f"{name}_landmarks7_manual.csv")
    manual = _table(by_hand)[0] if by_hand.is_file() else None
    return RealFace(name, name, scan.points * to_metres("mm"), scan.triangles, landmarks, valid, manual)


def _table(path: Path) -> tuple[Float[np.ndarray, "68 3"], Bool[np.ndarray, "68"]]:
    """Read landmarks in metres, NaN for those that the table lacks; without a column `valid`, those in the table are valid."""
    landmarks, valid = np.full((len(FACE68.joints), 3), np.nan), np.zeros(len(FACE68.joints), dtype=bool)
    with path.open(newline="", encoding="utf-8") as text:
        rows = csv.DictReader(text)
        for row in rows:
            try:
                index = range(len(landmarks)).index(int(row["ibug"]))
                landmarks[index] = [float(row[axis]) for axis in "xyz"]
                valid[index] = row.get("valid", "1") == "1"
            except (KeyError, TypeError, ValueError) as error:
                raise MalformedFace(
                    f"{path}, line {rows.line_num}: expected ibug from 0 to {len(landmarks) - 1}, x, y, z, got {row}"
                ) from error
    return landmarks * to_metres("mm"), valid
