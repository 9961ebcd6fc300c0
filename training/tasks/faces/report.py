"""The report of a landmark network on simulated and real scans in random poses: errors, tables and a bundle's measurements."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.bundle import Measurement
from models.contract.symmetry import Tensors, random_rotation
from models.scans.levels import MESH_POINTS, Face
from models.scans.looks import FaceTask, find
from models.scans.sampling import sample_surface
from training.engine.benchmark import markdown
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
    calibration_error: float | None  # of the confidence; None for a method without one

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Row":
        """Return the row that `dataclasses.asdict` has turned into a dictionary."""
        return cls(**{**content, "scores": LandmarkScores(**content["scores"])})


@dataclass(frozen=True)
class Report:
    """The rows of a split by source; `overlaps` are the heatmaps' IoU, which the benchmark alone measures.

    They are by tier of alignment: a row for each of `metrics.THRESHOLDS`, a number for each landmark.
    """

    rows: list[Row]
    overlaps: dict[str, list[list[float]]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Return the report that `write` has written."""
        content = json.loads(path.read_text())
        return cls([Row.of(row) for row in content["rows"]], content["overlaps"])

    def measurements(self, baseline: str | None = None, floor: "Report | None" = None) -> tuple[Measurement, ...]:
        """Return a bundle's measurements, beside those of a `baseline` for the sources in the report `floor`.

        They are the mean error of all landmarks and of 27-67 in mm, and swaps in per cent.
        """
        floors = {row.source: figures(row.scores) for row in floor.rows} if floor else {}
        measured = []
        for row in self.rows:
            for (metric, unit), value in figures(row.scores).items():
                beside = floors.get(row.source, {}).get((metric, unit))
                measured.append(
                    Measurement(
                        metric=metric, value=value, unit=unit, split="test", source=row.source,
                        windows=row.scores.faces, recordings=row.people,
                        baseline=None if beside is None else baseline, baseline_value=beside,
                    )
                )  # fmt: skip
        return tuple(measured)


def figures(scores: LandmarkScores) -> dict[tuple[str, str], float]:
    """Return the figures of a card by metric and unit."""
    return {
        ("mean error, 68 landmarks", "mm"): round(scores.mean_mm, 2),
        ("mean error, landmarks 27-67", "mm"): round(scores.inner_mm, 2),
        ("left and right swapped", "%"): round(100 * scores.swapped, 2),
    }


def subjects(folder: Path, split: MeasuredSplit, task: FaceTask) -> list[Subject]:
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


def evaluate_function(
    run: Callable[[Tensors], Tensors], task: FaceTask, subjects: Iterable[Subject]
) -> tuple[Report, dict[str, list[FoundFace]]]:
    """Find the landmarks of every subject, each moved by up to SHIFT_M along each axis. Returns the report and the faces, by source."""
    rng = np.random.default_rng(1)
    faces: dict[str, list[FoundFace]] = {}
    for subject in subjects:
        shift = rng.uniform(-SHIFT_M, SHIFT_M, 3)
        points, true = subject.points + shift, subject.true + shift
        faces.setdefault(subject.source, []).append(FoundFace(subject.name, points, true, find(points, task, run)))
    return Report([row(source, results, task) for source, results in faces.items()]), faces


def row(source: str, faces: list[FoundFace], task: FaceTask) -> Row:
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
            s, off = report.rows[index].scores, report.rows[index].calibration_error
            lines.append((
                *(first.source, str(first.people), name),
                *(f"{s.mean_mm:.2f}", f"{s.median_mm:.2f}", f"{s.inner_mm:.2f}", f"{100 * s.interocular:.1f} %"),
                *(f"{100 * rate:.0f} %" for rate in s.success.values()),
                *(f"{100 * s.swapped:.2f} %", "-" if off is None else f"{100 * off:.0f} %"),
            ))  # fmt: skip
    return markdown(header, lines)
