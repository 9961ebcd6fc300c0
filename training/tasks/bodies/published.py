"""The tables of Chirality Nets (Yeh, Hu and Schwing 2019) with its columns: our networks on their data, beside the published means.

A published figure stands only in a line that answers the same question. Every line trains its run if it is not trained yet; docs/papers.md
has the data that each table needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.catalogue import get_run
from training.engine.benchmark import REPORT, Choice, markdown, measured, over_seeds, refuse_options
from training.engine.folders import folder_of
from training.engine.watch import Watch
from training.tasks.bodies.benchmark import measure_alone, measure_averaged
from training.tasks.bodies.cells import HUMAN36M, HUMANEVA
from training.tasks.bodies.floors import forecasting_floor, lifting_floor
from training.tasks.bodies.report import Report, Row
from training.tasks.bodies.runs.published import SUBSETS

AVERAGED = "test-averaged.json"  # beside the report of the network alone
NETWORKS = {  # their kind of run, and whether they are averaged over the flip
    "plain": ("plain", False),
    "plain, shown flips": ("flips", False),
    "plain, shown flips and averaged over them": ("flips", True),
    "chiral, the paper's map": ("chiral", False),
    "chiral, full map": ("full", False),
}


class UnknownTable(ValueError):
    """A table that does not exist."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a run, averaged over the flip or not, and the published mean, if there is one."""

    title: str
    run: str
    averaged: bool = False
    published: str = ""


@dataclass(frozen=True)
class Table:
    """A table of one source and figure, with a column for each cell of it.

    `floor` measures a baseline without a network. `mean` adds the mean over the cells.
    """

    title: str
    source: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    cell: Callable[[Row, str], float | None]
    floor: Callable[[Any, str], Row] | None = None
    mean: bool = True


def lines(stem: str, published: dict[str, str], first: str = "") -> tuple[Line, ...]:
    """Return a line for each network with its published mean; `first` is written before its name."""
    return tuple(
        Line(f"{first}{title}", f"{stem}-{kind}", averaged, published.get(title, ""))
        for title, (kind, averaged) in NETWORKS.items()
    )


def lift_cell(figure: str) -> Callable[[Row, str], float | None]:
    """Return the reader of a figure of lifting in a cell."""
    return lambda row, cell: row.cells.get(cell, {}).get(figure)


def _figure(row: Row, name: str) -> float | None:
    return row.figures.get(name)


def _of_all(row: Row, _: str) -> float | None:
    return row.figures["MPJPE"]


def _lift_floor(batches: Any, source: str) -> Row:
    return lifting_floor(batches, "test", source)


def _penn_floor(batches: Any, source: str) -> Row:
    return forecasting_floor(batches, "test").row(source)


