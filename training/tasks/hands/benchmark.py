"""The table of hand forecasters: every model trained and measured with every seed; what is done already is not done again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.contract.task import HandForecast
from training.catalogue import get_run
from training.engine.folders import folder_of
from training.engine.loop import trained
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.data import HandData
from training.tasks.hands.report import (
    WITHOUT_WEIGHTS,
    Report,
    baselines,
    evaluate,
)

REPORT = "test.json"


@dataclass(frozen=True)
class Suite:
    """Runs of one window, by the name they have in the table; `sources` are measured, whatever the runs were trained on."""

    title: str
    runs: dict[str, str]
    sources: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)


HANDS = ("manipnet", "humoto", "leap", "tzionas", "assembly101_sample")
SUITES = (
    Suite("10+10@30", {"reference structure": "hands-reference-10-10", "EqMotion": "hands-eqmotion-10-10"}, HANDS),
    Suite("30+30@30", {"reference structure": "hands-reference-30-30", "EqMotion": "hands-eqmotion-30-30"}, HANDS),
)


def measured(
    run: Run[HandForecast, HandData],
    seed: int,
    data_folder: Path,
    out: Path,
    sources: tuple[str, ...],
    watch: Watch = UNWATCHED,
) -> Report:
    """The test report of a run with one seed, trained first where it is not yet. Raises Stopped."""
    folder = folder_of(out, run, seed)
    if not (folder / REPORT).is_file():
        network = trained(run, seed, data_folder, out, watch)
        evaluate({run.name: network}, run.data.load(data_folder), sources, "test").write(folder / REPORT)
    return Report.read(folder / REPORT)


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """A table a suite, in Markdown. Raises Stopped."""
    parts = []
    for suite in SUITES:
        runs = {label: get_run(run) for label, run in suite.runs.items()}
        first = next(iter(runs.values()))
        floor = evaluate(baselines(first.task, batches := first.data.load(data_folder)), batches, suite.sources, "test")
        reports = {
            label: [measured(run, seed, data_folder, out, suite.sources, watch) for seed in suite.seeds]
            for label, run in runs.items()
        }
        parts += [_table(suite, floor, reports, {label: run.name for label, run in runs.items()})]
    return "\n\n".join(parts)


def _table(suite: Suite, floor: Report, reports: dict[str, list[Report]], names: dict[str, str]) -> str:
    """A line a source: the forecasts without weights, mean and spread over seeds of each trained model, the gain of the last of them
    over the best without weights, and that one's 95 % interval (first seed, over recordings)."""
    fixed = [*WITHOUT_WEIGHTS, "ridge"]
    lines = [
        f"| {suite.title}, test | hands | windows | recordings | {' | '.join([*fixed, *reports])} | gain | 95 % interval |",
        "|---" * (6 + len(fixed) + len(reports)) + "|",
    ]
    last = list(reports)[-1]
    for source, hands in floor.groups():
        best = floor.best_without_weights(source, hands)
        cells = [_bold(f"{floor.row(source, hands, model).mpjpe_mm:.1f}", model == best.model) for model in fixed]
        rows = {label: [seed.row(source, hands, names[label]) for seed in seeds] for label, seeds in reports.items()}
        means = {label: np.mean([row.mpjpe_mm for row in found]) for label, found in rows.items()}
        cells += [f"{means[label]:.1f} ± {np.std([row.mpjpe_mm for row in rows[label]]):.1f}" for label in reports]
        interval = "one recording" if (i := rows[last][0].interval_mm) is None else f"{i[0]:.1f} to {i[1]:.1f}"
        gain = 100 * (1 - means[last] / best.mpjpe_mm)
        counts = f"{source} | {hands} | {best.windows} | {best.recordings}"
        lines.append(f"| {counts} | {' | '.join(cells)} | {gain:.1f} % | {interval} |")
    return "\n".join(lines)


def _bold(text: str, on: bool) -> str:
    return f"**{text}**" if on else text
