"""The benchmark of hand forecasters: every run trained and measured with every seed, beside the forecasts without weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from training.catalogue import get_run
from training.engine.benchmark import bold, interval, markdown, measured, over_seeds
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.report import BASELINES, Report, baselines, evaluate

SOURCES = ("manipnet", "humoto", "leap", "tzionas", "assembly101_sample")


@dataclass(frozen=True)
class Suite:
    """One table: runs with the same window, by column title, all measured on `sources` whatever they were trained on."""

    title: str
    runs: dict[str, str]
    sources: tuple[str, ...] = SOURCES
    seeds: tuple[int, ...] = (0, 1, 2)


SUITES = (
    Suite("10+10@30", {"reference structure": "hands-reference-10-10", "EqMotion": "hands-eqmotion-10-10"}),
    Suite("30+30@30", {"reference structure": "hands-reference-30-30", "EqMotion": "hands-eqmotion-30-30"}),
)


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return a Markdown table for each suite. Raises Stopped."""
    return "\n\n".join(_suite_table(suite, data_folder, out, watch) for suite in SUITES)


def _suite_table(suite: Suite, data_folder: Path, out: Path, watch: Watch) -> str:
    runs = {title: get_run(name) for title, name in suite.runs.items()}

    def measure(run: Run[Any, Any], network: nn.Module, folder: Path) -> Report:
        return evaluate({run.name: network}, run.data.load(folder), suite.sources, "test")

    reports = {
        title: [measured(run, seed, data_folder, out, Report, measure, watch) for seed in suite.seeds]
        for title, run in runs.items()
    }
    first = next(iter(runs.values()))
    batches = first.data.load(data_folder)
    floor = evaluate(baselines(first.task, batches), batches, suite.sources, "test")
    return _table(suite, floor, reports)


def _table(suite: Suite, floor: Report, reports: Mapping[str, Sequence[Report]]) -> str:
    """Return one line for each source and number of hands.

    A line has the baselines, then the mean and spread over seeds of each run. The gain is that of the last run over the best forecast
    without weights. The interval is that run's, over recordings, for the first seed.
    """
    last = list(reports)[-1]
    counts = ("hands", "windows", "recordings")
    header = (f"{suite.title}, test", *counts, *BASELINES, *reports, "gain", "95 % interval")
    lines = []
    for source, hands in floor.groups():
        best = floor.best_without_weights(source, hands)
        rows = {
            title: [report.row(source, hands, suite.runs[title]) for report in seeds]
            for title, seeds in reports.items()
        }
        errors = {title: [row.mpjpe_mm for row in seeds] for title, seeds in rows.items()}
        gain = 100 * (1 - np.mean(errors[last]) / best.mpjpe_mm)
        lines.append((
            *(source, str(hands), str(best.windows), str(best.recordings)),
            *(bold(f"{floor.row(source, hands, name).mpjpe_mm:.1f}", name == best.model) for name in BASELINES),
            *map(over_seeds, errors.values()),
            *(f"{gain:.1f} %", interval(rows[last][0].interval_mm)),
        ))  # fmt: skip
    return markdown(header, lines)
