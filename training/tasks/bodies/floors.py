"""What the three tasks on bodies reach without a network: zero velocity, and ridge regression in closed form."""

import numpy as np
from jaxtyping import Float

from models.motion.bodies import evenly, shown
from training.data.splits import Split
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import top_k
from training.tasks.bodies.report import (
    Report,
    Row,
    errors,
    forecasting,
    zero_velocity,
)

LIFT_STRENGTH, ACTION_STRENGTH = 0.01, 10.0
EVERY = 4  # frames of a lifting clip that are fitted to
RESAMPLED = 20  # frames of a clip that recognition is given


def ridge(
    x: Float[np.ndarray, "samples inputs"], y: Float[np.ndarray, "samples outputs"], strength: float
) -> Float[np.ndarray, "weights outputs"]:
    """The weights, offsets last, of least squares with a penalty of `strength`."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def predicted(
    weights: Float[np.ndarray, "weights outputs"], x: Float[np.ndarray, "samples inputs"]
) -> Float[np.ndarray, "samples outputs"]:
    return x @ weights[:-1] + weights[-1]


def lifting_floor(batches: LiftBatches, split: Split, source: str) -> Row:
    """Single-frame ridge from keypoints to poses, fitted to the source's own training clips."""

    def rows(clip: LiftClip) -> Float[np.ndarray, "frames coordinates"]:
        return shown(clip.keypoints, clip.confidence)[..., :2].reshape(len(clip.keypoints), -1)

    clips = batches.clips("train", source)
    x = np.concatenate([rows(clip)[::EVERY] for clip in clips])
    y = np.concatenate([clip.targets[::EVERY] for clip in clips]).reshape(len(x), -1)
    weights = ridge(x, np.nan_to_num(y), LIFT_STRENGTH)
    found = [
        errors(clip, predicted(weights, rows(clip)).reshape(clip.targets.shape).astype(np.float32))
        for clip in batches.clips(split, source)
    ]
    figures = {name: float(np.concatenate([e[name] for e in found]).mean()) for name in found[0]}
    return Row(source, sum(len(e["MPJPE"]) for e in found), len(found), figures)


def forecasting_floor(batches: PoseForecastBatches, split: Split) -> Report:
    """The last pose, held."""
    return forecasting(zero_velocity(batches.data.future), batches, split)


def recognition_floor(batches: ActionBatches, split: Split) -> Row:
    """Ridge from RESAMPLED frames of a clip to its class, one against the others."""

    def rows(split: Split) -> Float[np.ndarray, "clips numbers"]:
        clips = [shown(*batches.clips.read(int(i))) for i in batches.chosen(split)]
        return np.stack([clip[:, evenly(clip.shape[1], RESAMPLED)].ravel() for clip in clips])

    x, labels = rows("train"), batches.clips.labels
    middle, wanted = x.mean(axis=0), 2.0 * np.eye(len(batches.clips.classes))[labels[batches.training]] - 1
    scores = predicted(ridge(x - middle, wanted, ACTION_STRENGTH), rows(split) - middle)
    true = labels[batches.chosen(split)]
    figures = {f"top-{k}": 100 * top_k(scores, true, k) for k in (1, 5)}
    return Row(batches.data.source, len(true), len(true), figures)
