"""The plot of a report of hand forecasters: error against horizon."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.pictures.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    Line,
    blank,
    legend,
    save,
)
from training.tasks.hands.report import Report

STYLES: dict[str, tuple[str, Line]] = {
    "hold": (GREY, ":"),
    "constant velocity": (GREY, "-."),
    "damped velocity": (GREY, "--"),
    "kalman": (INK, "--"),
    "double exponential": (INK, ":"),
    "ridge": (GREEN, "-"),
}
WIDTH, HEIGHT, FOOT = 3.6, 2.8, 0.35  # inches of a panel, and of the legend below


def error_against_horizon(report: Report, models: Sequence[str], path: Path) -> None:
    """Draw the mean joint error at each future frame: a panel for each source and number of hands, a line for each model.

    A panel's title has the mean over all future frames of the last model and of the best forecast without weights.
    """
    groups = report.groups()
    styles: dict[str, tuple[str, Line]] = {model: STYLES.get(model, (BLUE, "-")) for model in models}
    columns = 2 if len(groups) == 4 else min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = blank(WIDTH * columns, HEIGHT * rows + FOOT)
    figure.set_layout_engine(
        "constrained", rect=(0, FOOT / (HEIGHT * rows + FOOT), 1, 1 - FOOT / (HEIGHT * rows + FOOT))
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, (source, hands) in zip(panels.flat, groups, strict=False):
        for model, (colour, line) in styles.items():
            row = report.row(source, hands, model)
            ms = 1000 * np.arange(1, len(row.by_frame_mm) + 1) / report.fps
            panel.plot(ms, row.by_frame_mm, line, color=colour, linewidth=1.5)
        best, last = report.best_without_weights(source, hands), report.row(source, hands, models[-1])
        panel.set_ylim(0, 1.6 * max(best.by_frame_mm))
        panel.set_xlim(0, None)
        counted = f"{best.windows} windows, {best.recordings} recording{'s' if best.recordings > 1 else ''}"
        means = f"{last.model} {last.mpjpe_mm:.1f} mm" + (
            f", {best.model} {best.mpjpe_mm:.1f} mm" if best is not last else ""
        )
        title = f"{source}, {'two hands' if hands == 2 else 'one hand'}: {counted}\n{means}"
        panel.set_title(title, fontsize=8, color=INK, loc="left", linespacing=1.4)
        panel.set_xlabel("ms ahead", fontsize=8, color=INK)
        panel.set_ylabel("mean joint error, mm", fontsize=8, color=INK)
        panel.tick_params(labelsize=8, colors=INK, length=0)
        panel.grid(color=GREY, alpha=0.2)
        for edge in panel.spines.values():
            edge.set_visible(False)
    for panel in panels.flat[len(groups) :]:
        panel.set_axis_off()
    legend(figure, styles)
    save(figure, path)
