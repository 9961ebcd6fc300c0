"""The study of hand forecasters: a trained run measured beside the forecasts that need no training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.contract.bundle import Measurement
from models.pictures.hands import draw_hands
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import MeasuredSplit, Study
from training.tasks.hands.calibration import Correction, fit
from training.tasks.hands.data import HandBatches
from training.tasks.hands.plots import error_against_horizon
from training.tasks.hands.report import (
    BASELINES,
    Report,
    baselines,
    detail,
    evaluate,
    forecast,
    steadiness,
    table,
    unused,
)


def beside_baselines(run: Run[Any, Any], network: nn.Module, batches: HandBatches, split: MeasuredSplit) -> Report:
    """Measure a run, under its name, and the baselines on every source that it is trained on."""
    models = {**baselines(run.task, batches), run.name: network}
    return evaluate(models, batches, batches.data.sources, split)


def show(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: MeasuredSplit) -> str:
    """Measure a split; draw the error against the horizon, and the middle window of each source as a strip of skeletons.

    Returns a table of all models, one of the run alone, one of how steady the run and constant velocity are, and the recordings that are
    not measured.
    """
    batches: HandBatches = run.data.load(data_folder)
    report = beside_baselines(run, network, batches, split)
    report.write(folder / f"{split}-beside-baselines.json")
    error_against_horizon(report, [*BASELINES, run.name], folder / f"{split}-horizon.png")
    for source, hands in report.groups():
        past, true = _middle_window(batches, split, hands, (source,))
        picture = folder / f"{split}-{source}-{hands}.png"
        draw_hands(past[0], true[0], forecast(network, past)[0], run.task.fps, picture, order=run.task.layout)
    parts = (
        table(report, [*BASELINES, run.name]),
        detail(report, run.name),
        steadiness(report, ["hold", "constant velocity", run.name]),
        unused(report),
    )
    return "\n\n".join(part for part in parts if part)


def facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Measure the test split for a bundle; the example is a window from it, of two hands if it has any."""
    batches: HandBatches = run.data.load(data_folder)
    report = beside_baselines(run, network, batches, "test")
    past, _ = _middle_window(batches, "test", max(hands for _, hands in report.groups()))
    sources = tuple(
        batches.data.source(name).trained_on(batches.recordings("train", name)) for name in batches.data.sources
    )
    told = Facts(batches.inputs(past), sources, report.measurements(run.name))
    if run.task.spread:
        told = corrected(told, fit(network, batches.validation_groups()))
    return told, table(report, [*BASELINES, run.name])


def compared(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Measurement, ...]:
    """Measure the validation split beside the forecast without weights to beat."""
    batches: HandBatches = run.data.load(data_folder)
    return beside_baselines(run, network, batches, "validation").measurements(run.name)


def corrected(told: Facts, correction: Correction) -> Facts:
    """Return the facts with a correction of `std`, which the exporter puts into the graph, and its intervals."""
    intervals = {f"{share:g}": round(deviations, 4) for share, deviations in correction.deviations.items()}
    return replace(told, factors={"std": correction.factors[:, None]}, intervals=intervals)


def _middle_window(
    batches: HandBatches, split: MeasuredSplit, hands: int, sources: tuple[str, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    windows = batches.windows(split, hands, sources, phases="first")
    return windows.past_future(np.array([len(windows) // 2]))


STUDY = Study(show, facts, compared=compared)
