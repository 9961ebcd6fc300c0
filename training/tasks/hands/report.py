"""Measure a trained hand forecaster on a split, next to the forecasts that need no training: a table, a JSON and pictures."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Measurement
from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold, ridge
from models.skeletons.hand import HANDS
from training.engine.statistics import bootstrap_interval
from training.tasks.hands.data import HandBatches
from training.tasks.hands.metrics import at_horizons, distances_mm, squares_dm2
from training.tasks.hands.windows import WindowSet

EQMOTION = "EqMotion"
DECAYS = np.linspace(0, 1, 21)
STRENGTHS = 10.0 ** np.arange(-7, 0)
WITHOUT_WEIGHTS = ("hold", "constant velocity", "damped velocity")

Poses = Float[np.ndarray, "windows frames nodes 3"]


@dataclass(frozen=True)
class Row:
    """One model on the windows of one source with one number of hands."""

    source: str
    hands: int
    model: str
    mpjpe_mm: float  # mean over the horizon
    at_mm: dict[str, float]
    by_frame_mm: list[float]
    mse_dm2: float
    interval_mm: tuple[float, float] | None
    by_action_mm: dict[str, float]
    windows: int
    recordings: int


@dataclass(frozen=True)
class Report:
    """All rows of a split, in the order source, hands, model."""

    split: Literal["validation", "test"]
    window: str
    fps: float
    rows: list[Row]

    def row(self, source: str, hands: int, model: str) -> Row:
        return next(r for r in self.rows if (r.source, r.hands, r.model) == (source, hands, model))

    def best_without_weights(self, source: str, hands: int) -> Row:
        """The row to beat: the best of hold, constant and damped velocity."""
        return min((self.row(source, hands, name) for name in WITHOUT_WEIGHTS), key=lambda row: row.mpjpe_mm)

    def groups(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((row.source, row.hands) for row in self.rows))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> "Report":
        content = json.loads(path.read_text())
        rows = [
            Row(**{**row, "interval_mm": row["interval_mm"] and tuple(row["interval_mm"])})
            for row in content.pop("rows")
        ]
        return Report(**content, rows=rows)

    def measurements(self, model: str) -> tuple[Measurement, ...]:
        """The rows of `model`, as a bundle carries them."""
        return tuple(
            Measurement(
                metric=f"MPJPE over {self.window}, {'two hands' if row.hands == 2 else 'one hand'}",
                value=round(row.mpjpe_mm, 2),
                unit="mm",
                split=self.split,
                source=row.source,
                windows=row.windows,
                recordings=row.recordings,
                baseline=(best := self.best_without_weights(row.source, row.hands)).model,
                baseline_value=round(best.mpjpe_mm, 2),
                interval=row.interval_mm and (round(row.interval_mm[0], 2), round(row.interval_mm[1], 2)),
            )
            for row in self.rows
            if row.model == model
        )


def evaluate(
    models: dict[str, nn.Module],
    batches: HandBatches,
    sources: Iterable[str],
    split: Literal["validation", "test"],
    stride: int = 1,
) -> Report:
    """Every model on every window (one in `stride`) of `split`, by source and by number of hands."""
    rows = []
    for source in sources:
        for hands in (2, 1):
            windows = batches.windows(split, hands, (source,), phases="first")
            if len(windows):
                past, true = windows.past_future(np.arange(0, len(windows), stride))
                rows += [
                    _row(source, hands, name, windows, forecast(model, past), true, stride)
                    for name, model in models.items()
                ]
    return Report(split, batches.data.window.name, batches.data.window.fps, rows)


def forecast(model: nn.Module, past: Poses, batch: int = 64) -> Poses:
    """Mode 0 of a model's answer to each window."""
    device = next(model.buffers(), next(model.parameters(), torch.empty(0))).device
    with torch.no_grad():
        answers = [
            model(torch.from_numpy(past[i : i + batch]).to(device))[:, 0].cpu() for i in range(0, len(past), batch)
        ]
    return torch.cat(answers).numpy()


