"""Baselines of the three body tasks that need no network: zero velocity, and ridge regression in closed form."""

import numpy as np
from jaxtyping import Float

from models.motion.bodies import evenly, shown
from training.data.splits import Split
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import top_k
from training.tasks.bodies.report import Report, Row, errors, forecasting, zero_velocity

LIFT_STRENGTH, ACTION_STRENGTH = 0.01, 10.0
EVERY = 4  # lifting is fitted to one frame in so many
RESAMPLED = 20  # frames of a clip that recognition sees


def ridge(
    x: Float[np.ndarray, "samples inputs"], y: Float[np.ndarray, "samples outputs"], strength: float
) -> Float[np.ndarray, "weights outputs"]:
    """Return the weights, offsets last, of least squares with the penalty `strength` on all of them."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def predicted(
    weights: Float[np.ndarray, "weights outputs"], x: Float[np.ndarray, "samples inputs"]
) -> Float[np.ndarray, "samples outputs"]:
    """Apply the weights that `ridge` returns."""
    return x @ weights[:-1] + weights[-1]


def lifting_floor(batches: LiftBatches, split: Split, source: str) -> Row:
    """Measure ridge regression from the keypoints of one frame to its pose, fitted to the source's own training clips."""

    def rows(clip: LiftClip) -> Float[np.ndarray, "frames coordinates"]:
        return shown(clip.keypoints, clip.confidence)[..., :2].reshape(len(clip.keypoints), -1)

    clips = batches.clips("train", source)
    x = np.concatenate([rows(clip)[::EVERY] for clip in clips])
    y = np.concatenate([clip.targets[::EVERY] for clip in clips]).reshape(len(x), -1)
    weights = ridge(x, np.nan_to_num(y), LIFT_STRENGTH)
    clip_errors = [
        errors(clip, predicted(weights, rows(clip)).reshape(clip.targets.shape).astype(np.float32))
        for clip in batches.clips(split, source)
    ]
    figures = {name: float(np.concatenate([e[name] for e in clip_errors]).mean()) for name in clip_errors[0]}
    return Row(source, sum(len(e["MPJPE"]) for e in clip_errors), len(clip_errors), figures)


def forecasting_floor(batches: PoseForecastBatches, split: Split) -> Report:
    """Measure the forecast that repeats the last pose."""
    return forecasting(zero_velocity(batches.data.future), batches, split)


def recognition_floor(batches: ActionBatches, split: Split) -> Row:
    """Measure ridge regression from RESAMPLED frames of a clip to its class, each class against all others."""

    def rows(split: Split) -> Float[np.ndarray, "clips numbers"]:
        clips = [shown(*batches.clips.read(int(i))) for i in batches.chosen(split)]
        return np.stack([clip[:, evenly(clip.shape[1], RESAMPLED)].ravel() for clip in clips])

    x, labels = rows("train"), batches.clips.labels
    mean, targets = x.mean(axis=0), 2.0 * np.eye(len(batches.clips.classes))[labels[batches.training]] - 1
    scores = predicted(ridge(x - mean, targets, ACTION_STRENGTH), rows(split) - mean)
    true = labels[batches.chosen(split)]
    figures = {f"top-{k}": 100 * top_k(scores, true, k) for k in (1, 5)}
    return Row(batches.data.source, len(true), len(true), figures)
