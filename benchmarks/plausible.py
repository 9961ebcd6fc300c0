"""False refusals of the plausibility checks on correct data in every unit, and true refusals of wrong units.

    OMP_NUM_THREADS=1 CHIRON_DATA=../shared/data python -m benchmarks.plausible [SIMULATED]

SIMULATED is the number of simulated faces of each kind besides the nine real ones. The default, 20, takes two minutes of one core. Data
sets that are missing from the folder are left out.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.contract.bundle import read_bundle
from models.contract.task import FaceLandmarks
from models.motion.plausible_bodies import check_person
from models.motion.plausible_hands import check_hand
from models.motion.proportions import check_order
from models.scans.cloud import Degenerate
from models.scans.levels import MESH_POINTS
from models.scans.looks import find
from models.scans.sampling import sample_surface
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.units import METRIC, UNITS, Implausible
from service.inference.predictor import Predictor
from service.tasks.faces.prepare import NoFace, PreparedScan, UnclearUnits, require_face, unit_of
from service.tasks.faces.schemas import FaceOptions
from training.tasks.bodies.readers.npz import SOURCES, read_bodies
from training.tasks.faces.data import scans_of
from training.tasks.faces.ict import read_model
from training.tasks.faces.real_faces import real_faces
from training.tasks.hands.npz import read_hands

BUNDLE = Path(__file__).parents[1] / "bundles" / "face-se3unet"
WINDOW, STRIDE = 60, 600  # frames of a checked window, and frames from one window to the next
WRONG = (
    ("m", "mm"),
    ("m", "cm"),
    ("cm", "mm"),
    ("in", "mm"),
    ("in", "auto"),
    ("ft", "auto"),
)  # the true unit and the stated one


def main() -> None:
    """Count the refusals and print a table."""
    folder = Path(os.environ.get("CHIRON_DATA", "../shared/data"))
    simulated = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print("| data | refused | of |\n|---|---|---|")
    for source in sorted(path.parent.name for path in (folder / "hands").glob("*/*.npz")):
        count(f"hands, {source}", hands(folder / "hands", source))
    for source in sorted(source for source in SOURCES if (folder / "body" / source).is_dir()):
        count(f"bodies, {source}", bodies(folder / "body", source))
    if (folder / "faces").is_dir():
        faces(folder / "faces", simulated)


def count(name: str, checks: Iterator[Callable[[], Any]]) -> None:
    """Run the checks and print the number of refusals."""
    refused: Counter[str] = Counter()
    total = 0
    for check in checks:
        total += 1
        try:
            check()
        except (Implausible, NoFace, UnclearUnits, Degenerate) as error:
            refused[type(error).__name__] += 1
    kinds = "".join(f", {kind} {number}" for kind, number in refused.items())
    print(f"| {name} | {refused.total()}{kinds} | {total} |", flush=True)


def hands(folder: Path, source: str) -> Iterator[Callable[[], Any]]:
    """Yield a check for windows of every recording of a source, in metres."""
    for recording in read_hands(folder, source):
        clip = recording.clip
        for hand in range(clip.hands):
            visible = clip.joints[clip.valid[:, hand], hand].astype(float)
            for start in range(0, len(visible), STRIDE):
                yield lambda points=visible[start : start + WINDOW]: check_hand(points, ASSEMBLY101, "m")


def bodies(folder: Path, source: str) -> Iterator[Callable[[], Any]]:
    """Yield a check of the joint order for windows of every clip of a source and, in three dimensions, of the person in metres."""
    for clip in read_bodies(folder, source):
        for start in range(0, len(clip.points), STRIDE):
            window = clip.points[start : start + WINDOW].astype(float)
            yield lambda points=window, order=clip.skeleton: check_order(points, order)
            if window.shape[-1] == 3:
                yield lambda points=window, order=clip.skeleton: check_person(points, order, "m")


def faces(folder: Path, simulated: int) -> None:
    """Check faces in every stated and every inferred unit, then in wrong units."""
    task, network = read_bundle(BUNDLE).meta.task, Predictor(read_bundle(BUNDLE)).run
    assert isinstance(task, FaceLandmarks)
    model = read_model(folder)
    scans = {
        "real": [sample_surface(face.points, face.triangles, MESH_POINTS) for face in real_faces(folder)],
        **{kind: [s.points for s in scans_of(model, "test", kind, simulated, task)] for kind in ("clean", "varied")},
    }

    def find_and_check(points: np.ndarray, units: str) -> None:
        """Raise the service's error for a scan in the stated unit, or in "auto"."""
        unit = unit_of(points) if units == "auto" else units
        metres = points * UNITS[unit]
        scan = PreparedScan(FaceOptions(units=units), task, metres, None, None, unit, len(points), 0, 0, None)  # pyright: ignore - units are strings
        require_face(scan, find(metres, task, network))

    def check(points: np.ndarray, units: str) -> Callable[[], None]:
        return lambda: find_and_check(points, units)

    for kind, clouds in scans.items():
        count(f"faces, {kind}, unit stated", (check(p / UNITS[u], u) for p in clouds for u in UNITS))
        count(f"faces, {kind}, unit inferred", (check(p / UNITS[u], "auto") for p in clouds for u in METRIC))
    for true, stated in WRONG:
        every = [p for clouds in scans.values() for p in clouds]
        count(
            f"faces in {true} sent as {stated}, expected to be refused", (check(p / UNITS[true], stated) for p in every)
        )


if __name__ == "__main__":
    main()
