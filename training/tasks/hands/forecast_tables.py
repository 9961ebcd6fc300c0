"""The tables of the shipped hand forecaster on the test recordings, with three seeds, beside every baseline.

    python -m training benchmark hands-forecast

The baselines are fitted on training recordings for each window, with one setting for all sources. "Best" is the best of them in that row.
Sources that are not trained on are zero-shot. Rows of fewer than LEAST windows are shown and have no part in the means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from training.catalogue import get_run
from training.engine.benchmark import bold, markdown, measured
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.calibration import Calibration, calibration, fit
from training.tasks.hands.data import HandBatches
from training.tasks.hands.report import BASELINES, Report, baselines, evaluate
from training.tasks.hands.robustness import Filled, costs, table
from training.tasks.hands.shorter import Shorter
from training.tasks.hands.windows import PRESETS, Window

RUN = "hands-forecast"
SEEDS = (0, 1, 2)
UNSEEN = ("manipnet", "humoto", "assembly101_sample")
NOT_SHIPPED = ("manipnet", "humoto")  # sources that are added for the record, with one seed
WINDOWS = (PRESETS["10+10@30"], PRESETS["30+30@30"])
EARLY = ("33 ms", "67 ms", "100 ms")
LEAST = 100


def tables(data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return Markdown tables of the errors over each window and at the first frames, and of calibration. Raises Stopped."""
    parts: list[str] = []
    for window in WINDOWS:
        reports = [_report(get_run(RUN), window, seed, data, out, watch) for seed in SEEDS]
        parts += [errors_table(reports), early_table(reports)]
    parts += [calibration_table(data, out, watch), robustness_table(data, out, watch)]
    return "\n\n".join([*parts, *(all_sources_table(window, data, out, watch) for window in WINDOWS)])


