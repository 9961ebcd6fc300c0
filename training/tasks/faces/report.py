"""The report of a landmark network on simulated and real scans in random poses: errors, tables and a bundle's measurements."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Measurement
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.layers.freezing import frozen
from models.scans.levels import MESH_POINTS, Face, find
from models.scans.sampling import sample_surface
from training.engine.benchmark import markdown
from training.engine.export import runner
from training.engine.study import MeasuredSplit
from training.tasks.faces.confidence import calibration_error
from training.tasks.faces.data import SCANNERS, Scan, scans_of
from training.tasks.faces.ict import read_model
from training.tasks.faces.metrics import LandmarkScores, distances_mm, scores
from training.tasks.faces.real_faces import real_faces

SIMULATED = 200  # test scans of each kind
POSES = 5  # of each real scan
SHIFT_M = 10.0


@dataclass(frozen=True)
class Subject:
    """A scan with its true landmarks, NaN for unknown ones, in metres."""

    source: str
    name: str
    points: Float[np.ndarray, "points 3"]
    true: Float[np.ndarray, "68 3"]


@dataclass(frozen=True)
class FoundFace:
    """A subject's scan as the network received it, turned and moved, with the true landmarks and those the network found."""

    name: str
    points: Float[np.ndarray, "points 3"]
    true: Float[np.ndarray, "68 3"]
    found: Face


@dataclass(frozen=True)
class Row:
    """The scores of one source."""

    source: str
    people: int
    scores: LandmarkScores
    calibration_error: float  # of the confidence


@dataclass(frozen=True)
class Report:
    """The rows of a split by source; `overlaps` are the heatmaps' IoU by tier of alignment, which the benchmark alone measures."""

    rows: list[Row]
    overlaps: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Return the report that `write` has written."""
        content = json.loads(path.read_text())
        rows = [Row(**{**row, "scores": LandmarkScores(**row["scores"])}) for row in content["rows"]]
        return cls(rows, content["overlaps"])

    def measurements(self) -> tuple[Measurement, ...]:
        """Return a bundle's measurements: mean error of all landmarks and of 27-67 in mm, and swaps in per cent."""
        figures = [
            (row, metric, value, unit)
            for row in self.rows
            for metric, value, unit in (
                ("mean error, 68 landmarks", row.scores.mean_mm, "mm"),
                ("mean error, landmarks 27-67", row.scores.inner_mm, "mm"),
                ("left and right swapped", 100 * row.scores.swapped, "%"),
            )
        ]
        return tuple(
            Measurement(
                metric=metric, value=round(value, 2), unit=unit, split="test", source=row.source,
                windows=row.scores.faces, recordings=row.people,
            )
            for row, metric, value, unit in figures
        )  # fmt: skip


def subjects(folder: Path, split: MeasuredSplit, task: FaceLandmarks) -> list[Subject]:
    """Return simulated scans of the split, clean and varied; the test split has the real scans too, since no network is trained on them.

    `folder` has ict_facekit, facefuns_composites and raw_scans.
    """
    model = read_model(folder)
    count = SIMULATED if split == "test" else SIMULATED // 2
    kinds = {kind: scanned(scans_of(model, split, kind, count, task), f"ict, {kind}") for kind in SCANNERS}
    return [*kinds["clean"], *kinds["varied"], *(real_subjects(folder) if split == "test" else [])]


def real_subjects(folder: Path, seed: int = 0) -> list[Subject]:
    """Return the real scans, each in POSES random poses, so that a network that depends on the pose shows larger errors."""
    rng = np.random.default_rng(seed)
    turned = []
    for face in real_faces(folder):
        points = sample_surface(face.points, face.triangles, MESH_POINTS)
        for _ in range(POSES):
            turn = random_rotation(rng).T
            turned.append(Subject(face.source, face.name, points @ turn, face.known @ turn))
    return turned


def scanned(scans: Iterable[Scan], source: str) -> list[Subject]:
    """Return scans as subjects of `source`, named by number."""
    return [Subject(source, f"{source} {number}", scan.points, scan.landmarks) for number, scan in enumerate(scans)]


def evaluate(
    network: nn.Module, task: FaceLandmarks, subjects: Iterable[Subject]
) -> tuple[Report, dict[str, list[FoundFace]]]:
    """Find the landmarks of every subject, each moved by up to SHIFT_M along each axis. Returns the report and the faces, by source."""
    run = runner(frozen(network).cpu(), task)
    rng = np.random.default_rng(1)
    faces: dict[str, list[FoundFace]] = {}
    for subject in subjects:
        shift = rng.uniform(-SHIFT_M, SHIFT_M, 3)
        points, true = subject.points + shift, subject.true + shift
        faces.setdefault(subject.source, []).append(FoundFace(subject.name, points, true, find(points, task, run)))
    return Report([row(source, results, task) for source, results in faces.items()]), faces


def row(source: str, faces: list[FoundFace], task: FaceLandmarks) -> Row:
    """Score the faces of one source."""
    landmarks, true = np.stack([f.found.landmarks for f in faces]), np.stack([f.true for f in faces])
    distances = distances_mm(landmarks, true)
    known = np.isfinite(distances)
    confidence = np.stack([f.found.confidence for f in faces]).astype(float)
    error = calibration_error(confidence[known], distances[known] <= 1000 * task.confident_m)
    return Row(source, len({f.name for f in faces}), scores(landmarks, true), error)


def median_face(faces: list[FoundFace]) -> FoundFace:
    """Return the face whose mean error is the median one."""
    errors = [float(np.nanmean(distances_mm(f.found.landmarks[None], f.true[None]))) for f in faces]
    return faces[int(np.argsort(errors)[len(errors) // 2])]


def table(reports: Mapping[str, Report]) -> str:
    """Return a Markdown table of the reports, by network: a line for each source and network."""
    header = (
        *("scans", "people", "network", "mean, mm", "median", "27-67", "of interocular", "within 2 mm", "3 mm", "5 mm"),
        *("swapped", "confidence off"),
    )
    lines = []
    for index, first in enumerate(next(iter(reports.values())).rows):
        for name, report in reports.items():
            s = report.rows[index].scores
            lines.append((
                *(first.source, str(first.people), name),
                *(f"{s.mean_mm:.2f}", f"{s.median_mm:.2f}", f"{s.inner_mm:.2f}", f"{100 * s.interocular:.1f} %"),
                *(f"{100 * rate:.0f} %" for rate in s.success.values()),
                *(f"{100 * s.swapped:.2f} %", f"{100 * report.rows[index].calibration_error:.0f} %"),
            ))  # fmt: skip
    return markdown(header, lines)
