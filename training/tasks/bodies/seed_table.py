"""Tables of the shipped models of bodies over seeds, each figure beside the best baseline without a network.

python -m training benchmark bodies-seeds --results benchmarks/results
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from training.catalogue import get_run
from training.engine.benchmark import Choice, NoOptions, bold, markdown, measured, refuse_options
from training.engine.watch import Watch
from training.tasks.bodies.benchmark import measure_alone
from training.tasks.bodies.report import Report
from training.tasks.bodies.study import NAMES, UNITS, Floors, best_floor, floors

FILE = "bodies-seeds"
MODELS = ("poses-forecast", "actions-hdm05", "poses-lift")
SEEDS = 3


@dataclass(frozen=True)
class Line:
    """One figure of a model on a source of test data: its value with each seed, and the best baseline."""

    model: str
    source: str
    samples: int
    figure: str
    values: tuple[float, ...]
    floor: str
    floor_value: float

    @property
    def beating(self) -> int:
        """Return the number of seeds that are no worse than the baseline, which the units say how to compare."""
        sign = 1 if UNITS.get(self.figure) == "%" else -1
        return sum(sign * value >= sign * self.floor_value for value in self.values)


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return a table of each chosen model in Markdown; write them with their figures into the folder of results.

    Figures of other models that an earlier call has written there stay. Raises Stopped, and NoOptions for other options than models,
    seeds and results and for a model without a table.
    """
    refuse_options(choice, "results", "models", "seeds")
    if unknown := set(choice.models) - set(MODELS):
        raise NoOptions(f"expected models among {', '.join(MODELS)}, got {', '.join(sorted(unknown))}")

    def report(model: str, seed: int) -> Report:
        return measured(get_run(model), seed, data_folder, out, Report, measure_alone, watch)

    chosen, lines = choice.models or MODELS, []
    for model in chosen:
        reports = [report(model, seed) for seed in range(choice.seeds or SEEDS)]
        lines += lines_of(model, reports, floors(get_run(model).data.load(data_folder), "test"))
    if choice.results is not None:
        path = choice.results / f"{FILE}.json"
        every = sorted([*_of_others(path, chosen), *lines], key=lambda line: MODELS.index(line.model))
        path.write_text(json.dumps([asdict(line) for line in every], indent=1) + "\n")
        path.with_suffix(".md").write_text(f"## Shipped models of bodies over seeds\n\n{_tables(every)}\n")
    return _tables(lines)


def lines_of(model: str, reports: Sequence[Report], without: Floors) -> list[Line]:
    """Return the lines of a model from its report with each seed; figures of single steps are left out."""
    return [
        Line(
            model,
            row.source,
            row.samples,
            figure,
            tuple(report.row(row.source).figures[figure] for report in reports),
            *best_floor(without, row.source, figure),
        )
        for row in reports[0].rows
        for figure in row.figures
        if "step" not in figure
    ]


def _of_others(path: Path, chosen: Sequence[str]) -> list[Line]:
    """Return the lines in a file of results, if there is one, of models with a table that were not chosen."""
    written, others = json.loads(path.read_text()) if path.is_file() else [], set(MODELS) - set(chosen)
    return [Line(**{**line, "values": tuple(line["values"])}) for line in written if line["model"] in others]


def _tables(lines: Sequence[Line]) -> str:
    """Return a Markdown table of each model, in the order of MODELS."""
    own = ([line for line in lines if line.model == model] for model in MODELS)
    return "\n\n".join(table(some) for some in own if some)


def table(lines: Sequence[Line]) -> str:
    """Return a Markdown table; the better of network and baseline is in bold type."""
    header = (
        lines[0].model,
        "figure",
        "samples",
        f"mean ± spread over {len(lines[0].values)} seeds",
        "best baseline",
        "seeds no worse",
    )
    rows = []
    for line in lines:
        shown = digits([*line.values, line.floor_value])
        better = line.beating > len(line.values) / 2
        mean = f"{shown(float(np.mean(line.values)))} ± {shown(float(np.std(line.values)))}"
        rows.append((
            line.source,
            _title(line.figure),
            str(line.samples),
            bold(mean, better),
            f"{bold(shown(line.floor_value), not better)}, {line.floor}",
            f"{line.beating} of {len(line.values)}",
        ))  # fmt: skip
    return markdown(header, rows)


def digits(values: Sequence[float]) -> Callable[[float], str]:
    """Return a formatter with as many digits as the least of the values needs: one, or three for numbers under 1."""
    return (lambda x: f"{x:.3f}") if min(values) < 1 else (lambda x: f"{x:.1f}")


def _title(figure: str) -> str:
    unit = UNITS.get(figure, "mm")
    return f"{NAMES.get(figure, figure)}, {unit}"
