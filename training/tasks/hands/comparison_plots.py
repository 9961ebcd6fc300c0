"""The plots of the comparison: errors of every model on every source, and learning curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.pictures.page import BLUE, GREEN, GREY, INK, ORANGE, PINK, PURPLE, TEAL, Line, blank, legend, save
from training.tasks.hands.results import Row

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, TEAL, PINK)
LINES: tuple[Line, ...] = ("-", "--", "-.", ":")
WIDTH, FOOT = 4.2, 0.6  # inches of a panel, and of the legend


def draw_errors(rows: Sequence[Row], floor: Sequence[Row], path: Path) -> None:
    """Draw MPJPE over the horizon: a panel for each source, a line of points for each model, one for each seed.

    The best forecast without weights is dashed, and the axis ends at twice its error.
    """
    every = [*floor, *rows]
    sources = list(floor[0].figures[0].test)
    figure = blank(WIDTH * len(sources), 0.22 * len(every) + 0.9)
    figure.set_layout_engine("constrained")
    for panel, source in zip(figure.subplots(1, len(sources), squeeze=False).flat, sources, strict=True):
        best = min(row.mpjpe_mm(source)[0] for row in floor)
        for at, row in enumerate(every):
            values, colour = row.mpjpe_mm(source), BLUE if row.trained else GREY
            panel.plot(values, [at] * len(values), "o", color=colour, markersize=4, alpha=0.6)
            panel.plot([0, float(np.mean(values))], [at, at], color=colour, linewidth=1)
        panel.axvline(best, color=ORANGE, linewidth=1, linestyle="--")
        panel.set_xlim(0, 2 * best)
        panel.set_ylim(len(every) - 0.5, -0.5)
        panel.set_yticks(range(len(every)), [row.name for row in every])
        panel.set_title(f"{source}: MPJPE, mm", fontsize=8, color=INK, loc="left")
        _plain(panel)
    save(figure, path)


def draw_curves(rows: Sequence[Row], floor: Sequence[Row], path: Path) -> None:
    """Draw the test error at each reported epoch, averaged over seeds: a panel for each source, a line for each model.

    The best forecast without weights is dashed, and the axis ends at 2.2 times its error.
    """
    sources = list(floor[0].figures[0].test)
    styles: dict[str, tuple[str, Line]] = {
        row.name: (COLOURS[at % len(COLOURS)], LINES[at // len(COLOURS) % len(LINES)]) for at, row in enumerate(rows)
    }
    figure = blank(WIDTH * len(sources), 3.4 + FOOT)
    figure.set_layout_engine("constrained", rect=(0, FOOT / (3.4 + FOOT), 1, 3.4 / (3.4 + FOOT)))
    for panel, source in zip(figure.subplots(1, len(sources), squeeze=False).flat, sources, strict=True):
        for row in rows:
            epochs = [point.epoch for point in row.figures[0].curve]
            curves = [[point.test[source].mpjpe_mm for point in one.curve] for one in row.figures]
            colour, line = styles[row.name]
            panel.plot(epochs, np.mean(curves, axis=0), line, color=colour, linewidth=1.5, marker="o", markersize=2.5)
        best = min(row.mpjpe_mm(source)[0] for row in floor)
        panel.axhline(best, color=GREY, linewidth=1, linestyle="--")
        panel.set_ylim(0.85 * best, 2.2 * best)
        panel.set_xlabel("epochs", fontsize=8, color=INK)
        panel.set_title(f"{source}: test MPJPE, mm", fontsize=8, color=INK, loc="left")
        _plain(panel)
    legend(figure, styles, columns=9)
    save(figure, path)


def _plain(panel) -> None:
    """Remove the frame of a panel."""
    panel.tick_params(labelsize=8, colors=INK, length=0)
    panel.grid(color=GREY, alpha=0.2)
    for edge in panel.spines.values():
        edge.set_visible(False)
