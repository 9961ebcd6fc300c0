"""training.tasks.hands.study."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.pictures.hands import strip
from training.data.licences import source_of
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import Split
from training.tasks.hands import report as hand_report
from training.tasks.hands.data import HandBatches
from training.tasks.hands.plots import error_against_horizon
from training.tasks.hands.report import EQMOTION, WITHOUT_WEIGHTS, baselines


def show_hands(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: Split) -> str:
    """Error against horizon, and a strip of skeletons of a window in the middle of each source."""
    batches: HandBatches = run.data.load(data_folder)
    models = {**baselines(run.task, batches), EQMOTION: network}
    report = hand_report.evaluate(models, batches, batches.data.sources, split)
    report.write(folder / f"{split}-beside-baselines.json")
    error_against_horizon(report, list(models), folder / f"{split}-horizon.png")
    for source, hands in report.groups():
        windows = batches.windows(split, hands, (source,), phases="first")
        past, true = windows.past_future(np.array([len(windows) // 2]))
        picture = folder / f"{split}-{source}-{hands}.png"
        strip(past[0], true[0], hand_report.forecast(network, past)[0], run.task.fps, picture)
    return f"{hand_report.table(report, models)}\n\n{hand_report.detail(report, EQMOTION)}"


def hand_facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Measured beside the forecasts without weights; the example is a window of the test split."""
    batches: HandBatches = run.data.load(data_folder)
    models = {**baselines(run.task, batches), EQMOTION: network}
    report = hand_report.evaluate(models, batches, batches.data.sources, "test")
    windows = batches.windows("test", 2, phases="first")
    past, _ = windows.past_future(np.array([len(windows) // 2]))
    sources = tuple(source_of(name, batches.recordings("train", name)) for name in batches.data.sources)
    table = hand_report.table(report, [*WITHOUT_WEIGHTS, "ridge", EQMOTION])
    return Facts({"past": past}, sources, report.measurements(EQMOTION)), table