PLAIN, SHOWN, TWICE, CHIRAL = list(NETWORKS)[:4]
SINGLE = lines("lift-human36m-single", {TWICE: "51.8", CHIRAL: "51.4"}, "single frame: ")
EVA_1 = {SHOWN: "33.3", TWICE: "33.0", CHIRAL: "32.2"}
EVA_2 = {SHOWN: "31.1", TWICE: "30.8", CHIRAL: "30.6"}
PENN = {PLAIN: "60.4", SHOWN: "59.9", TWICE: "60.5", CHIRAL: "60.6"}
STEPS = range(1, 17)
LIMITED = {"s1-per-1000": "100.4"}  # of the chiral network
TABLES = {
    "human36m": Table(
        "Human3.6M, protocol 1 (MPJPE), mm",
        "human36m",
        HUMAN36M,
        (*SINGLE, *lines("lift-human36m", {SHOWN: "47.7", TWICE: "46.8", CHIRAL: "46.7"}, "243 frames: ")),
        lift_cell("MPJPE"),
        _lift_floor,
    ),
    "human36m-aligned": Table(
        "Human3.6M, protocol 2 (P-MPJPE), mm",
        "human36m",
        HUMAN36M,
        lines("lift-human36m", {TWICE: "36.5", CHIRAL: "about 36.8"}, "243 frames: "),
        lift_cell("P-MPJPE"),
        _lift_floor,
    ),
    "human36m-limited": Table(
        "Human3.6M, less labelled data, protocol 1 (MPJPE), mm",
        "human36m",
        ("mean over actions",),
        tuple(
            Line(f"{title}: {network}", f"lift-human36m-{subset}-{kind}", averaged, published)
            for subset, (title, _, _) in SUBSETS.items()
            for network, kind, averaged, published in (
                (SHOWN, "flips", False, ""),
                (TWICE, "flips", True, "102.3" if subset in LIMITED else ""),
                (CHIRAL, "chiral", False, LIMITED.get(subset, "")),
            )
        ),
        _of_all,
        mean=False,
    ),
    "humaneva": Table(
        "HumanEva-I, protocol 1 (MPJPE), mm",
        "humaneva",
        HUMANEVA,
        lines("lift-humaneva", EVA_1),
        lift_cell("MPJPE"),
        _lift_floor,
    ),
    "humaneva-aligned": Table(
        "HumanEva-I, protocol 2 (P-MPJPE), mm",
        "humaneva",
        HUMANEVA,
        lines("lift-humaneva", EVA_2),
        lift_cell("P-MPJPE"),
        _lift_floor,
    ),
    "penn": Table(
        "Penn Action from two frames, PCK@0.05, %",
        "penn_action",
        tuple(f"PCK@0.05, step {step}" for step in STEPS),
        lines("forecast-penn-velocity", PENN),
        _figure,
        _penn_floor,
    ),
    "penn-legacy": Table(
        "Penn Action from two frames, in the pairing of TP-RNN's evaluation, %",
        "penn_action",
        tuple(f"legacy pairing, step {step}" for step in STEPS),
        lines("forecast-penn-velocity", PENN),
        _figure,
        _penn_floor,
    ),
    "kinetics": Table(
        "Kinetics-skeleton, %",
        "kinetics",
        ("top-1", "top-5"),
        lines("actions-kinetics", {SHOWN: "30.8, 52.6", CHIRAL: "30.9, 53.0"}),
        _figure,
        mean=False,
    ),
}


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return the chosen tables, or all, as Markdown; write each into the folder `results` too, if there is one.

    Raises UnknownTable, NoOptions, Stopped, and what reading the data raises.
    """
    refuse_options(choice, "tables", "seeds", "results", "train")
    if unknown := [name for name in choice.tables if name not in TABLES]:
        raise UnknownTable(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    texts = {
        name: _text(TABLES[name], data_folder, out, watch, range(choice.seeds or 1), train=choice.train)
        for name in choice.tables or TABLES
    }
    if choice.results:
        choice.results.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (choice.results / f"bodies-{name}.md").write_text(text + "\n")
    return "\n\n".join(texts.values())


def _text(table: Table, data_folder: Path, out: Path, watch: Watch, seeds: Sequence[int], *, train: bool) -> str:
    """Return a table: its lines with their cells, the mean and the published mean, and a note on cells that the data lack."""
    rows, there = [], set(table.columns)
    if table.floor is not None and train:
        batches = get_run(table.lines[0].run).data.load(data_folder)
        rows.append(("without a network", *_cells(table, [table.floor(batches, table.source)]), ""))
    for line in table.lines:
        reports = [_report(line, seed, data_folder, out, watch, train=train) for seed in seeds]
        known = [report.row(table.source) for report in reports if report is not None]
        rows.append((line.title, *_cells(table, known), line.published))
        there &= {column for column in table.columns if not known or table.cell(known[0], column) is not None}
    mean = ("mean",) if table.mean else ()
    text = markdown((table.title, *table.columns, *mean, "published"), rows)
    if len(there) == len(table.columns):
        return text
    return f"{text}\n\nThe data have {len(there)} of the {len(table.columns)} columns, over which the means are taken."


def _cells(table: Table, rows: Sequence[Row]) -> list[str]:
    """Return the cells of a line from its rows, one a seed, and their mean; "-" for a cell without a figure."""
    values = {column: [table.cell(row, column) for row in rows] for column in table.columns}
    known = {column: [x for x in seeds if x is not None] for column, seeds in values.items()}
    cells = [_over(seeds) for seeds in known.values()]
    if table.mean:
        by_seed = zip(*(seeds for seeds in known.values() if seeds), strict=True)
        cells.append(_over([float(np.mean(seed)) for seed in by_seed]))
    return cells


def _over(seeds: Sequence[float]) -> str:
    if not seeds:
        return "-"
    return over_seeds(seeds) if len(seeds) > 1 else f"{seeds[0]:.1f}"


def _report(line: Line, seed: int, data_folder: Path, out: Path, watch: Watch, *, train: bool) -> Report | None:
    """Return the test report of a line's run and seed; None if it is not measured yet and nothing may be trained."""
    run = get_run(line.run)
    measure, file = (measure_averaged, AVERAGED) if line.averaged else (measure_alone, REPORT)
    if not train and not (folder_of(out, run, seed) / file).is_file():
        return None
    return measured(run, seed, data_folder, out, Report, measure, watch, file=file)
