"""Errors of `face-depth` on simulated validation scans, by the reach of a scan from which it is searched at several places.

    OMP_NUM_THREADS=1 CHIRON_DATA=../shared/data python -m benchmarks.wide

`models.scans.facing.WIDE_M` is chosen by this table, in which no test identity and no real scan has a part. The scans are of validation
identities in random poses: clean and varied ones, whole heads, and heads with shoulders. Each is searched twice, as if every scan were
wide and as if none were; a limit takes the first answer for scans that reach farther. Three minutes of a core.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from jaxtyping import Float

from models.contract.bundle import read_bundle
from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors
from models.scans import facing
from models.scans.depth import without_strays
from models.scans.levels import Face
from models.scans.looks import find
from service.inference.predictor import Predictor
from training.engine.benchmark import markdown
from training.tasks.faces.data import Scan, draw, turned
from training.tasks.faces.ict import SEEDS, FaceModel, read_model
from training.tasks.faces.scanner import CLEAN, HEAD, VARIED, Scanner

BUNDLE = Path(__file__).parents[1] / "bundles" / "face-depth"
LIMITS = (0.0, 0.15, 0.2, 0.25, 0.3, 0.35, float("inf"))  # metres
LOST_MM = 10.0  # a face whose mean error is larger was not found
KINDS: dict[str, Scanner] = {
    "clean": CLEAN,
    "varied": VARIED,
    "whole heads": HEAD,
    "heads with shoulders": replace(HEAD, shoulders=1.0, hair=0.5, size=0.06),
}


@dataclass(frozen=True)
class Searched:
    """One scan: its reach in metres, and the mean error in mm and number of looks, searched as wide and as not."""

    reach: float
    wide: tuple[float, int]
    narrow: tuple[float, int]

    def at(self, limit: float) -> tuple[float, int]:
        """Return error and looks with a limit of the reach in metres."""
        return self.wide if self.reach > limit else self.narrow


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Errors of face-depth by the reach from which a scan is wide")
    parser.add_argument("--scans", type=int, default=40, help="scans of each kind")
    arguments = parser.parse_args()
    bundle = read_bundle(BUNDLE)
    task = bundle.meta.task
    assert isinstance(task, FaceMap)
    run = Predictor(bundle).run
    model = read_model(Path(os.environ.get("CHIRON_DATA", "../shared/data")) / "faces")
    found = {kind: [searched(one, task, run) for one in scans(model, kind, arguments.scans, task)] for kind in KINDS}
    print(table(found))


def scans(model: FaceModel, kind: str, count: int, task: FaceMap) -> Iterator[Scan]:
    """Yield scans of validation identities of one of KINDS, in random poses."""
    for number in range(count):
        rng = np.random.default_rng([SEEDS["validation"].start, list(KINDS).index(kind), number])
        yield turned(draw(model, "validation", KINDS[kind], rng, fewest=task.fewest), rng)


def searched(one: Scan, task: FaceMap, run: Callable[[Tensors], Tensors]) -> Searched:
    """Search a scan at several places if the network is not convinced, and without."""
    answers = []
    for limit in (0.0, float("inf")):
        with patch.object(facing, "WIDE_M", limit):
            face = find(one.points, task, run)
        answers.append((error_mm(face, one.landmarks), face.looks))
    return Searched(reach(one.points), *answers)


def reach(points: Float[np.ndarray, "points 3"]) -> float:
    """Return the distance of the farthest point from the scan's middle, as the search measures it, in metres."""
    kept = points[without_strays(points)]
    return float(np.linalg.norm(kept - facing.middle_of(kept), axis=1).max())


def error_mm(face: Face, true: Float[np.ndarray, "68 3"]) -> float:
    """Return the mean error in mm."""
    return 1000 * float(np.linalg.norm(face.landmarks - true, axis=1).mean())


def table(found: dict[str, list[Searched]]) -> str:
    """Return a table: by limit and kind of scan the mean error, the share of faces lost, and the looks."""
    rows = []
    for limit in LIMITS:
        cells, looks = [], []
        for own in found.values():
            errors = np.array([one.at(limit)[0] for one in own])
            looks += [one.at(limit)[1] for one in own]
            cells.append(f"{errors.mean():.2f}, {100 * (errors > LOST_MM).mean():.0f} % lost")
        rows.append((f"{100 * limit:g} cm" if limit < float("inf") else "never", *cells, f"{np.mean(looks):.1f}"))
    reaches = [np.quantile([one.reach for one in own], (0.1, 0.5, 0.9)) for own in found.values()]
    rows.append(("reach, cm: 10 %, 50 %, 90 %", *("{:.0f}, {:.0f}, {:.0f}".format(*(100 * q)) for q in reaches), ""))
    return markdown(("wide from", *(f"{kind}, mm" for kind in found), "looks"), rows)


if __name__ == "__main__":
    main()
