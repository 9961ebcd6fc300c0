"""The overlap of predicted and true heatmaps in the reference's tiers of poses: by landmark and threshold, as tables."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from jaxtyping import Float

from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks
from models.pictures.heatmaps import HeatedFace
from models.scans.looks import find
from models.skeletons.face import FACE68
from training.engine.benchmark import markdown
from training.tasks.faces.alignment import TIERS, Template, pose
from training.tasks.faces.data import Scan
from training.tasks.faces.metrics import THRESHOLDS, overlap

THRESHOLD = 0.2  # of the tables; charts have all of THRESHOLDS
PUBLISHED = {  # means over landmarks of the reference's test logs (FaceScape, 167 people); its ICP begins at the true landmarks
    "none": 0.520, "r": 0.022, "t": 0.013, "rt": 0.004, "icp r": 0.507, "icp t": 0.503, "icp rt": 0.508,
}  # fmt: skip

HEADER = (f"IoU at {THRESHOLD}", *TIERS)

Overlaps = dict[str, list[list[float]]]  # by tier: a row for each of THRESHOLDS, an IoU for each landmark


def overlaps_of(
    run: Callable[[Tensors], Tensors], task: FaceLandmarks, scans: Iterable[Scan], template: Template
) -> tuple[Overlaps, dict[str, HeatedFace]]:
    """Return the IoU of upright scans by tier, averaged over scans, and the heatmaps of the first scan in each tier."""
    sums: dict[str, Float[np.ndarray, "thresholds landmarks"]] = {}
    first: dict[str, HeatedFace] = {}
    count = 0
    for number, one in enumerate(scans):
        count += 1
        for name, tier in TIERS.items():
            placed = pose(tier, one.points, template, number)
            points, landmarks = placed(one.points), placed(one.landmarks)
            face = find(points, task, run)
            samples = points[face.sampled]
            true = np.exp(-0.5 * np.square(samples - landmarks[:, None]).sum(axis=2) / task.sigma_m**2)
            sums[name] = sums.get(name, 0.0) + overlap(face.heatmaps[None], true[None])
            first.setdefault(name, HeatedFace(points, landmarks, samples, face.heatmaps, true))
    return {name: (total / count).round(4).tolist() for name, total in sums.items()}, first


def at(overlaps: Overlaps, tier: str, threshold: float = THRESHOLD) -> Float[np.ndarray, "68"]:
    """Return the IoU of every landmark at one of THRESHOLDS."""
    return np.array(overlaps[tier][THRESHOLDS.index(threshold)])


def overlap_table(overlaps: Mapping[str, Overlaps]) -> str:
    """Return a Markdown table of means over landmarks: a line for each network after the published ones, a column for each tier."""
    rows = {name: {tier: float(at(own, tier).mean()) for tier in TIERS} for name, own in overlaps.items()}
    lines = {"reference, as published": PUBLISHED, **rows}
    return markdown(HEADER, [(name, *(f"{row[tier]:.3f}" for tier in TIERS)) for name, row in lines.items()])


def extremes_table(overlaps: Mapping[str, Overlaps]) -> str:
    """Return a Markdown table of the best and the worst landmark of each network in each tier."""
    lines = []
    for name, own in overlaps.items():
        for what, pick in (("best", np.argmax), ("worst", np.argmin)):
            chosen = {tier: int(pick(at(own, tier))) for tier in TIERS}
            cells = (f"{at(own, tier)[index]:.3f} {FACE68.joints[index]}" for tier, index in chosen.items())
            lines.append((f"{name}, {what}", *cells))
    return markdown(HEADER, lines)


def landmark_table(overlaps: Overlaps) -> str:
    """Return a Markdown table of one network's IoU: a line for each landmark, a column for each tier."""
    columns = [at(overlaps, tier) for tier in TIERS]
    rows = [
        (f"{index} {name}", *(f"{column[index]:.3f}" for column in columns)) for index, name in enumerate(FACE68.joints)
    ]
    return markdown(HEADER, rows)
