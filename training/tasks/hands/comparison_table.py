"""The table of the comparison: error and cost of every forecaster, learning curves, and the published figures beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from training.engine.benchmark import bold, markdown
from training.tasks.hands.comparison import RATES, Budget
from training.tasks.hands.metrics import at_horizons
from training.tasks.hands.models import PUBLISHED_CONSTANT
from training.tasks.hands.results import Row, gain

HORIZONS_MS = (33, 67, 100, 333, 500, 1000)


def described(budget: Budget, windows: int) -> str:
    """Say in one paragraph what every model got."""
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    return (
        f"Two hands, {budget.preset}, trained on {' and '.join(budget.trained_on)}; {budget.epochs} epochs of {windows} windows (one for "
        f"every {budget.every_s:g} s of recording), {budget.seeds} seeds. Learning rate: the best of {rates} on validation after "
        f"{budget.search_epochs} epochs. Checkpoint: the best on validation. Errors are MPJPE in mm; ± is the spread over seeds. "
        "In plots, the best forecast without weights is dashed."
    )


def best_without_weights(floor: Sequence[Row], source: str) -> Row:
    """Return the forecast without trained weights that has the least error on a source."""
    return min(floor, key=lambda row: row.mpjpe_mm(source)[0])


def spread(values: Sequence[float], best: bool = False) -> str:
    """Return mean and spread as a cell; one seed has no spread."""
    mean = f"{np.mean(values):.1f}"
    return bold(f"{mean} ± {np.std(values):.1f}" if len(values) > 1 else mean, best)


def comparison_markdown(rows: Sequence[Row], floor: Sequence[Row], budget: Budget) -> str:
    """Return the tables of costs, of errors for each source, and of learning curves for each source."""
    windows = rows[0].figures[0].windows_an_epoch if rows else floor[0].figures[0].windows_an_epoch
    at_edge = sum(row.rate == max(RATES) for row in rows)
    edge = (
        f" {at_edge} of {len(rows)} models got the largest rate, so a larger one might suit them better."
        if at_edge
        else ""
    )
    parts = [described(budget, windows) + edge, _costs(rows, floor, budget)]
    sources = list(floor[0].figures[0].test)
    for source in sources:
        one = floor[0].errors(source)[0]
        zero_shot = "" if source in budget.trained_on else ", never trained on"
        title = f"### {source}{zero_shot}: {one.windows} test windows of {_counted(len(one.recordings), 'recording')}"
        parts += [title, _errors(rows, floor, source, budget), _curves(rows, floor, source, budget)]
    return "\n\n".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _costs(rows: Sequence[Row], floor: Sequence[Row], budget: Budget) -> str:
    header = (
        *("model", "parameters", "seeds", "learning rate", "training, CPU s", "forecast, CPU ms", "rotation error, mm"),
        *("published: parameters", "published: test L (other data, other unit)"),
    )
    lines = []
    for row in [*floor, *rows]:
        figures = row.figures[0]
        published = PUBLISHED_CONSTANT if row.name == "hold" else row.published
        lines.append((
            row.name,
            f"{figures.parameters:,}" if row.trained else "-",
            str(len(row.figures)) if row.trained else "-",
            f"{row.rate:g}" if row.rate else "-",
            f"{row.cost.step_s * figures.steps:.0f}" if row.cost else "-",
            f"{row.cost.forecast_ms:.2f}" if row.cost else "-",
            _small(max(one.rotation_mm for one in row.figures)),
            published.size if published else "-",
            f"{published.test:.3f}" if published and published.test else "-",
        ))  # fmt: skip
    return markdown(header, lines)


def _small(mm: float) -> str:
    """Return a length as a whole number, or with one digit if it is below one."""
    return f"{mm:.0f}" if mm >= 1 or mm == 0 else f"{mm:.1g}"


def _errors(rows: Sequence[Row], floor: Sequence[Row], source: str, budget: Budget) -> str:
    base, lines = best_without_weights(floor, source), []
    fps = budget.task.fps
    horizons = list(at_horizons(np.zeros(budget.task.future), fps, HORIZONS_MS))
    least = min([*floor, *rows], key=lambda row: float(np.mean(row.mpjpe_mm(source))))
    for row in [*floor, *rows]:
        by_frame = np.mean([errors.by_frame_mm for errors in row.errors(source)], axis=0)
        at = at_horizons(by_frame, fps, HORIZONS_MS)
        percent, bounds = gain(row, base, source)
        interval = "one recording" if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}"
        lines.append((
            row.name,
            spread(row.mpjpe_mm(source), row is least),
            *(f"{at[horizon]:.1f}" for horizon in horizons),
            f"{np.mean([errors.mse_dm2 for errors in row.errors(source)]):.3f}",
            *(("-", "-") if row is base else (f"{percent:.1f} %", interval)),
        ))  # fmt: skip
    return markdown(("model", "mean", *horizons, "MSE, dm²", f"gain on {base.name}", "95 % interval, %"), lines)


def _curves(rows: Sequence[Row], floor: Sequence[Row], source: str, budget: Budget) -> str:
    marks = budget.marks
    header = ("model", *(f"train, epoch {epoch}" for epoch in marks), *(f"test, epoch {epoch}" for epoch in marks))
    lines = []
    for row in [*floor, *rows]:
        curve = curve_of(row, source)
        cells = [curve.get(str(epoch), {}) if row.trained else curve[str(marks[-1])] for epoch in marks]
        lines.append((row.name, *(_cell(cell, split) for split in ("train", "test") for cell in cells)))
    return markdown(header, lines)


def _cell(cell: Mapping[str, float], split: str) -> str:
    return f"{cell[split]:.1f}" if split in cell else "-"


def curve_of(row: Row, source: str) -> dict[str, dict[str, float]]:
    """Return training and test error on a source by epoch, averaged over seeds."""
    epochs: dict[str, dict[str, float]] = {}
    for at, first in enumerate(row.figures[0].curve):
        points = [figures.curve[at] for figures in row.figures]
        cell = epochs.setdefault(str(first.epoch), {})
        if source in first.train:
            cell["train"] = float(np.mean([point.train[source][1] for point in points]))
        cell["test"] = float(np.mean([point.test[source].mpjpe_mm for point in points]))
    return epochs


def comparison_json(rows: Sequence[Row], floor: Sequence[Row], budget: Budget) -> dict[str, Any]:
    """Return the content of the tables, with the figures of every seed."""
    return {"budget": asdict(budget), "rows": [_row_json(row, floor, budget) for row in [*floor, *rows]]}


def _row_json(row: Row, floor: Sequence[Row], budget: Budget) -> dict[str, Any]:
    figures, sources = row.figures[0], {}
    for source in figures.test:
        base = best_without_weights(floor, source)
        percent, bounds = gain(row, base, source)
        by_frame = np.mean([errors.by_frame_mm for errors in row.errors(source)], axis=0)
        sources[source] = {
            "windows": figures.test[source].windows,
            "recordings": len(figures.test[source].recordings),
            "mpjpe_mm": [round(error, 3) for error in row.mpjpe_mm(source)],
            "at_mm": {ms: round(mm, 3) for ms, mm in at_horizons(by_frame, budget.task.fps, HORIZONS_MS).items()},
            "mse_dm2": [round(errors.mse_dm2, 5) for errors in row.errors(source)],
            "best_without_weights": base.name,
            "gain_percent": round(percent, 2),
            "gain_interval_percent": bounds and [round(bound, 2) for bound in bounds],
            "curve_mm": {
                epoch: {split: round(mm, 3) for split, mm in cell.items()}
                for epoch, cell in curve_of(row, source).items()
            },
        }
    return {
        "model": row.name,
        "parameters": figures.parameters,
        "seeds": len(row.figures) if row.trained else None,
        "learning_rate": row.rate,
        "steps": figures.steps,
        "best_steps": [one.best_step for one in row.figures],
        "training_cpu_s": round(row.cost.step_s * figures.steps, 1) if row.cost else None,
        "forecast_cpu_ms": round(row.cost.forecast_ms, 3) if row.cost else None,
        "rotation_error_mm": max(one.rotation_mm for one in row.figures),
        "published": asdict(row.published) if row.published else None,
        "sources": sources,
    }
