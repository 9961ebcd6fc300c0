"""The report of hand forecasters on a split: errors by source and number of hands, beside forecasts that need no training."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Measurement
from models.contract.task import HandForecast
from models.forecast.filters import double_exponential, kalman
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold, ridge
from training.data.splits import Split
from training.engine.benchmark import interval, markdown
from training.engine.statistics import bootstrap_interval
from training.tasks.hands.data import HandBatches
from training.tasks.hands.metrics import at_horizons, distances_mm, jitter_mm, seam_mm, squares_dm2
from training.tasks.hands.windows import Usage, WindowSet, usage

DECAYS = np.linspace(0, 1, 21)
RATIOS = 10.0 ** np.arange(-3, 2.5, 0.5)
ALPHAS = np.linspace(0.05, 0.95, 19)
STRENGTHS = 10.0 ** np.arange(-7, 0)
WITHOUT_WEIGHTS = ("hold", "constant velocity", "damped velocity", "kalman", "double exponential")
BASELINES = (*WITHOUT_WEIGHTS, "ridge")

Poses = Float[np.ndarray, "windows frames nodes 3"]


@dataclass(frozen=True)
class Row:
    """One model on the windows of one source with one number of hands."""

    source: str
    hands: int
    model: str
    mpjpe_mm: float  # mean over all future frames
    at_mm: dict[str, float]
    by_frame_mm: list[float]
    mse_dm2: float
    interval_mm: tuple[float, float] | None
    by_action_mm: dict[str, float]
    windows: int
    recordings: int
    jitter_at_mm: dict[str, float] = field(default_factory=dict[str, float])  # empty without consecutive windows
    seam_mm: float | None = None


@dataclass(frozen=True)
class Report:
    """The rows of a split, ordered by source, number of hands and model; `usage` counts the recordings of each source.

    Only a source that was left out of a training is measured on its split "train".
    """

    split: Split
    window: str
    fps: float
    rows: list[Row]
    usage: dict[str, Usage] = field(default_factory=dict[str, Usage])

    def row(self, source: str, hands: int, model: str) -> Row:
        """Return one row. Raises StopIteration if the report has none such."""
        return next(r for r in self.rows if (r.source, r.hands, r.model) == (source, hands, model))

    def best_without_weights(self, source: str, hands: int) -> Row:
        """Return the row to beat: the best of those in WITHOUT_WEIGHTS. Raises ValueError if the report has none of them."""
        rows = (row for row in self.rows if (row.source, row.hands) == (source, hands) and row.model in WITHOUT_WEIGHTS)
        return min(rows, key=lambda row: row.mpjpe_mm)

    def groups(self) -> list[tuple[str, int]]:
        """Return each pair of a source and a number of hands once, in order."""
        return list(dict.fromkeys((row.source, row.hands) for row in self.rows))

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Return the report that `write` has written."""
        content = json.loads(path.read_text())
        rows = [
            Row(**{**row, "interval_mm": row["interval_mm"] and tuple(row["interval_mm"])})
            for row in content.pop("rows")
        ]
        counted = {source: Usage(**counts) for source, counts in content.pop("usage", {}).items()}
        return cls(**content, rows=rows, usage=counted)

    def measurements(self, model: str) -> tuple[Measurement, ...]:
        """Return the rows of `model` in the form that a bundle carries, each beside the row to beat. Raises ValueError for "train"."""
        if self.split == "train":
            raise ValueError("expected the validation or the test split for a bundle, got the training split")
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
    split: Split,
    stride: int = 1,
    *,
    least: tuple[int, int] | None = None,
) -> Report:
    """Measure every model on the windows of a split, by source and by number of hands; `stride` 5 keeps one window in five.

    `least` admits windows that lack frames of the past, as `cut` does: these are NaN, and models of masked tasks are told so.
    """
    rows: list[Row] = []
    counted: dict[str, Usage] = {}
    for source in sources:
        sets = {hands: batches.windows(split, hands, (source,), phases="first", least=least) for hands in (2, 1)}
        counted[source] = usage([*sets.values()])
        for hands, windows in sets.items():
            if len(windows):
                past, true = windows.past_future(np.arange(0, len(windows), stride))
                rows += [
                    _row(source, hands, name, windows, past, forecast(model, past), true, stride)
                    for name, model in models.items()
                ]
    return Report(split, batches.data.measured_on, batches.data.window.fps, rows, counted)


def forecast(
    model: nn.Module, past: Float[np.ndarray, "windows past nodes 3"], batch: int = 64
) -> Float[np.ndarray, "windows future nodes 3"]:
    """Return mode 0 of a model's forecast of each window, in metres; a model of a masked task is told what is not NaN."""
    device = next(model.buffers(), next(model.parameters(), torch.empty(0))).device
    masked = "seen" in getattr(getattr(model, "task", None), "inputs", {})
    answers: list[torch.Tensor] = []
    with torch.no_grad():
        for i in range(0, len(past), batch):
            poses = torch.from_numpy(past[i : i + batch]).to(device)
            answer = model(poses.nan_to_num(), poses.isfinite().all(dim=-1).float()) if masked else model(poses)
            answers.append((answer[0] if isinstance(answer, tuple) else answer)[:, 0].cpu())
    return torch.cat(answers).numpy()


