"""The three benchmark tables of bodies: a chiral network, its plain twin, and the twin with flips in training and in the test.

Every network is trained with every seed. Trainings and measurements that an earlier call finished are reused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.pose.ends import AveragedOverFlip
from training.catalogue import get_run
from training.engine.benchmark import markdown, measured, over_seeds
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.bodies.floors import forecasting_floor, lifting_floor, recognition_floor
from training.tasks.bodies.plots import curves
from training.tasks.bodies.report import Report, Row, measure

SEEDS = (0, 1, 2)
FEWER = SEEDS[:2]  # at the smaller shares of the data, to save 9 trainings
KINDS = {"plain": "plain", "flips": "plain, shown flips and averaged over them", "chiral": "chiral"}


@dataclass(frozen=True)
class Line:
    """One line of a table: a figure on a source, by the runs `stem`-plain, `stem`-flips and `stem`-chiral."""

    title: str
    stem: str
    source: str
    figure: str
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Suite:
    """One table; `floor` measures the baseline without a network, and `paper` quotes the published figures."""

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
        "from two frames, an easier question, which `python -m training benchmark bodies-published --tables penn` asks",
    ),
    Suite(
        "Recognition, top-1, %",
        (
            Line("Penn Action, 15 classes", "actions-penn", "penn_action", "top-1"),
            Line("NW-UCLA, 10 classes, cross-view", "actions-ucla", "nw_ucla", "top-1"),
        ),
        max,
        lambda batches, source: recognition_floor(batches, "test").row(source),
        "Kinetics-skeleton, 400 classes: plain 30.8, chiral 30.9",
    ),
)


Reports = Callable[[str, str, int], Report]  # stem, kind of network, seed -> test report


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return a Markdown table for each suite; draw lifting by its share of the data into bodies-limited-data.png in `out`.

    Raises Stopped.
    """

    @cache
    def report(stem: str, kind: str, seed: int) -> Report:
        measure_one = measure_averaged if kind == "flips" else measure_alone
        return measured(get_run(f"{stem}-{kind}"), seed, data_folder, out, Report, measure_one, watch)

    text = "\n\n".join(_table(suite, report, data_folder) for suite in SUITES)
    draw_limited_data(report, out / "bodies-limited-data.png")
    return text


def measure_alone(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Report:
    """Measure a network on the test split."""
    return measure(network, run.data.load(data_folder), "test")


def measure_averaged(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Report:
    """Measure the mean of a network's answers to the input and to its mirror image, mirrored back."""
    return measure_alone(run, AveragedOverFlip(network), data_folder)


def draw_limited_data(report: Reports, path: Path) -> None:
    """Draw MPJPE against the share of frames with known poses: the mean over seeds, and their span as a band."""

    def error(kind: str, seed: int, share: str) -> float:
        return report(f"lift-{share}", kind, seed).row("hdm05_11").figures["MPJPE"]

    errors = {
        title: np.array([[error(kind, seed, share) for share in SHARES.values()] for seed in FEWER])
        for kind, title in KINDS.items()
    }
    curves(
        errors,
        [float(share.removesuffix(" %")) for share in SHARES],
        path,
        x="share of the frames that have known poses, %",
        y="MPJPE, mm",
        title="Lifting subject mm of hdm05_11",
        logarithmic=True,
    )


def _table(suite: Suite, report: Reports, data_folder: Path) -> str:
    """Return one line for each figure: mean and spread over seeds of each network, the floor, and the number of samples."""
    rows = []
    floors: dict[str, Row] = {}
    for line in suite.lines:
        reports = {kind: [report(line.stem, kind, seed).row(line.source) for seed in line.seeds] for kind in KINDS}
        values = {kind: [row.figures[line.figure] for row in seeds] for kind, seeds in reports.items()}
        best = suite.better([float(np.mean(seeds)) for seeds in values.values()])
        if line.stem not in floors:
            batches = get_run(f"{line.stem}-chiral").data.load(data_folder)
            floors[line.stem] = suite.floor(batches, line.source)
        rows.append((
            line.title,
            *(over_seeds(seeds, best=float(np.mean(seeds)) == best) for seeds in values.values()),
            *(f"{floors[line.stem].figures[line.figure]:.1f}", str(reports["chiral"][0].samples)),
        ))  # fmt: skip
    table = markdown((suite.title, *KINDS.values(), "without a network", "samples"), rows)
    return f"{table}\n\nPublished: {suite.paper}."
