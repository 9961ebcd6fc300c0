"""The figures of one forecaster in a comparison: its learning curve, and its errors on every source at the end, as a file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from models.contract.symmetry import violation
from models.contract.task import HandForecast
from training.engine.export import runner
from training.tasks.hands.data import HandBatches
from training.tasks.hands.metrics import distances_mm, squares_dm2
from training.tasks.hands.report import forecast

CURVE_WINDOWS = 120  # of each source at each point of a learning curve; the errors at the end use every window
TURNED_WINDOWS = 8  # whose forecasts are compared with those of the turned windows

Counted = tuple[int, float]  # windows, mean error in mm


@dataclass(frozen=True)
class Errors:
    """The errors on the windows of one source: means, and those of each recording and each label."""

    windows: int
    mpjpe_mm: float  # mean over the horizon
    by_frame_mm: list[float]
    mse_dm2: float
    recordings: dict[str, Counted]
    labels: dict[str, Counted]


@dataclass(frozen=True)
class Point:
    """The errors at one epoch, by source, on about CURVE_WINDOWS windows each."""

    epoch: int
    train: dict[str, Counted]
    test: dict[str, Errors]


@dataclass(frozen=True)
class Figures:
    """The figures of one network, or of one forecast without weights; `rotation_mm` is the largest |f(R x) - R f(x)|."""

    model: str
    seed: int
    parameters: int
    learning_rate: float | None
    windows_an_epoch: int
    steps: int
    best_step: int
    curve: list[Point]
    test: dict[str, Errors]
    rotation_mm: float

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Figures":
        """Return the figures that `write` has written."""
        content = json.loads(path.read_text())
        curve = [
            Point(point["epoch"], _counted(point["train"]), _errors(point["test"])) for point in content.pop("curve")
        ]
        test = _errors(content.pop("test"))
        return cls(**content, curve=curve, test=test)


def _counted(content: Mapping[str, Sequence[float]]) -> dict[str, Counted]:
    return {name: (int(windows), float(mean)) for name, (windows, mean) in content.items()}


def _errors(content: Mapping[str, dict]) -> dict[str, Errors]:
    return {
        source: Errors(**{**one, "recordings": _counted(one["recordings"]), "labels": _counted(one["labels"])})
        for source, one in content.items()
    }


def errors_on(network: nn.Module, batches: HandBatches, split: str, source: str, limit: int | None) -> Errors | None:
    """Measure a network on the two-hand windows of a source, or on about `limit` of them, evenly spread; None if it has none."""
    windows = batches.windows(split, 2, (source,), phases="first")
    if not len(windows):
        return None
    chosen = np.arange(0, len(windows), max(1, len(windows) // limit) if limit else 1)
    past, true = windows.past_future(chosen)
    answer = forecast(network, past)
    distances = distances_mm(answer, true)
    of_window = distances.mean(axis=1)
    recordings = [windows.recordings[i] for i in windows.recording_of[chosen]]
    return Errors(
        windows=len(chosen),
        mpjpe_mm=float(of_window.mean()),
        by_frame_mm=distances.mean(axis=0).astype(float).tolist(),
        mse_dm2=float(squares_dm2(answer, true).mean()),
        recordings=_means([name for _, name, _ in recordings], of_window),
        labels=_means([label for _, _, label in recordings], of_window),
    )


def _means(keys: Sequence[str], errors: np.ndarray) -> dict[str, Counted]:
    names, member = np.unique(np.array(keys), return_inverse=True)
    counts, sums = np.bincount(member), np.bincount(member, weights=errors)
    return {str(name): (int(n), float(s / n)) for name, n, s in zip(names, counts, sums, strict=True)}


def point(epoch: int, network: nn.Module, batches: HandBatches, sources: Iterable[str]) -> Point:
    """Measure one point of a learning curve: on training windows of the data's own sources, and on test windows of `sources`."""
    train = all_errors(network, batches, "train", batches.data.sources, CURVE_WINDOWS)
    return Point(
        epoch,
        {source: (errors.windows, errors.mpjpe_mm) for source, errors in train.items()},
        all_errors(network, batches, "test", sources, CURVE_WINDOWS),
    )


def all_errors(
    network: nn.Module, batches: HandBatches, split: str, sources: Iterable[str], limit: int | None = None
) -> dict[str, Errors]:
    """Measure a network on every source that has two-hand windows in a split."""
    found = ((source, errors_on(network, batches, split, source, limit)) for source in sources)
    return {source: errors for source, errors in found if errors}


def rotation_mm(network: nn.Module, task: HandForecast, batches: HandBatches) -> float:
    """Return the largest |f(R x) - R f(x)| in mm over eight rotations R of eight validation windows of the first source."""
    _, windows = batches.validation[0]
    past, _ = windows.past_future(np.linspace(0, len(windows) - 1, TURNED_WINDOWS).astype(int))
    return 1000 * violation(runner(network, task), "rotation", {"past": past})


def parameters_of(network: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
