"""Measure a trained landmark network on simulated and on real scans in random poses: errors, tables, figures for a bundle."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Measurement
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.layers.degrees import frozen
from models.scans.levels import MESH_POINTS, Face, find
from models.scans.sampling import sample_surface
from training.engine.export import runner
from training.tasks.faces.confidence import calibration_error
from training.tasks.faces.data import SCANNERS, Scan, scans_of
from training.tasks.faces.ict import read_model
from training.tasks.faces.metrics import LandmarkScores, distances_mm, scores
from training.tasks.faces.real_faces import real_faces

SIMULATED = 200  # test scans of each kind
POSES = 5  # of each real scan
SHIFT_M = 10.0

Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Subject:
    """A scan with what is known of its landmarks (NaN where nothing is), in metres."""

    source: str
    name: str
    points: Float[np.ndarray, "points 3"]
    true: Float[np.ndarray, "68 3"]


@dataclass(frozen=True)
class Found:
    """A subject's scan as it was given to the network, turned and moved, and what the network found on it."""

    name: str
    points: Float[np.ndarray, "points 3"]
    true: Float[np.ndarray, "68 3"]
    found: Face


@dataclass(frozen=True)
class Row:
    """One source."""

    source: str
    people: int
    scores: LandmarkScores
    calibration_error: float  # of the confidence


def subjects(folder: Path, split: Split, task: FaceLandmarks) -> list[Subject]:
    """Simulated scans of the split, clean and varied, and, since nobody trains on them, of the test split the real ones.

    `folder` has ict_facekit, facefuns_composites and raw_scans.
    """
    model = read_model(folder)
    count = SIMULATED if split == "test" else SIMULATED // 2
    kinds = {kind: scanned(scans_of(model, split, kind, count, task), f"ict, {kind}") for kind in SCANNERS}
    return [*kinds["clean"], *kinds["varied"], *(real_subjects(folder) if split == "test" else [])]


def real_subjects(folder: Path, seed: int = 0) -> list[Subject]:
    """Real scans, each turned to POSES random poses, so that a network that minds is seen to."""
    rng = np.random.default_rng(seed)
    found = []
    for face in real_faces(folder):
        points = sample_surface(face.points, face.triangles, MESH_POINTS)
        for _ in range(POSES):
            turn = random_rotation(rng).T
            found.append(Subject(face.source, face.name, points @ turn, face.known @ turn))
    return found


def scanned(scans: Iterable[Scan], source: str) -> list[Subject]:
    """The same of scans from elsewhere."""
    return [Subject(source, f"{source} {number}", scan.points, scan.landmarks) for number, scan in enumerate(scans)]


def evaluate(
    network: nn.Module, task: FaceLandmarks, everyone: Iterable[Subject]
) -> tuple[list[Row], dict[str, list[Found]]]:
    """The network on every subject, each moved by up to SHIFT_M; rows and what was found, by source."""
    run = runner(frozen(network).cpu(), task)
    rng = np.random.default_rng(1)
    found: dict[str, list[Found]] = {}
    for subject in everyone:
        shift = rng.uniform(-SHIFT_M, SHIFT_M, 3)
        points, true = subject.points + shift, subject.true + shift
        found.setdefault(subject.source, []).append(Found(subject.name, points, true, find(points, task, run)))
    return [row(source, faces, task) for source, faces in found.items()], found


def row(source: str, faces: list[Found], task: FaceLandmarks) -> Row:
    landmarks, true = np.stack([f.found.landmarks for f in faces]), np.stack([f.true for f in faces])
    apart = distances_mm(landmarks, true)
    known = np.isfinite(apart)
    confidence = np.stack([f.found.confidence for f in faces]).astype(float)
    off = calibration_error(confidence[known], apart[known] <= 1000 * task.confident_m)
    return Row(source, len({f.name for f in faces}), scores(landmarks, true), off)


def middling(faces: list[Found]) -> Found:
    """The face whose mean error is the median one."""
    errors = [float(np.nanmean(distances_mm(f.found.landmarks[None], f.true[None]))) for f in faces]
    return faces[int(np.argsort(errors)[len(errors) // 2])]


def write(rows: list[Row], path: Path) -> None:
    path.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")


def read(path: Path) -> list[Row]:
    return [Row(**{**r, "scores": LandmarkScores(**r["scores"])}) for r in json.loads(path.read_text())]


def measurements(rows: list[Row]) -> tuple[Measurement, ...]:
    """What a bundle says: mean error of all landmarks and of 27-67 in mm, and swaps in percent."""
    figures = [
        (r, metric, value, unit)
        for r in rows
        for metric, value, unit in (
            ("mean error, 68 landmarks", r.scores.mean_mm, "mm"),
            ("mean error, landmarks 27-67", r.scores.inner_mm, "mm"),
            ("left and right swapped", 100 * r.scores.swapped, "%"),
        )
    ]
    return tuple(
        Measurement(
            metric=metric, value=round(value, 2), unit=unit, split="test", source=r.source, windows=r.scores.faces,
            recordings=r.people,
        )
        for r, metric, value, unit in figures
    )  # fmt: skip


def table(reports: Mapping[str, list[Row]]) -> str:
    """In Markdown, a line a source and network."""
    lines = [
        "| scans | people | network | mean, mm | median | 27-67 | of interocular | within 2 mm | 3 mm | 5 mm | swapped | confidence off |",
        "|---" * 12 + "|",
    ]
    for index, first in enumerate(next(iter(reports.values()))):
        for name, rows in reports.items():
            s = rows[index].scores
            within = " | ".join(f"{100 * rate:.0f} %" for rate in s.success.values())
            lines.append(
                f"| {first.source} | {first.people} | {name} | {s.mean_mm:.2f} | {s.median_mm:.2f} | {s.inner_mm:.2f} | "
                f"{100 * s.interocular:.1f} % | {within} | {100 * s.swapped:.2f} % | {100 * rows[index].calibration_error:.0f} % |"
            )
    return "\n".join(lines)
