"""A benchmark: runs that are trained where needed, measured once, and compared in Markdown tables."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from torch import nn

from training.engine.folders import folder_of
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch

REPORT = "test.json"  # in the folder of a run and seed, beside its weights


@dataclass(frozen=True)
class Choice:
    """The options of a benchmark; None or () leaves the choice to each table.

    `tables` and `models` are names, `preset` is a window, `seeds` a number of seeds. The tables go into the folder `results` as files.
    Without `train`, they show what is trained already.
    """

    tables: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    preset: str | None = None
    seeds: int | None = None
    epochs: int | None = None
    results: Path | None = None
    train: bool = True


Benchmark = Callable[[Path, Path, Watch, Choice], str]  # data folder, folder of runs, watch, options -> Markdown tables


class NoOptions(ValueError):
    """An option of a benchmark that has none."""


def without_options(tables: Callable[[Path, Path, Watch], str]) -> Benchmark:
    """Return a benchmark that raises NoOptions for any option but `results`, which it ignores."""

    def benchmark(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
        refuse_options(choice, "results")
        return tables(data_folder, out, watch)

    return benchmark


def refuse_options(choice: Choice, *but: str) -> None:
    """Raise NoOptions if a choice has another option than those of `but`."""
    given = [one.name for one in fields(choice) if getattr(choice, one.name) != one.default and one.name not in but]
    if given:
        raise NoOptions(f"this table has no option {', '.join(given)}")


@runtime_checkable
class Report(Protocol):
    """The figures of one network on the test split, which a file can keep."""

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        ...

    @classmethod
    def read(cls, path: Path) -> Any:
        """Return the report that `write` has written."""
        ...


R = TypeVar("R", bound=Report)


def measured(
    run: Run[Any, Any],
    seed: int,
    data_folder: Path,
    out: Path,
    report: type[R],
    measure: Callable[[Run[Any, Any], nn.Module, Path], R],
    watch: Watch = UNWATCHED,
    *,
    file: str = REPORT,
) -> R:
    """Return the test report of a run and seed, from `file` in its folder under `out` if an earlier call has written it there.

    Otherwise train the run as far as it is not trained yet, and call `measure(run, network, data_folder)`. Raises Stopped.
    """
    path = folder_of(out, run, seed) / file
    if not path.is_file():
        from training.engine.loop import trained  # it imports Fabric, which takes as long as torch

        network = trained(run, seed, data_folder, out, watch)
        partial = path.with_suffix(".part")
        measure(run, network, data_folder).write(partial)
        os.replace(partial, path)  # an interrupted write leaves no report behind
    return report.read(path)


def over_seeds(values: Sequence[float], best: bool = False) -> str:
    """Return the mean and standard deviation over seeds as a table cell, in bold type if it is the `best` of its line."""
    return bold(f"{np.mean(values):.1f} ± {np.std(values):.1f}", best)


def bold(text: str, on: bool = True) -> str:
    """Return `text` in Markdown's bold type if `on`, else as it is."""
    return f"**{text}**" if on else text


def interval(bounds: tuple[float, float] | None) -> str:
    """Return a 95 % interval over recordings as a table cell; a single recording (None) has no interval."""
    return "one recording" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. Raises ValueError for a row whose length differs from the header's."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"expected {len(header)} cells in a row, got {len(row)}: {', '.join(row)}")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)
