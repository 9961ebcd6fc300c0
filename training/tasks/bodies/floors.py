"""Baselines of the three body tasks that need no network: velocities, and ridge regression in closed form."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from models.contract.task import PoseLift
from models.motion.bodies import edge_padded, evenly, shown
from models.pose.window_lifter import WindowLifterConfig
from training.data.splits import Split
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.cells import cell_of
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.report import (
    Report,
    Row,
    errors,
    forecasting,
    forecasting_row,
    recognised,
    row_of_clips,
    zero_velocity,
)

LIFT_STRENGTH, ACTION_STRENGTH, FORECAST_STRENGTH = 0.01, 10.0, 0.1
DECAYS = np.linspace(0.5, 0.95, 10)
FITTED = 6000  # samples of a source that forecasts are fitted to
FITTED_WINDOWS = 20_000  # that lifting by windows is fitted to
EVERY = 4  # lifting by frames is fitted to one frame in so many
RESAMPLED = 20  # frames of a clip that recognition sees

Lift = Callable[[LiftClip], Float[np.ndarray, "frames joints 3"]]


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


def lifting_floors(batches: LiftBatches, split: Split) -> dict[str, Report]:
    """Measure the baselines of lifting.

    Ridge regression from single frames is fitted to each source's own training clips. It knows the source, and its cameras. With virtual
    cameras there are two that know neither, as the network: the mean pose, and ridge regression from the same windows.
    """
    sources = batches.data.sources
    own = Report(tuple(lifting_floor(batches, split, source) for source in sources))
    if not batches.data.cameras:
        return {"ridge": own}
    lifts = {"mean pose": mean_pose(batches), "ridge, same windows": window_ridge(batches)}
    return {"ridge that knows source and cameras": own} | {
        name: Report(tuple(_lifting_row(lift, batches, split, source) for source in sources))
        for name, lift in lifts.items()
    }


def lifting_floor(batches: LiftBatches, split: Split, source: str) -> Row:
    """Measure ridge regression from the keypoints of one frame to its pose, fitted to the source's own training clips."""
    return _lifting_row(frame_ridge(batches.clips("train", source)), batches, split, source)


def _lifting_row(lift: Lift, batches: LiftBatches, split: Split, source: str) -> Row:
    clips = [clip for clip in batches.clips(split, source) if cell_of(clip) is not None]
    return replace(row_of_clips(source, clips, [errors(clip, lift(clip)) for clip in clips]), interval=None)


def frame_ridge(clips: Sequence[LiftClip], every: int = EVERY) -> Lift:
    """Return ridge regression from single frames, fitted to one in `every` of these clips: where cameras stay, it knows them."""

    def rows(clip: LiftClip) -> Float[np.ndarray, "frames coordinates"]:
        return shown(clip.keypoints, clip.confidence)[..., :2].reshape(len(clip.keypoints), -1)

    x = np.concatenate([rows(clip)[::every] for clip in clips])
    y = np.concatenate([clip.targets[::every] for clip in clips]).reshape(len(x), -1)
    weights = ridge(x, np.nan_to_num(y), LIFT_STRENGTH)
    return lambda clip: predicted(weights, rows(clip)).reshape(clip.targets.shape).astype(np.float32)


