"""Scans of one's own: a folder of scans with their landmarks beside them, and a dataset.json.

    {"kind": "faces", "name": "clinic", "licence": "CC0-1.0", "attribution": "our clinic", "units": "mm",
     "splits": {"seed": 0, "validation": 0.2, "test": 0.2}}

A scan has any format that the service reads; `anna.ply` has its landmarks in `anna.csv` or `anna.mrk.json`. Scans in one subfolder are of
one person, others each of another, and splits are drawn by person.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.contract import gzipped
from models.contract.bundle import TrainingSource
from models.scans.cloud import Scan as ScanFile
from models.scans.cloud import TooBig
from models.scans.files import MAX_BYTES, formats, read_scan
from models.scans.sampling import sample_with_normals, thinned
from models.skeletons.units import to_metres
from training.data.declaration import FACES, FILE, Declared, Drawn, read_declared
from training.data.licences import Source
from training.data.reading import MalformedData
from training.data.splits import Split
from training.tasks.faces.own.landmarks import SUFFIXES, read_landmarks

NO_SCANS = (".csv", ".txt")  # landmarks, and notes: clouds in tables have another suffix, such as .xyz
MAX_SCANS = 100_000
KEPT = 32_768  # points of a scan in memory: four times those that a training sees of it at once


class Declaration(Declared):
    """The content of dataset.json; `units` are those of scans and landmarks."""

    kind: Literal["faces"] = FACES


@dataclass(frozen=True)
class ScanSet(Source):
    """A set of scans of one's own: what dataset.json declares of it, and the digest of scans and landmarks."""

    sha256: str

    def trained_on(self, recordings: int) -> TrainingSource:
        """Return the entry for a bundle, with the digest."""
        return super().trained_on(recordings).model_copy(update={"sha256": self.sha256})


@dataclass(frozen=True)
class ScanOf:
    """The files of a scan: itself, its suffix, and its landmarks; `name` is its path in the folder, and `person` whom it shows."""

    name: str
    person: str
    path: Path
    suffix: str
    landmarks: Path


@dataclass(frozen=True)
class OwnScan:
    """A scan and its landmarks in metres, float64; `normals` are those of a mesh at the points."""

    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]
    normals: Float[np.ndarray, "points 3"] | None


def read_set(folder: Path) -> ScanSet:
    """Return the set in a folder. Raises MalformedData."""
    declared, total = read_declared(folder, Declaration), hashlib.sha256()
    total.update(declared.deciding.encode())
    found, faults = scans_in(folder)
    if faults:
        raise MalformedData("; ".join(faults[:3]))
    for scan in found:
        for path in (scan.path, scan.landmarks):
            total.update(f"\n{_name(path, folder)}:{digest(path)}".encode())
    return ScanSet(declared.name, declared.licence, declared.attribution, total.hexdigest())


def scans_in(folder: Path) -> tuple[list[ScanOf], list[str]]:
    """Return the scans of a set by name, and what is wrong with the names of its files. Raises MalformedData for no or too many scans."""
    scans: dict[Path, list[tuple[Path, str]]] = {}
    landmarks: dict[Path, list[Path]] = {}
    known = [suffix for suffix in formats() if suffix not in NO_SCANS]
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path == folder / FILE:
            continue
        if mark := next((end for end in SUFFIXES if path.name.lower().endswith(end)), None):
            landmarks.setdefault(path.with_name(path.name[: -len(mark)]), []).append(path)
        elif suffix := _scan_suffix(path, known):
            scans.setdefault(path.with_name(path.name[: -len(suffix)]), []).append((path, suffix))
    if not 0 < len(scans) <= MAX_SCANS:
        raise MalformedData(
            f"{folder}: expected 1 to {MAX_SCANS:,} scans ({', '.join(known)}) beside {FILE}, got {len(scans)}"
        )
    found, faults = [], []
    for stem, files in scans.items():
        (path, suffix), marks, name = files[0], landmarks.pop(stem, []), _name(stem, folder)
        if len(files) > 1:
            faults.append(f"{name}: expected one scan of this name, got {', '.join(one.name for one, _ in files)}")
        elif len(marks) != 1:
            got = ", ".join(one.name for one in marks) or "neither"
            faults.append(
                f"{_name(path, folder)}: expected {stem.name}.csv or {stem.name}.mrk.json beside it, got {got}"
            )
        else:
            person = _name(path.parent, folder) if path.parent != folder else path.name
            found.append(ScanOf(_name(path, folder), person, path, suffix, marks[0]))
    left = [_name(path, folder) for paths in landmarks.values() for path in paths]
    faults += [f"{name}: expected a scan beside the landmarks, got none" for name in left]
    return found, faults


def splits_of(declared: Declaration, scans: list[ScanOf]) -> dict[str, Split]:
    """Return the split of each scan by name: as given, or drawn by person. Raises ValueError."""
    if not isinstance(declared.splits, Drawn):
        return declared.splits.splits([scan.name for scan in scans])
    of = declared.splits.splits(list(dict.fromkeys(scan.person for scan in scans)))
    return {scan.name: of[scan.person] for scan in scans}


def read_own(scan: ScanOf, units: str) -> OwnScan:
    """Read a scan and its landmarks: points on a mesh, or of a cloud, at most KEPT. Raises BadCloud, MalformedLandmarks, OSError."""
    if (size := scan.path.stat().st_size) > MAX_BYTES:
        raise TooBig(f"expected a file of at most {MAX_BYTES:,} bytes, got {size:,}")
    factor, content = to_metres(units), read_scan(scan.path.read_bytes(), scan.suffix)
    points, normals = _points(content)
    return OwnScan(points * factor, read_landmarks(scan.landmarks) * factor, normals)


def _points(content: ScanFile) -> tuple[np.ndarray, np.ndarray | None]:
    if content.triangles is None:
        return content.points[thinned(len(content.points), KEPT)].astype(np.float64), None
    return sample_with_normals(content.points, content.triangles, KEPT)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _scan_suffix(path: Path, known: list[str]) -> str | None:
    """Return the suffix of a scan's file, with .gz where it is compressed; None for other files."""
    name = path.name.lower()
    zipped = gzipped.SUFFIX if name.endswith(gzipped.SUFFIX) else ""
    suffix = Path(name.removesuffix(gzipped.SUFFIX)).suffix
    return suffix + zipped if suffix in known else None


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
