"""Training on all sources but one and measuring on that one: how a hand forecaster does on recordings that it has never seen the like of.

Choices between networks are made on these figures. The test split is not read.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from models.contract.task import HandForecast
from training.engine.benchmark import markdown, measured
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.data import HandData
from training.tasks.hands.report import Report, baselines, evaluate

HandRun = Run[HandForecast, HandData]

FILE = "left-out.json"  # in the folder of a run and seed, beside its weights


def without(run: HandRun, source: str) -> HandRun:
    """Return the run on all of its sources but one, of the same name; its fingerprint differs. Raises ValueError for its last source."""
    others = tuple(name for name in run.data.sources if name != source)
    if not others or len(others) == len(run.data.sources):
        raise ValueError(f"expected one of several sources of {run.name}, {', '.join(run.data.sources)}; got {source}")
    start = None if run.start is None else without(run.start, source)
    return replace(run, data=replace(run.data, sources=others), start=start)


def left_out(run: HandRun, source: str, seed: int, data: Path, out: Path, watch: Watch = UNWATCHED) -> Report:
    """Return the report of the run without a source on that source, beside baselines that are fitted without it too.

    The windows are those of the source's validation recordings, or of its training recordings if it has no others: they were not trained
    on. The training is done, and the report written under `out`, unless they are there. Raises ValueError, Stopped.
    """
    fold = without(run, source)

    def measure(_: HandRun, network: nn.Module, folder: Path) -> Report:
        batches = fold.data.load(folder)
        split = "validation" if batches.recordings("validation", source) else "train"
        return evaluate({**baselines(run.task, batches), run.name: network}, batches, (source,), split)

    return measured(fold, seed, data, out, Report, measure, watch, file=FILE)


def table(run: HandRun, seed: int, data: Path, out: Path, watch: Watch = UNWATCHED, least: int = 1) -> str:
    """Return a Markdown table of the run on each source that is left out: its error, the best baseline's, and their ratio.

    The last line is the mean of the ratios. Groups of fewer than `least` windows are left out. Raises Stopped.
    """
    lines: list[tuple[str, ...]] = []
    ratios: list[float] = []
    for source in run.data.sources:
        report = left_out(run, source, seed, data, out, watch)
        for _, hands in report.groups():
            row, best = report.row(source, hands, run.name), report.best_without_weights(source, hands)
            if row.windows < least:
                continue
            ratios.append(row.mpjpe_mm / best.mpjpe_mm)
            figures = (f"{row.mpjpe_mm:.2f}", f"{best.mpjpe_mm:.2f} ({best.model})", f"{ratios[-1]:.3f}")
            lines.append((source, report.split, str(hands), str(row.windows), *figures))
    lines.append(("mean", "", "", "", "", "", f"{np.mean(ratios):.3f}"))
    header = (
        f"left out, {run.data.window.name}",
        "split",
        "hands",
        "windows",
        run.name,
        "best without weights",
        "ratio",
    )
    return markdown(header, lines)
