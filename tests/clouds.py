"""Synthetic point clouds for tests of landmark networks."""

import numpy as np

from models.contract.task import FaceLandmarks
from models.scans.levels import levels

SMALL = FaceLandmarks(levels=(96, 40, 20), neighbours=8)
TWO_LEVELS = FaceLandmarks(levels=(96, 20), neighbours=8)  # the fewest levels: halves the work of an export


def bumpy_cloud(points: int, seed: int = 0) -> np.ndarray:
    """Return (points, 3) float64 in metres: a dome with bumps, of the size of a face and without symmetry."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(4 * points, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction = direction[direction[:, 2] > -0.3][:points]
    waves = np.sin(1.5 * direction @ rng.normal(size=(3, 6)) + rng.uniform(0, 6, 6))
    return 0.1 * direction * (1 + waves.sum(axis=1, keepdims=True) / 12)


def inputs_of(task: FaceLandmarks, *clouds: np.ndarray) -> dict[str, np.ndarray]:
    """Return the task's inputs for these clouds as one batch, in the clouds' own coordinates."""
    scans = [levels(cloud, task) for cloud in clouds]
    batch = {name: np.concatenate([scan.tensors[name] for scan in scans]) for name in task.inputs}
    return batch | {"points": np.stack([cloud[scan.sampled] for cloud, scan in zip(clouds, scans, strict=True)])}
