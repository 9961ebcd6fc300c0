"""The results of a sweep: one run that was trained with each cell of a grid, compared in a table and a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, computed_field
from torch import nn

from models.contract.bundle import Measurement
from models.pictures.page import BLUE, GREY, INK, ORANGE, Axes, blank, save
from training.engine.benchmark import bold, markdown

Value = bool | int | float | str
COLUMNS = 4  # of panels in the picture
PANEL = (2.4, 2.1)  # inches


class Cell(BaseModel):
    """One training of a sweep: its settings by field, and its best validation, or the reason why there is none.

    `score` and `loss` are those of the best validation, `step` its step. `seconds` are those of training and measuring. `measurements`
    are of the validation split. `job` is the job that trained the cell, if one did.
    """

    model_config = ConfigDict(frozen=True)

    settings: dict[str, Value]
    state: Literal["succeeded", "failed", "cancelled", "queued", "running", "cancelling", "removed"] = "succeeded"
    score: float | None = None
    loss: float | None = None
    step: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    measurements: tuple[Measurement, ...] = ()
    error: str | None = None
    job: str | None = None


class Sweep(BaseModel):
    """The cells of a sweep of a run, in the order of its grid."""

    model_config = ConfigDict(frozen=True)

    run: str
    cells: tuple[Cell, ...]

    @computed_field
    @property
    def best(self) -> int | None:
        """Return the index of the best cell on validation data, or None if no cell was trained.

        Cells that differ in their seed alone are compared by their mean, so that a lucky seed does not choose the settings; of the best
        settings, the seed with the lowest score is taken.
        """
        scores: dict[tuple[tuple[str, Value], ...], list[float]] = {}
        for cell in self.cells:
            if cell.score is not None:
                scores.setdefault(_without_seed(cell), []).append(cell.score)
        if not scores:
            return None
        chosen = min(scores, key=lambda settings: float(np.mean(scores[settings])))
        own = [
            (cell.score, at)
            for at, cell in enumerate(self.cells)
            if cell.score is not None and _without_seed(cell) == chosen
        ]
        return min(own)[1]

    def table(self) -> str:
        """Return a Markdown table of a row for each cell; the best has bold figures. The metrics have the best floor beside them."""
        fields = list(self.cells[0].settings)
        heads = {
            (one.metric, one.source): f"{one.metric}, {one.source}, {one.unit} (floor)"
            for cell in self.cells
            for one in cell.measurements
        }
        shown = list(heads)[:4]  # a page is not wider; the JSON has all
        header = [*fields, "validation score", "loss", "step", "weights", "seconds", *(heads[key] for key in shown)]
        rows = []
        for at, cell in enumerate(self.cells):
            best, by_key = at == self.best, {(one.metric, one.source): one for one in cell.measurements}
            figures = [_number(cell.score, ".4g"), _number(cell.loss, ".4g"), _number(cell.step, "d")]
            if cell.score is None:
                figures = [cell.state, "", ""]
            row = [*figures, _number(cell.parameters, ",d"), _number(cell.seconds, ".0f")]
            row += [_beside_floor(by_key.get(key)) for key in shown]
            rows.append([*(_text(cell.settings[name]) for name in fields), *(bold(text, best) for text in row)])
        errors = [f"- {_named(cell)}: {cell.error}" for cell in self.cells if cell.error]
        text = markdown(header, rows)
        return text + ("\n\nCells without a result:\n\n" + "\n".join(errors) if errors else "")

    def draw(self, path: Path) -> None:
        """Draw the scores against each field that has several values: a dot for each cell, a line through the means, the best marked."""
        fields = [
            name for name in self.cells[0].settings if len({_text(cell.settings[name]) for cell in self.cells}) > 1
        ] or list(self.cells[0].settings)[:1]
        rows, columns = -(-len(fields) // COLUMNS), min(len(fields), COLUMNS)
        figure = blank(max(columns * PANEL[0], 2 * PANEL[0]), rows * PANEL[1] + 0.3)
        figure.set_layout_engine("constrained")
        panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False, sharey=True)).ravel()
        figure.suptitle(f"{self.run}: validation score of each cell, lower is better", fontsize=8, color=INK)
        for panel, name in zip(panels, fields, strict=False):
            self._draw_field(panel, name)
        for panel in panels[len(fields) :]:
            panel.set_axis_off()
        for panel in panels[::columns]:
            panel.set_ylabel("validation score", fontsize=8, color=INK)
        save(figure, path)

    def _draw_field(self, panel: Axes, name: str) -> None:
        values = list(dict.fromkeys(_text(cell.settings[name]) for cell in self.cells))
        scored = [
            (values.index(_text(cell.settings[name])), cell.score, at)
            for at, cell in enumerate(self.cells)
            if cell.score is not None
        ]
        means = {x: float(np.mean([score for own, score, _ in scored if own == x])) for x, _, _ in scored}
        panel.plot(sorted(means), [means[x] for x in sorted(means)], "-", color=GREY, linewidth=1)
        panel.plot([x for x, _, _ in scored], [y for _, y, _ in scored], "o", color=BLUE, markersize=4, alpha=0.7)
        for x, score, at in scored:
            if at == self.best:
                panel.plot(x, score, "o", color=ORANGE, markersize=6)
                panel.annotate(
                    f"{score:.4g}", (x, score), (0, 6), textcoords="offset points", fontsize=7, color=INK, ha="center"
                )
        panel.set_xticks(range(len(values)), values)
        panel.set_xlim(-0.5, len(values) - 0.5)
        panel.margins(y=0.2)
        panel.set_xlabel(name, fontsize=8, color=INK)
        panel.tick_params(labelsize=7, colors=INK, length=0)
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.grid(color=GREY, alpha=0.2)
        for edge in panel.spines.values():
            edge.set_visible(False)

    def write(self, folder: Path) -> None:
        """Write sweep.json, sweep.md and sweep.png into a folder, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sweep.json").write_text(self.model_dump_json(indent=1, exclude_none=True) + "\n")
        (folder / "sweep.md").write_text(self.table() + "\n")
        self.draw(folder / "sweep.png")


def parameters_of(network: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(weights.numel() for weights in network.parameters())


def settings_text(settings: Mapping[str, Value]) -> str:
    """Return the settings of a cell in one line: layers=2, channels=16."""
    return ", ".join(f"{name}={_text(value)}" for name, value in settings.items())


def _named(cell: Cell) -> str:
    return settings_text(cell.settings)


def _without_seed(cell: Cell) -> tuple[tuple[str, Value], ...]:
    return tuple((name, value) for name, value in cell.settings.items() if name != "seed")


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _beside_floor(one: Measurement | None) -> str:
    if one is None:
        return ""
    return f"{one.value:g}" + ("" if one.baseline_value is None else f" ({one.baseline_value:g}, {one.baseline})")