def _row(source: str, hands: int, model: str, windows: WindowSet, forecast: Poses, true: Poses, stride: int) -> Row:
    errors = distances_mm(forecast, true)
    recording_of = windows.recording_of[::stride]
    names = sorted({(windows.recordings[i][0], windows.recordings[i][1]) for i in np.unique(recording_of)})
    recording = np.array([names.index(windows.recordings[i][:2]) for i in recording_of])
    action = np.array([windows.recordings[i][2] for i in recording_of])
    by_frame = errors.mean(axis=0)
    return Row(
        source=source,
        hands=hands,
        model=model,
        mpjpe_mm=float(errors.mean()),
        at_mm=at_horizons(by_frame, windows.window.fps),
        by_frame_mm=by_frame.astype(float).tolist(),
        mse_dm2=float(squares_dm2(forecast, true).mean()),
        interval_mm=bootstrap_interval(errors.mean(axis=1), recording),
        by_action_mm={str(a): float(errors[action == a].mean()) for a in np.unique(action)},
        windows=len(errors),
        recordings=len(names),
    )


def baselines(task: HandForecast, batches: HandBatches, every: int = 7) -> dict[str, nn.Module]:
    """Hold, constant velocity, damped velocity and ridge: what a network must beat.

    The decay of the velocity is the one that is best on training windows, the strength of the ridge the one that is best on validation
    windows (every `every`-th of either): one number and one matrix for all sources, like a network's weights. None has seen the test split.
    """
    seen = [windows.past_future(np.arange(0, len(windows), every)) for windows in batches.training]
    unseen = [windows.past_future(np.arange(0, len(windows), every)) for _, windows in batches.validation]
    flat = [np.concatenate([_as_one_hand(pair[i]) for pair in seen]) for i in (0, 1)]

    def error(matrix: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        network = LinearForecast(task, matrix)
        return float(np.mean([distances_mm(forecast(network, past), true).mean() for past, true in pairs]))

    decay = min(DECAYS, key=lambda decay: error(damped_velocity(task, decay), seen))
    fitted = min((ridge(flat[0], flat[1], s) for s in STRENGTHS), key=lambda matrix: error(matrix, unseen))
    matrices = {
        "hold": hold(task),
        "constant velocity": constant_velocity(task),
        "damped velocity": damped_velocity(task, decay),
        "ridge": fitted,
    }
    return {name: LinearForecast(task, matrix) for name, matrix in matrices.items()}


def _as_one_hand(poses: Poses) -> Float[np.ndarray, "singles frames joints 3"]:
    """Two hands as two windows of one, so that windows of either kind can stand in one array."""
    return np.concatenate(np.split(poses, poses.shape[2] // len(HANDS["assembly101"].joints), axis=2))


def table(report: Report, models: Iterable[str]) -> str:
    """The report in Markdown: a line a source and number of hands, a column a model, MPJPE in mm over the horizon."""
    models = list(models)
    lines = [
        f"| {report.window}, {report.split} | hands | windows | recordings | " + " | ".join(models) + " |",
        "|---" * (4 + len(models)) + "|",
    ]
    for source, hands in report.groups():
        rows = [report.row(source, hands, model) for model in models]
        cells = " | ".join(f"{row.mpjpe_mm:.1f}" for row in rows)
        lines.append(f"| {source} | {hands} | {rows[0].windows} | {rows[0].recordings} | {cells} |")
    return "\n".join(lines)


def detail(report: Report, model: str) -> str:
    """One model in Markdown: a line a source and number of hands; error over the horizon and at its moments, in mm, squared in dm^2."""
    first = report.rows[0].at_mm
    lines = [
        f"| {model} | hands | mean | 95 % interval | {' | '.join(first)} | MSE, dm² |",
        "|---" * (5 + len(first)) + "|",
    ]
    for source, hands in report.groups():
        row = report.row(source, hands, model)
        interval = f"{row.interval_mm[0]:.1f} to {row.interval_mm[1]:.1f}" if row.interval_mm else "one recording"
        moments = " | ".join(f"{error:.1f}" for error in row.at_mm.values())
        lines.append(f"| {source} | {hands} | {row.mpjpe_mm:.1f} | {interval} | {moments} | {row.mse_dm2:.3f} |")
    return "\n".join(lines)
