"""The table of a shipped face landmarker over seeds, beside its bundle and the mean face.

    python -m training benchmark faces-seeds --results benchmarks/results

`face-depth` takes about four minutes of a core for each seed, with all its steps. `--models face-se3unet` takes 115.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.contract.bundle import Measurement, read_bundle
from training.catalogue import get_run
from training.engine.benchmark import Choice, NoOptions, markdown, measured, refuse_options
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.faces import study
from training.tasks.faces.report import Report, figures

FILE = "faces-seeds"
MODELS = ("face-depth",)
OTHERS = ("face-se3unet",)  # on demand: a seed takes 110 minutes
SEEDS = 3
BUNDLES = Path(__file__).parents[3] / "bundles"


@dataclass(frozen=True)
class Line:
    """One figure of a network on a source of test scans: its value with each seed, of the bundle, and of the mean face."""

    model: str
    source: str
    scans: int
    figure: str
    unit: str
    values: tuple[float, ...]
    shipped: float | None
    floor: float | None


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return a table of each network in Markdown; write them with their figures into the folder of results.

    The bundle's and the mean face's figures are those of the card, so they are not measured again. Raises Stopped, and NoOptions for
    other options than models, seeds and results and for a network without a table.
    """
    refuse_options(choice, "results", "models", "seeds")
    if unknown := set(choice.models) - {*MODELS, *OTHERS}:
        raise NoOptions(f"expected models among {', '.join(MODELS + OTHERS)}, got {', '.join(sorted(unknown))}")
    texts, lines = [], []
    for model in choice.models or MODELS:
        run = get_run(model)
        reports = [
            measured(run, seed, data_folder, out, Report, measure_alone, watch) for seed in range(choice.seeds or SEEDS)
        ]
        own = lines_of(model, reports, read_bundle(BUNDLES / model).meta.measurements)
        texts.append(f"{budget(run)}\n\n{table(own)}")
        lines += own
    text = "\n\n".join(texts)
    if choice.results is not None:
        content = [asdict(line) for line in lines]
        (choice.results / f"{FILE}.json").write_text(json.dumps(content, indent=1) + "\n")
        (choice.results / f"{FILE}.md").write_text(f"## Landmarks of faces over seeds\n\n{text}\n")
    return text


def measure_alone(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Report:
    """Fit what training leaves out and measure the test split."""
    return study.measure(run, network, run.data.load(data_folder), data_folder, "test")[0]


def budget(run: Run[Any, Any]) -> str:
    """Return what a seed is trained for: the steps of its stages, and scans or maps of a step."""
    steps = " + ".join(f"{stage.optimisation.steps:,}" for stage in run.stages)
    return f"`{run.name}`: {steps} steps of {run.data.batch} with each seed, as for the bundle."


def lines_of(model: str, reports: Sequence[Report], card: Sequence[Measurement]) -> list[Line]:
    """Return the lines of a network from its report with each seed and the measurements of its card."""
    shipped = {(one.source, one.metric): one for one in card}
    lines = []
    for index, first in enumerate(reports[0].rows):
        every = [figures(report.rows[index].scores) for report in reports]
        for figure, unit in every[0]:
            beside = shipped.get((first.source, figure))
            lines.append(
                Line(
                    model,
                    first.source,
                    first.scores.faces,
                    figure,
                    unit,
                    tuple(own[figure, unit] for own in every),
                    beside and beside.value,
                    beside and beside.baseline_value,
                )
            )
    return lines


def table(lines: Sequence[Line]) -> str:
    """Return a Markdown table: mean ± spread over seeds, each seed, the bundle, and the mean face."""
    seeds = len(lines[0].values)
    header = ("scans", "number", "figure", f"mean ± spread over {seeds} seeds", "each", "shipped", "mean face, aligned")
    rows = [
        (
            line.source,
            str(line.scans),
            f"{line.figure}, {line.unit}",
            f"{np.mean(line.values):.2f} ± {np.std(line.values):.2f}",
            ", ".join(f"{value:.2f}" for value in line.values),
            *("-" if value is None else f"{value:.2f}" for value in (line.shipped, line.floor)),
        )
        for line in lines
    ]
    return markdown(header, rows)