def _row(
    source: str,
    hands: int,
    model: str,
    windows: WindowSet,
    past: Float[np.ndarray, "windows past nodes 3"],
    forecast: Poses,
    true: Poses,
    stride: int,
) -> Row:
    errors = distances_mm(forecast, true)
    recording_of = windows.recording_of[::stride]
    names = sorted({(windows.recordings[i][0], windows.recordings[i][1]) for i in np.unique(recording_of)})
    recording = np.array([names.index(windows.recordings[i][:2]) for i in recording_of])
    action = np.array([windows.recordings[i][2] for i in recording_of])
    by_frame = errors.mean(axis=0)
    jitter = jitter_mm(forecast, windows.consecutive(np.arange(0, len(windows), stride)))
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
        jitter_at_mm={} if jitter is None else at_horizons(jitter, windows.window.fps),
        seam_mm=float(seam_mm(past, forecast).mean()),
    )


def baselines(task: HandForecast, batches: HandBatches, every: int | None = None) -> dict[str, nn.Module]:
    """Return the forecasts that a network must beat, by name, as in BASELINES.

    The decay of the velocity, the ratio of the Kalman filter and the constant of the double exponential smoothing are the best ones on
    training windows. The strength of the ridge is the best one on validation windows. All use every `every`-th window, by default every
    seventh, or every twentieth of those that follow each frame of a recording. One setting of each serves all sources, as a network's
    weights do. The test split is not read.
    """
    every = every or (7 if batches.data.rates is None else 20)
    task = task.model_copy(update={"masked": False, "spread": False})
    training = [windows.past_future(np.arange(0, len(windows), every)) for windows in batches.as_recorded]
    validation = [windows.past_future(np.arange(0, len(windows), every)) for _, windows in batches.validation]
    joints = len(task.layout.joints)
    past, future = (np.concatenate([_as_single_hands(pair[i], joints) for pair in training]) for i in (0, 1))

    def error(matrix: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        network = LinearForecast(task, matrix)
        return float(np.mean([distances_mm(forecast(network, past), true).mean() for past, true in pairs]))

    def best(forecasts: Iterable[np.ndarray], pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        return min(forecasts, key=lambda matrix: error(matrix, pairs))

    matrices = (
        hold(task),
        constant_velocity(task),
        best((damped_velocity(task, decay) for decay in DECAYS), training),
        best((kalman(task, ratio) for ratio in RATIOS), training),
        best((double_exponential(task, alpha) for alpha in ALPHAS), training),
        best((ridge(past, future, strength) for strength in STRENGTHS), validation),
    )
    return {name: LinearForecast(task, matrix) for name, matrix in zip(BASELINES, matrices, strict=True)}


def _as_single_hands(poses: Poses, joints: int) -> Float[np.ndarray, "singles frames joints 3"]:
    """Split windows of two hands into windows of one, so that one array holds both kinds."""
    return np.concatenate(np.split(poses, poses.shape[2] // joints, axis=2))


def table(report: Report, models: Iterable[str]) -> str:
    """Return a Markdown table of MPJPE in mm, averaged over all future frames: a line for each group, a column for each model."""
    models = list(models)
    lines = []
    for source, hands in report.groups():
        rows = [report.row(source, hands, model) for model in models]
        errors = [f"{row.mpjpe_mm:.1f}" for row in rows]
        lines.append((source, str(hands), str(rows[0].windows), str(rows[0].recordings), *errors))
    return markdown((f"{report.window}, {report.split}", "hands", "windows", "recordings", *models), lines)


def detail(report: Report, model: str) -> str:
    """Return a Markdown table of one model: error over all future frames and at each horizon in mm, mean squared error in dm^2."""
    lines = []
    for source, hands in report.groups():
        row = report.row(source, hands, model)
        horizons = [f"{error:.1f}" for error in row.at_mm.values()]
        figures = (f"{row.mpjpe_mm:.1f}", interval(row.interval_mm), *horizons, f"{row.mse_dm2:.3f}")
        lines.append((source, str(hands), *figures))
    return markdown((model, "hands", "mean", "95 % interval", *report.rows[0].at_mm, "MSE, dm²"), lines)


def steadiness(report: Report, models: Iterable[str], horizon: str = "100 ms") -> str:
    """Return a Markdown table of the jitter of forecasts at a horizon, and of the jump of their velocity at the seam, both in mm."""
    models = list(models)
    lines = []
    for source, hands in report.groups():
        rows = [report.row(source, hands, model) for model in models]
        lines.append((source, str(hands), *(f"{_mm(r.jitter_at_mm.get(horizon))} / {_mm(r.seam_mm)}" for r in rows)))
    return markdown((f"jitter at {horizon} / jump at the seam", "hands", *models), lines)


def _mm(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def unused(report: Report) -> str:
    """Return a line for each source with recordings that no row measures, and why; measuring takes complete windows only."""
    return "\n".join(
        f"{source}: {counts.used} of {counts.recordings} recordings measured; {counts.short} are shorter than a window, {counts.slow} too "
        f"slow, {counts.gaps} have gaps too close together"
        for source, counts in report.usage.items()
        if counts.used < counts.recordings
    )
