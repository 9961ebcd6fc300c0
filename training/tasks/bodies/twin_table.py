"""The table that tells apart why a chiral forecaster of Penn Action is behind its plain twin (`runs/twins.py`), on validation clips."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from models.pose.ends import AveragedOverFlip
from training.engine.benchmark import Choice, markdown, measured, refuse_options
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.bodies.report import Report, measure
from training.tasks.bodies.runs.twins import TWINS, Twin

FILE = "bodies-twins"
FIGURES = ("PCK@0.05", "PCK@0.05, step 1", "PCK@0.05, step 8", "PCK@0.05, step 16", "distance")
TITLES = {
    "plain": "plain",
    "flips": "plain, shown flips",
    "averaged": "plain, averaged over the flip in training and test",
    "chiral": "chiral",
}


@dataclass(frozen=True)
class Line:
    """A line of the table: a network, its size and its figures on validation clips."""

    title: str
    width: int
    parameters: int
    steps: int
    figures: dict[str, float]


Reports = Callable[[Run[Any, Any], bool], Report]  # a run, averaged over the flip or not -> validation report


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return the table in Markdown; write it with its figures into the folder of results. Raises Stopped and NoOptions."""
    refuse_options(choice, "results")

    def report(run: Run[Any, Any], averaged: bool) -> Report:
        def measure_one(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Report:
            network = AveragedOverFlip(network) if averaged else network
            return measure(network, run.data.load(data_folder), "validation")

        file = "validation-averaged.json" if averaged else "validation.json"
        return measured(run, 0, data_folder, out, Report, measure_one, watch, file=file)

    lines = [line for twin in TWINS for line in lines_of(twin, report)]
    text = table(lines)
    if choice.results is not None:
        content = [asdict(line) for line in lines]
        (choice.results / f"{FILE}.json").write_text(json.dumps(content, indent=1) + "\n")
        (choice.results / f"{FILE}.md").write_text(f"## Forecasters of Penn Action and their twins\n\n{text}\n")
    return text


def lines_of(twin: Twin, report: Reports) -> list[Line]:
    """Return the line of a network, and that of its average over the flip if it was shown flips and is not symmetric by itself."""
    run = twin.run
    parameters = sum(p.numel() for p in run.build().parameters())

    def line(title: str, averaged: bool) -> Line:
        figures = report(run, averaged).rows[0].figures
        return Line(title, twin.width, parameters, twin.steps, {name: figures[name] for name in FIGURES})

    lines = [line(TITLES[twin.kind], averaged=False)]
    return [*lines, line("plain, shown flips and averaged over them", averaged=True)] if twin.mirror else lines


def table(lines: list[Line]) -> str:
    """Return a Markdown table with a line for each network."""
    rows = [
        (line.title, str(line.width), f"{line.parameters:,}", str(line.steps), *(f"{x:.2f}" for x in line.figures.values()))
        for line in lines
    ]  # fmt: skip
    return markdown(("network", "width", "weights", "steps", *FIGURES), rows)