def all_sources_table(window: Window, data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return the errors on the sources that do not ship when they are trained on too, for the record: these weights are not shipped."""
    run: Run[Any, Any] = get_run(RUN)
    run = replace(run, data=replace(run.data, sources=(*run.data.sources, *NOT_SHIPPED)))
    return errors_table([_report(run, window, SEEDS[0], data, out, watch)], NOT_SHIPPED)


def _report(run: Run[Any, Any], window: Window, seed: int, data: Path, out: Path, watch: Watch) -> Report:
    """Return the report of the run on a window, kept beside its weights; that of the first seed has the baselines, too."""

    def measure(run: Run[Any, Any], network: nn.Module, folder: Path) -> Report:
        batches = HandBatches(replace(run.data, window=window, least=None), folder / "hands")
        task = run.task.model_copy(update={"past": window.past, "future": window.future, "modes": 1})
        floor = baselines(task, batches) if seed == SEEDS[0] else {}
        models = {**floor, RUN: Shorter(network, window.past, window.future)}
        return evaluate(models, batches, tuple(dict.fromkeys((*run.data.sources, *UNSEEN))), "test")

    return measured(run, seed, data, out, Report, measure, watch, file=f"test-{window.name}.json")


def errors_table(reports: Sequence[Report], sources: Sequence[str] | None = None) -> str:
    """Return the mean error over all future frames in mm, of the baselines and of the run as mean and spread over seeds.

    Rows are those of `sources`, or of all without it.
    """
    first = reports[0]
    trained = f"{RUN}, trained on these too" if sources else RUN
    lines: list[tuple[str, ...]] = []
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for source, hands in first.groups():
        if sources and source not in sources:
            continue
        floor = {name: first.row(source, hands, name).mpjpe_mm for name in BASELINES}
        own = [report.row(source, hands, RUN) for report in reports]
        mean, best = float(np.mean([row.mpjpe_mm for row in own])), min(floor.values())
        if own[0].windows >= LEAST:
            ratios[source in UNSEEN].append(mean / best)
        lines.append((
            source, str(hands), str(own[0].windows), str(own[0].recordings),
            *(bold(f"{value:.1f}", value == best) for value in floor.values()),
            f"{mean:.1f} ± {np.std([row.mpjpe_mm for row in own]):.1f}", f"{100 * (mean / best - 1):+.1f} %",
        ))  # fmt: skip
    for unseen, name in ((False, "mean, trained on"), (True, "mean, zero-shot")):
        if ratios[unseen] and not sources:
            lines.append((name, *[""] * (4 + len(BASELINES)), f"{100 * (np.mean(ratios[unseen]) - 1):+.1f} %"))
    header = (f"{first.window}, test, mm", "hands", "windows", "recordings", *BASELINES, trained, "to the best")
    return markdown(header, lines)


def early_table(reports: Sequence[Report]) -> str:
    """Return the errors of the first frames in mm with the best baseline of each, and the jitter at 100 ms beside constant velocity."""
    first = reports[0]
    lines: list[tuple[str, ...]] = []
    gains: Mapping[str, list[float]] = {at: [] for at in EARLY}
    for source, hands in first.groups():
        cells: list[str] = []
        for at in EARLY:
            best = min((first.row(source, hands, name) for name in BASELINES), key=lambda row: row.at_mm[at])
            mean = float(np.mean([report.row(source, hands, RUN).at_mm[at] for report in reports]))
            if best.windows >= LEAST:
                gains[at].append(mean / best.at_mm[at])
            cells.append(f"{mean:.2f} / {best.at_mm[at]:.2f} ({best.model})")
        jitter = [first.row(source, hands, name).jitter_at_mm.get("100 ms") for name in (RUN, "constant velocity")]
        cells.append(" / ".join("-" if value is None else f"{value:.1f}" for value in jitter))
        lines.append((source, str(hands), *cells))
    lines.append(("mean", "", *(f"{100 * (np.mean(gains[at]) - 1):+.1f} %" for at in EARLY), ""))
    header = (f"{first.window}, test, mm", "hands", *(f"{at}: {RUN} / best" for at in EARLY))
    return markdown((*header, "jitter at 100 ms / constant velocity"), lines)


def _first(data: Path, out: Path, watch: Watch) -> tuple[nn.Module, HandBatches]:
    """Return the network of the first seed and its data."""
    from training.engine.loop import trained  # it imports Fabric, which takes as long as torch

    run = get_run(RUN)
    return trained(run, SEEDS[0], data, out, watch), run.data.load(data)


def robustness_table(data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return what faults of a tracker cost the first seed, and a damped velocity that is fitted on training recordings."""
    network, batches = _first(data, out, watch)
    task = get_run(RUN).task.model_copy(update={"modes": 1})
    damped = Filled(baselines(task, batches)["damped velocity"], task.past)
    return table(costs({RUN: network, "damped velocity": damped}, batches, batches.data.sources, "test", 4))


def calibration_table(data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return, by source, the coverage of the first seed's intervals, corrected as in its bundle, and the error of its nearest mode."""
    network, batches = _first(data, out, watch)
    run = get_run(RUN)
    lines: list[tuple[str, ...]] = []
    found: list[Calibration] = []
    correction = fit(network, batches.validation_groups())
    for source in (*run.data.sources, *UNSEEN):
        for hands in (2, 1):
            windows = batches.windows("test", hands, (source,), phases="first")
            if len(windows) == 0:
                continue
            past, true = windows.past_future(np.arange(0, len(windows), 2))
            found.append(one := calibration(network, past, true, correction))
            cells = (f"{one.first_mm:.1f}", f"{one.nearest_mm:.1f}", f"{one.likeliest_mm:.1f}")
            lines.append((source, str(hands), *(f"{100 * x:.0f}" for x in one.covered.values()), *cells))
    covered = (f"{100 * np.mean([one.covered[share] for one in found]):.0f}" for share in found[0].covered)
    gain = np.mean([one.nearest_mm / one.first_mm for one in found])
    lines.append(("mean", "", *covered, "", f"{100 * (gain - 1):+.1f} %", ""))
    header = (f"{run.data.window.name}, test", "hands", *(f"in {share}" for share in found[0].covered))
    return markdown((*header, "mode 0, mm", "nearest mode, mm", "likeliest mode, mm"), lines)
