"""The tables of hand forecasters by name, as text and as files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from training.engine.benchmark import Choice, refuse_options
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands import benchmark
from training.tasks.hands.action_table import action_json, action_markdown
from training.tasks.hands.comparison import Budget, Comparison
from training.tasks.hands.comparison_plots import draw_curves, draw_errors
from training.tasks.hands.comparison_table import comparison_json, comparison_markdown, described
from training.tasks.hands.models import MODELS, READ_OUTS, VARIANTS, Model, UnknownModel
from training.tasks.hands.readout_table import cells_markdown, constant_cells, readout_json, readout_markdown
from training.tasks.hands.results import Row, collect
from training.tasks.hands.sizes import sizes_json, sizes_markdown


class UnknownTable(LookupError):
    """A name that no table has; the message lists those that do."""


class Made(NamedTuple):
    """A finished table: its name with the preset, its text, its content, and its plots by the end of their names."""

    name: str
    text: str
    content: dict[str, Any]
    plots: Mapping[str, Callable[[Path], None]]


Table = Callable[[Path, Path, Watch, Choice], Made]


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED, choice: Choice = Choice()) -> str:  # noqa: B008 - frozen
    """Return the tables of a choice in Markdown, after training what they lack, and write them into its folder of results.

    A table is written as soon as it is made. Raises UnknownTable, UnknownModel, UnknownPreset, Stopped.
    """
    names = choice.tables or ("comparison",)
    if unknown := [name for name in names if name not in TABLES]:
        raise UnknownTable(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    texts = []
    for name in names:
        made = TABLES[name](data_folder, out, watch, choice)
        texts.append(made.text)
        if choice.results:
            write(made, choice.results)
    return "\n\n".join(texts)


def write(made: Made, folder: Path) -> None:
    """Write a table as JSON and Markdown, with its plots beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{made.name}.json").write_text(json.dumps(made.content, indent=1) + "\n")
    pictures = [f"{made.name}{end}.png" for end in made.plots]
    for picture, draw in zip(pictures, made.plots.values(), strict=True):
        draw(folder / picture)
    images = "".join(f"\n![{picture}]({picture})\n" for picture in pictures)
    (folder / f"{made.name}.md").write_text(f"{made.text}\n{images}")


def budget_of(choice: Choice, **fewer: Any) -> Budget:
    """Return the budget of a choice; `fewer` are the table's own defaults."""
    given = {"preset": choice.preset, "seeds": choice.seeds, "epochs": choice.epochs}
    return Budget(**(fewer | {name: value for name, value in given.items() if value is not None}))


def wanted_of(choice: Choice, models: Mapping[str, Model]) -> list[str]:
    """Return the models to train: those of the choice, or all. Raises UnknownModel."""
    if unknown := [name for name in choice.models if name not in models]:
        raise UnknownModel(f"no model {unknown[0]!r}; there are {', '.join(models)}")
    return list(choice.models or models)


def _comparison(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> Made:
    comparison = Comparison(budget_of(choice), data_folder, out, watch)
    rows, missing = collect(comparison, MODELS, wanted_of(choice, MODELS), train=choice.train)
    floor = _floor(comparison)
    text = (
        f"## Comparison of hand forecasters\n\n{comparison_markdown(rows, floor, comparison.budget)}{_missing(missing)}"
    )
    content = comparison_json(rows, floor, comparison.budget) | {"missing": missing}
    plots = {"": lambda path: draw_errors(rows, floor, path), "-curves": lambda path: draw_curves(rows, floor, path)}
    return Made(f"hands-comparison-{comparison.budget.preset}", text, content, plots)


def _missing(missing: list[str]) -> str:
    return "\n\nMissing: " + "; ".join(missing) + "." if missing else ""


def _sources(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> Made:
    refuse_options(choice, "tables", "results")
    text = benchmark.tables(data_folder, out, watch)
    return Made("hands-sources", text, {"tables": text.splitlines()}, {})


def _actions(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> Made:
    comparison = Comparison(budget_of(choice), data_folder, out, watch)
    rows, missing = collect(comparison, MODELS, wanted_of(choice, MODELS), train=choice.train)
    content = action_json(rows, _floor(comparison), comparison.budget)
    text = f"## Hand forecasters by action\n\n{action_markdown(content, comparison.budget)}{_missing(missing)}"
    return Made(f"hands-actions-{comparison.budget.preset}", text, content | {"missing": missing}, {})


def _readout(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> Made:
    comparison, models = Comparison(budget_of(choice), data_folder, out, watch), {**MODELS, **VARIANTS}
    models = {name: models[name] for pair in READ_OUTS.values() for name in pair}
    rows, missing = collect(comparison, models, wanted_of(choice, models), train=choice.train)
    found = {row.name: row for row in rows}
    pairs = {
        title: (found[absolute], found[residual])
        for title, (absolute, residual) in READ_OUTS.items()
        if absolute in found and residual in found
    }
    floor = _floor(comparison)
    content = readout_json(pairs, floor, list(floor[0].figures[0].test))
    cells = constant_cells(comparison.batches, comparison.budget.measured_on)
    budget = described(comparison.budget, floor[0].figures[0].windows_an_epoch)
    text = (
        f"## Read-outs of hand forecasters\n\n{budget}\n\n{readout_markdown(content)}{_missing(missing)}\n\n"
        "### Constant, the last pose, in each unit and measure; published: train 0.127, test 0.124\n\n"
        + cells_markdown(cells)
    )
    return Made(
        f"hands-readout-{comparison.budget.preset}",
        text,
        {"sources": content, "constant": cells, "missing": missing},
        {},
    )


def _sizes(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> Made:
    refuse_options(choice, "tables", "preset", "epochs", "results", "train")
    comparison = Comparison(
        budget_of(choice, seeds=1, epochs=10, reported=(), test_windows=250), data_folder, out, watch
    )
    lines, missing = sizes_json(comparison, watch, train=choice.train)
    windows = comparison.batches.steps_an_epoch() * comparison.batches.data.batch
    text = f"## Sizes of EqMotion\n\n{sizes_markdown(lines, comparison.budget, windows)}{_missing(missing)}"
    content = {"budget": asdict(comparison.budget), "rows": lines, "missing": missing}
    return Made(f"hands-sizes-{comparison.budget.preset}", text, content, {})


def _floor(comparison: Comparison) -> list[Row]:
    return [Row(name, (figures,)) for name, figures in comparison.without_weights().items()]


TABLES: dict[str, Table] = {
    "comparison": _comparison,
    "actions": _actions,
    "sizes": _sizes,
    "readout": _readout,
    "sources": _sources,
}
