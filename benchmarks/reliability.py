"""Reliability of the shipped face model's confidence: of the landmarks with a stated confidence, how many are right.

    OMP_NUM_THREADS=1 CHIRON_DATA=../shared/data python -m benchmarks.reliability [--others]

It prints, for each kind of scan, the mean confidence, the share of landmarks within 3 mm, the expected calibration error, and the share of
right landmarks in each bin of confidence. The scans are simulated test scans (clean and varied) and all real ones, searched as the service
searches them. A minute of a core.

`--others` prints another table instead, of half faces, whole heads, the clouds of two depth cameras and the reconstructions of a telephone,
all simulated, beside clean and varied scans: the same figures, and how well `seen` tells which landmarks have surface under them.
"""

import argparse
import itertools
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from models.contract.bundle import Bundle, read_bundle
from models.contract.task import FaceLandmarks
from models.scans.looks import find
from models.scans.plausible_faces import check_face
from models.scans.surface import seen
from models.skeletons.units import Implausible
from service.inference.predictor import Predictor
from training.engine.benchmark import markdown
from training.tasks.faces.confidence import as_served, calibration_error
from training.tasks.faces.data import KINDS, scans_of
from training.tasks.faces.ict import FaceModel, read_model
from training.tasks.faces.report import Subject, subjects

BUNDLE = Path(__file__).parents[1] / "bundles" / "face-se3unet"
SIZES = (1, 0.1, 0.3, 0.5, 1.4, 1.8, 2.54, 10)  # 1.8 and more: no person has such a face
OTHERS = 40  # scans of each kind
EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Reliability of the face model's confidence")
    parser.add_argument("--others", action="store_true", help="half faces, heads, depth cameras and telephones")
    arguments = parser.parse_args()
    bundle = read_bundle(BUNDLE)
    task = bundle.meta.task
    assert isinstance(task, FaceLandmarks)
    folder = Path(os.environ.get("CHIRON_DATA", "../shared/data")) / "faces"
    if arguments.others:
        print(others(bundle, task, read_model(folder)))
        return
    scans = subjects(folder, "test", task)
    print(reliability(bundle, task, scans))
    print(sizes(bundle, task, scans))


def reliability(bundle: Bundle, task: FaceLandmarks, scans: list[Subject]) -> str:
    """Return the table."""
    run = Predictor(bundle).run
    bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(EDGES)]
    rows = []
    for source in dict.fromkeys(scan.source for scan in scans):
        own = [scan for scan in scans if scan.source == source]
        odds, right = as_served(run, task, [(scan.points, scan.true) for scan in own])
        known = np.isfinite(right)
        confidence, correct = 1 / (1 + np.exp(-odds[known])), right[known] == 1
        cells = []
        for low, high in itertools.pairwise(EDGES):
            inside = (confidence >= low) & (confidence < high)
            cells.append(f"{100 * correct[inside].mean():.0f} % of {inside.sum()}" if inside.any() else "")
        least = (1 / (1 + np.exp(-odds))).mean(axis=1).min()
        error = calibration_error(confidence, correct)
        figures = (f"{confidence.mean():.3f}", f"{correct.mean():.3f}", f"{error:.3f}", f"{least:.2f}")
        rows.append((source, str(len(own)), str(known.sum()), *figures, *cells))
    header = (
        "scans",
        "looks",
        "landmarks",
        "mean confidence",
        "within 3 mm",
        "calibration error",
        "least mean of a scan",
    )
    return markdown((*header, *bins), rows)


def others(bundle: Bundle, task: FaceLandmarks, model: FaceModel) -> str:
    """Return the table of all kinds of simulated test scans, with what `seen` tells of their landmarks."""
    run = Predictor(bundle).run
    rows = []
    for kind in KINDS:
        confidence, distance, shown, there = [], [], [], []
        for one in scans_of(model, "test", kind, OTHERS, task):
            face = find(one.points, task, run)
            confidence.append(face.confidence.astype(float))
            distance.append(np.linalg.norm(face.landmarks - one.landmarks, axis=1))
            shown.append(seen(face.landmarks, one.points))
            there.append(seen(one.landmarks, one.points))
        promised, shown, there = np.concatenate(confidence), np.concatenate(shown), np.concatenate(there)
        off, right = 1000 * np.concatenate(distance), np.concatenate(distance) <= task.confident_m
        figures = (promised.mean(), right.mean(), calibration_error(promised, right), (shown == there).mean())
        cells = [f"{off.mean():.1f}", *(f"{figure:.3f}" for figure in figures)]
        for part in (shown, ~shown):
            cells += [
                f"{part.mean():.3f}",
                *((f"{off[part].mean():.1f}", f"{right[part].mean():.3f}") if part.any() else ("", "")),
            ]
        rows.append((kind, str(OTHERS), *cells))
    header = ("scans", "people", "mean, mm", "mean confidence", "within 3 mm", "calibration error", "seen is right")
    parts = (f"{name}{what}" for name in ("seen", "unseen") for what in ("", ", mm", ", within 3 mm"))
    return markdown((*header, *parts), rows)


def sizes(bundle: Bundle, task: FaceLandmarks, scans: list[Subject]) -> str:
    """Return a table of the mean confidence in scans that are too large or too small, where the landmarks have the size of a face."""
    run = Predictor(bundle).run
    some = [
        scan
        for source in dict.fromkeys(s.source for s in scans)
        for scan in [s for s in scans if s.source == source][:100:4]
    ]
    rows = []
    for size in SIZES:
        confidence = []
        for scan in some:
            points = scan.points * size
            face = find(points, task, run)
            with suppress(Implausible):
                check_face(face.landmarks, points[face.sampled], "m")
                confidence.append(float(face.confidence.mean()))
        least, most = (f"{min(confidence):.2f}", f"{max(confidence):.2f}") if confidence else ("", "")
        rows.append((f"{size:g}", str(len(some)), str(len(confidence)), least, most))
    return markdown(("size", "scans", "of a face's size", "least mean confidence", "most"), rows)


if __name__ == "__main__":
    main()
