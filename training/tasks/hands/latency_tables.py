"""The first 100 ms at the rates of trackers: what hides their latency, and how much a forecast shakes when it is asked in every frame.

    python -m training benchmark hands-latency

Recordings of 48 to 72 frames a second, and those of twice that without every second frame, are trackers of 60 Hz. Recordings of 80 frames a
second and more are faster trackers, as they are. A forecaster is asked in every frame, with what the tracker has seen so far at 60 frames a
second, as the service gives it. Baselines are fitted on training recordings of the same rates, with one setting for all sources. The
shipped forecaster of a second, which works at 30 frames a second, is asked as the service asks it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.contract.bundle import read_bundle
from models.contract.task import HandForecast
from training.catalogue import get_run
from training.engine.benchmark import markdown, measured
from training.engine.export import onnx_runner
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.data import HandBatches
from training.tasks.hands.forecast_tables import EARLY, LEAST, SEEDS, UNSEEN
from training.tasks.hands.report import BASELINES, Report, baselines, evaluate
from training.tasks.hands.served import Served
from training.tasks.hands.windows import Window

RUN = "hands-latency"
SHIPPED = "hands-forecast"
BUNDLES = Path("bundles")
RATES = {"60 Hz": (0.8, 1.2), "80 to 120 Hz": (4 / 3, 2.2)}  # as multiples of the window's rate
WINDOW = Window(59, 6, 60)  # the past of the shipped forecaster, a second, and the first 100 ms
COMPLETE = 24  # frames of the past that every forecaster sees; the earlier ones may not exist
CONSTANT = "constant velocity"


def tables(data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return Markdown tables of errors and of jitter for each rate: by source, and as a mean for each model. Raises Stopped."""
    parts: list[str] = []
    for rate in RATES:
        reports = [_report(rate, seed, data, out, watch) for seed in SEEDS]
        parts += [source_table(rate, reports), model_table(rate, reports)]
    return "\n\n".join(parts)


class Shipped(nn.Module):
    """The forecaster of a bundle, as a module."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        bundle = read_bundle(folder)
        assert isinstance(bundle.meta.task, HandForecast), f"{folder} forecasts no hands"
        self.task, self._run = bundle.meta.task, onnx_runner(bundle.model.read_bytes())

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """Return the future poses of each mode, in metres."""
        return torch.from_numpy(self._run({"past": past.numpy(), "seen": seen.numpy()})["future"])


def _report(rate: str, seed: int, data: Path, out: Path, watch: Watch) -> Report:
    """Return the report of the run at a rate, kept beside its weights; that of the first seed has all other models, too."""

    def measure(run: Run[Any, Any], network: nn.Module, folder: Path) -> Report:
        batches = HandBatches(replace(run.data, window=WINDOW, rates=RATES[rate], least=None), folder / "hands")
        models = {RUN: network}
        if seed == SEEDS[0]:
            models = {**fitted(batches), SHIPPED: Shipped(BUNDLES / SHIPPED), **models}
        served: dict[str, nn.Module] = {
            name: Served(model, WINDOW.past, WINDOW.future, WINDOW.fps) for name, model in models.items()
        }
        least = (COMPLETE, WINDOW.future)
        return evaluate(served, batches, (*run.data.sources, *UNSEEN), "test", least=least)

    return measured(get_run(RUN), seed, data, out, Report, measure, watch, file=f"test-{rate.replace(' ', '-')}.json")


def fitted(batches: HandBatches) -> dict[str, nn.Module]:
    """Return the baselines, fitted on training recordings for the first 100 ms."""
    window = replace(WINDOW, past=COMPLETE)
    task = HandForecast(past=window.past, future=window.future, fps=window.fps)
    return baselines(task, HandBatches(replace(batches.data, window=window, tempi=(1.0,)), batches.folder))


def source_table(rate: str, reports: Sequence[Report]) -> str:
    """Return the errors at the first frames in mm beside the shipped model and the best baseline of each row, and the jitter at 100 ms."""
    first = reports[0]
    lines: list[tuple[str, ...]] = []
    for source, hands in first.groups():
        own = first.row(source, hands, RUN)
        shipped, constant = (first.row(source, hands, name) for name in (SHIPPED, CONSTANT))
        cells = [source, str(hands), str(own.windows), str(own.recordings)]
        for at in EARLY:
            mean = np.mean([report.row(source, hands, RUN).at_mm[at] for report in reports])
            best = min((first.row(source, hands, name) for name in BASELINES), key=lambda row: row.at_mm[at])
            cells.append(f"{mean:.2f} / {shipped.at_mm[at]:.2f} / {best.at_mm[at]:.2f} ({best.model})")
        jitter = [row.jitter_at_mm.get(EARLY[-1]) for row in (own, shipped, constant)]
        lines.append((*cells, " / ".join("-" if value is None else f"{value:.1f}" for value in jitter)))
    header = (f"{rate}, test, mm", "hands", "frames", "recordings")
    errors = (f"{at}: {RUN} / {SHIPPED} / best" for at in EARLY)
    return markdown((*header, *errors, f"jitter at 100 ms: {RUN} / {SHIPPED} / {CONSTANT}"), lines)


def model_table(rate: str, reports: Sequence[Report]) -> str:
    """Return, for each model, its error beside that of the best baseline of each row, as a mean over rows of LEAST frames, and its jitter.

    The last columns are the means of the trained sources and of the others at 100 ms, and the share of constant velocity's jitter.
    """
    first = reports[0]
    lines = [_summary(name, reports if name == RUN else reports[:1], first) for name in (*BASELINES, SHIPPED, RUN)]
    header = (f"{rate}, test, mean over rows", *EARLY, "100 ms, trained on", "100 ms, zero-shot")
    return markdown((*header, "jitter at 100 ms"), lines)


def _summary(model: str, reports: Sequence[Report], first: Report) -> tuple[str, ...]:
    ratios: Mapping[str, list[float]] = {at: [] for at in EARLY}
    late: Mapping[bool, list[float]] = {False: [], True: []}
    jitter: list[float] = []
    for source, hands in first.groups():
        rows = [report.row(source, hands, model) for report in reports]
        if rows[0].windows < LEAST:
            continue
        for at in EARLY:
            best = min(first.row(source, hands, name).at_mm[at] for name in BASELINES)
            ratios[at].append(float(np.mean([row.at_mm[at] for row in rows])) / best)
        late[source in UNSEEN].append(ratios[EARLY[-1]][-1])
        mine = float(np.mean([row.jitter_at_mm[EARLY[-1]] for row in rows]))
        jitter.append(mine / first.row(source, hands, CONSTANT).jitter_at_mm[EARLY[-1]])
    change = [
        f"{100 * (np.mean(values) - 1):+.1f} %" if values else "-" for values in (*ratios.values(), *late.values())
    ]
    return (model, *change, f"{100 * np.mean(jitter):.0f} %")