def window_ridge(batches: LiftBatches) -> Lift:
    """Return ridge regression from the windows that `WindowLifter` reads, fitted to training batches: it knows what that network knows."""
    task = PoseLift(order=batches.data.order, receptive=batches.data.receptive, confidence=True)
    network = WindowLifterConfig().build(task)

    def rows(keypoints: np.ndarray) -> Float[np.ndarray, "windows numbers"]:
        with torch.no_grad():
            return network.windows(torch.from_numpy(np.ascontiguousarray(keypoints))).flatten(0, 1).flatten(1).numpy()

    parts = [batches.training_batch(0, step) for step in range(-(-FITTED_WINDOWS // batches.data.batch))]
    x = np.concatenate([rows(inputs["keypoints"]) for inputs, _ in parts])
    y = np.concatenate([true[:, 0] for _, true in parts])
    known = np.isfinite(y[..., 0])
    weights = np.zeros((x.shape[1] + 1, *y.shape[1:]))
    for chosen in np.unique(known, axis=1).T:  # a source may lack a joint
        joints = (known == chosen[:, None]).all(axis=0)
        own = y[chosen][:, joints]
        fitted = ridge(x[chosen], own.reshape(len(own), -1), LIFT_STRENGTH * len(own))
        weights[:, joints] = fitted.reshape(len(fitted), *own.shape[1:])

    def lift(clip: LiftClip) -> Float[np.ndarray, "frames joints 3"]:
        x = rows(edge_padded(shown(clip.keypoints, clip.confidence), batches.data.receptive)[None])
        return predicted(weights.reshape(len(weights), -1), x).reshape(clip.targets.shape).astype(np.float32)

    return lift


def mean_pose(batches: LiftBatches) -> Lift:
    """Return the mean pose of training batches, in the camera's axes."""
    steps = -(-FITTED_WINDOWS // batches.data.batch)
    poses = np.concatenate([batches.training_batch(0, step)[1][:, 0] for step in range(steps)])
    known = np.isfinite(poses).sum(axis=0)
    mean = np.where(known, np.nansum(poses, axis=0) / np.maximum(known, 1), np.nan).astype(
        poses.dtype
    )  # NaN: never known
    return lambda clip: np.repeat(mean[None], len(clip.targets), axis=0)


Forecast = Callable[[np.ndarray], np.ndarray]


def forecasting_floors(batches: PoseForecastBatches, split: Split) -> dict[str, Report]:
    """Measure zero, constant and damped velocity and ridge regression, the last two fitted to each source's own training samples.

    Only zero velocity needs no more than one past pose.
    """
    future, sources = batches.data.future, batches.data.sources
    forecasts: dict[str, list[Forecast]] = {"zero velocity": [zero_velocity(future)] * len(sources)}
    if batches.data.past > 1:
        samples = [_training_samples(batches, source) for source in sources]
        forecasts["constant velocity"] = [damped_velocity(future, 1.0)] * len(sources)
        forecasts["damped velocity"] = [_best_damped(past, true) for past, true in samples]
        forecasts["ridge"] = [ridge_forecast(past, true) for past, true in samples]
    return {
        name: Report(
            tuple(forecasting_row(one, batches, split, source) for one, source in zip(own, sources, strict=True))
        )
        for name, own in forecasts.items()
    }


def damped_velocity(future: int, decay: float) -> Forecast:
    """Return the forecaster that continues the last step, which shrinks by the factor `decay` from frame to frame."""
    gains = (decay ** np.arange(1, future + 1)).cumsum().astype(np.float32)[:, None, None]

    def forecast(past: np.ndarray) -> np.ndarray:
        last, before = past[:, -1:, :, :2], past[:, -2:-1, :, :2]
        return last + gains * (last - before)

    return forecast


def ridge_forecast(past: np.ndarray, true: np.ndarray) -> Forecast:
    """Return the forecaster that is linear in the past poses from the last one on and in the last pose, fitted to samples."""

    def rows(past: np.ndarray) -> np.ndarray:
        poses = past[..., :2]
        return np.concatenate([poses[:, :-1] - poses[:, -1:], poses[:, -1:]], axis=1).reshape(len(past), -1)

    moved = true[..., :2] - past[:, -1:, :, :2]
    weights = ridge(rows(past), moved.reshape(len(past), -1), FORECAST_STRENGTH * len(past) / FITTED)
    return lambda past: (
        past[:, -1:, :, :2] + predicted(weights, rows(past)).reshape(len(past), *true.shape[1:3], 2)
    ).astype(np.float32)


def _training_samples(batches: PoseForecastBatches, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return about FITTED pasts and futures of a source's training split."""
    frames = batches.frames("train", source)
    inputs, true = batches.batch(frames, np.arange(0, len(frames.rows), max(1, len(frames.rows) // FITTED)))
    return inputs["past"], true


def _best_damped(past: np.ndarray, true: np.ndarray) -> Forecast:
    """Return the damped velocity with the least mean distance on samples."""

    def distance(forecast: Forecast) -> float:
        return float(np.linalg.norm(forecast(past) - true[..., :2], axis=-1)[true[..., 2] > 0].mean())

    return min((damped_velocity(true.shape[1], float(decay)) for decay in DECAYS), key=distance)


def forecasting_floor(batches: PoseForecastBatches, split: Split) -> Report:
    """Measure the forecast that repeats the last pose."""
    return forecasting(zero_velocity(batches.data.future), batches, split)


def recognition_floor(batches: ActionBatches, split: Split) -> Report:
    """Measure ridge regression from RESAMPLED frames of a clip to its class, each class against all others."""

    def clips(split: Split) -> list[np.ndarray]:
        return [shown(*batches.clips.read(int(i))) for i in batches.chosen(split)]

    labels = batches.clips.labels
    floor = ridge_scores(clips("train"), labels[batches.training], len(batches.clips.classes))
    report = recognised(floor(clips(split)), labels[batches.chosen(split)], batches, split)
    return Report(tuple(replace(row, interval=None) for row in report.rows))


def ridge_scores(
    clips: Sequence[np.ndarray], labels: Int[np.ndarray, " clips"], classes: int
) -> Callable[[Sequence[np.ndarray]], Float[np.ndarray, "clips classes"]]:
    """Fit ridge regression to clips (persons, frames, joints, numbers), and return the function from clips to scores."""

    def rows(clips: Sequence[np.ndarray]) -> Float[np.ndarray, "clips numbers"]:
        return np.stack([clip[:, evenly(clip.shape[1], RESAMPLED)].ravel() for clip in clips])

    x = rows(clips)
    mean, targets = x.mean(axis=0), 2.0 * np.eye(classes)[labels] - 1
    weights = ridge(x - mean, targets, ACTION_STRENGTH)
    return lambda others: predicted(weights, rows(others) - mean)
