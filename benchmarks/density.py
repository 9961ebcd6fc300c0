"""Errors of the shipped face landmarks on dense scans, by the number of points that the farthest ones are sampled from.

    OMP_NUM_THREADS=1 CHIRON_DATA=../shared/data python -m benchmarks.density

The scans have 50,000 points: simulated test faces, clean and varied, and the real ones, drawn five times each. Each is searched as the
service searches it, with its points thinned to 4,096, 8,192 and 16,384 before the sampling, and with all of them. Ten minutes of a core.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from models.contract.bundle import read_bundle
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.scans import levels
from models.scans.looks import find
from models.scans.sampling import sample_surface
from service.inference.predictor import Predictor
from training.engine.benchmark import markdown
from training.tasks.faces.data import SCANNERS, Scan, draw, turned
from training.tasks.faces.ict import SEEDS, read_model
from training.tasks.faces.real_faces import real_faces

BUNDLE = Path(__file__).parents[1] / "bundles" / "face-se3unet"
POINTS = 50_000
LIMITS = (4096, 8192, 16_384, POINTS)
DRAWS = 5  # of points, for each real scan


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Errors of face landmarks by the number of points that are used")
    parser.add_argument("--scans", type=int, default=100, help="simulated scans of each kind")
    arguments = parser.parse_args()
    bundle = read_bundle(BUNDLE)
    task = bundle.meta.task
    assert isinstance(task, FaceLandmarks)
    run = Predictor(bundle).run
    rows = []
    for source, scans in dense(
        Path(os.environ.get("CHIRON_DATA", "../shared/data")) / "faces", arguments.scans, task
    ).items():
        errors = []
        for limit in LIMITS:
            with patch.object(levels, "DENSE", limit):
                errors.append([error_mm(find(one.points, task, run).landmarks, one.landmarks) for one in scans])
        against = [np.array(one) - errors[-1] for one in errors]
        cells = [
            f"{np.mean(one):.3f} ({apart.mean():+.3f} ± {spread(apart):.3f})"
            for one, apart in zip(errors, against, strict=True)
        ]
        rows.append((source, str(len(scans)), *cells[:-1], f"{np.mean(errors[-1]):.3f}"))
    print("Mean error in mm; in brackets the mean difference from all points and its standard error.\n")
    print(markdown(("scans", "looks", *(f"{limit:,} points" for limit in LIMITS[:-1]), "all 50,000"), rows))


def dense(folder: Path, count: int, task: FaceLandmarks) -> dict[str, list[Scan]]:
    """Return dense scans by source, in random poses."""
    model, rng = read_model(folder), np.random.default_rng(SEEDS["test"].start)
    scans = {
        f"ict, {kind}": [
            turned(draw(model, "test", replace(how, points=(POINTS, POINTS)), rng, fewest=task.fewest), rng)
            for _ in range(count)
        ]
        for kind, how in SCANNERS.items()
    }
    for face in real_faces(folder):
        for seed in range(DRAWS):
            points, turn = sample_surface(face.points, face.triangles, POINTS, seed), random_rotation(rng).T
            scans.setdefault(face.source, []).append(Scan(points @ turn, face.known @ turn))
    return scans


def error_mm(found: np.ndarray, true: np.ndarray) -> float:
    """Return the mean distance of landmarks from the known true ones."""
    return 1000 * float(np.nanmean(np.linalg.norm(found - true, axis=1)))


def spread(values: np.ndarray) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main()
