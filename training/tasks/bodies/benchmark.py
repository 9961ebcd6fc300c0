"""The three tables of bodies: a chiral network, its plain twin, and the twin with flips in training and averaged over them in the test.

Every network is trained with every seed; what is done already is not done again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.pose.ends import AveragedOverFlip
from training.catalogue import get_run
from training.engine.folders import folder_of
from training.engine.loop import trained
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.bodies.floors import forecasting_floor, lifting_floor, recognition_floor
from training.tasks.bodies.plots import curves
from training.tasks.bodies.report import Report, Row, measure

REPORT = "test.json"
SEEDS = (0, 1, 2)
FEWER = SEEDS[:2]  # where little data is known: 27 more trainings would be too many
KINDS = {"plain": "plain", "flips": "plain, shown flips and averaged over them", "chiral": "chiral"}


@dataclass(frozen=True)
class Line:
    """A line of a table: one figure of one source, by runs called `stem`-plain, -flips and -chiral."""

    title: str
    stem: str
    source: str
    figure: str
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Suite:
    """A table; `floor` is what is reached without a network, `paper` what is published beside it."""

    title: str
    lines: tuple[Line, ...]
    better: Callable[[Sequence[float]], float]
    floor: Callable[[Any, str], Row]
    paper: str


SHARES = {"0.5 %": "half", "2 %": "two", "10 %": "ten", "100 %": "all"}
PROTOCOLS = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE")
STEPS = tuple(f"PCK@0.05, step {step}" for step in range(1, 17))
SUITES = (
    Suite(
        "Lifting, subject mm of hdm05_11, mm",
        tuple(
            Line(
                f"{figure}, trained on {share} of the frames",
                f"lift-{name}",
                "hdm05_11",
                figure,
                SEEDS if name == "all" else FEWER,
            )
            for share, name in SHARES.items()
            for figure in (PROTOCOLS if name == "all" else PROTOCOLS[:1])
        ),
        min,
        lambda batches, source: lifting_floor(batches, "test", source),
        "Human3.6M, CPN, 243 frames, MPJPE: plain, shown flips 47.7, averaged over them as well 46.8, chiral 46.7",
    ),
    Suite(
        "Forecasting, Penn Action's test split, %",
        tuple(Line(figure, "forecast-penn", "penn_action", figure) for figure in ("PCK@0.05", *STEPS)),
        max,
        lambda batches, source: forecasting_floor(batches, "test").row(source),
        "the mean over 16 steps, perhaps in the pairing of TP-RNN's evaluation, which is not PCK: plain 60.4, shown flips 59.9, "
        "averaged over them as well 60.5, chiral 60.6",
    ),
    Suite(
        "Recognition, top-1, %",
        (
            Line("Penn Action, 15 classes", "actions-penn", "penn_action", "top-1"),
            Line("NW-UCLA, 10 classes, cross-view", "actions-ucla", "nw_ucla", "top-1"),
        ),
        max,
        lambda batches, _: recognition_floor(batches, "test"),
        "Kinetics-skeleton, 400 classes: plain 30.8, chiral 30.9",
    ),
)


def measured(
    run: Run[Any, Any], seed: int, data_folder: Path, out: Path, averaged: bool, watch: Watch = UNWATCHED
) -> Report:
    """The test report of a run with one seed, trained first where it is not yet. Raises Stopped."""
    folder = folder_of(out, run, seed)
    if not (folder / REPORT).is_file():
        network = trained(run, seed, data_folder, out, watch)
        network = AveragedOverFlip(network) if averaged else network
        measure(network, run.data.load(data_folder), "test").write(folder / REPORT)
    return Report.read(folder / REPORT)


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """A table a suite, in Markdown; a picture of lifting by its share of the data, bodies-limited-data.png, in `out`. Raises Stopped."""
    text = "\n\n".join(_table(suite, data_folder, out, watch) for suite in SUITES)
    draw_limited_data(data_folder, out)
    return text


def draw_limited_data(data_folder: Path, out: Path) -> None:
    """MPJPE against the share of frames whose poses are known: the mean over seeds, and their span as a band."""
    found = {
        label: np.array(
            [
                [
                    measured(get_run(f"lift-{name}-{kind}"), seed, data_folder, out, averaged=kind == "flips")
                    .row("hdm05_11")
                    .figures["MPJPE"]
                    for name in SHARES.values()
                ]
                for seed in FEWER
            ]
        )
        for kind, label in KINDS.items()
    }
    curves(
        found,
        [float(share.removesuffix(" %")) for share in SHARES],
        out / "bodies-limited-data.png",
        x="share of the frames that have known poses, %",
        y="MPJPE, mm",
        title="Lifting subject mm of hdm05_11",
        logarithmic=True,
    )


def _table(suite: Suite, data_folder: Path, out: Path, watch: Watch) -> str:
    """A line a figure: mean and spread over seeds of each network, what is reached without one, and how many samples they are over."""
    columns = [*KINDS.values(), "without a network", "samples"]
    lines = [f"| {suite.title} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    floors: dict[str, Row] = {}
    for line in suite.lines:
        runs = {kind: get_run(f"{line.stem}-{kind}") for kind in KINDS}
        rows = {
            kind: [
                measured(run, seed, data_folder, out, kind == "flips", watch).row(line.source) for seed in line.seeds
            ]
            for kind, run in runs.items()
        }
        values = {kind: [row.figures[line.figure] for row in found] for kind, found in rows.items()}
        best = suite.better([float(np.mean(found)) for found in values.values()])
        cells = [_cell(found, best) for found in values.values()]
        if line.stem not in floors:
            floors[line.stem] = suite.floor(runs["chiral"].data.load(data_folder), line.source)
        cells += [f"{floors[line.stem].figures[line.figure]:.1f}", str(rows["chiral"][0].samples)]
        lines.append(f"| {line.title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Published: {suite.paper}."])


def _cell(values: Sequence[float], best: float) -> str:
    text = f"{np.mean(values):.1f} ± {np.std(values):.1f}"
    return f"**{text}**" if float(np.mean(values)) == best else text
