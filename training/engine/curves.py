"""A picture of trainings: loss and validation score against steps, one line for each seed."""

import json
from collections.abc import Mapping
from pathlib import Path

from models.pictures.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    Line,
    blank,
    legend,
    save,
)
from training.engine.folders import HISTORY

FOOT = 0.35  # inches of the legend
COLOURS = (BLUE, ORANGE, GREEN, INK)
LINES: tuple[Line, ...] = ("-", "--", "-.", ":")


def learning_curves(folders: Mapping[str, Path], title: str, path: Path) -> None:
    """Draw the validations of each folder, with the best one marked, into `path`; a folder without a history has no line."""
    styles: dict[str, tuple[str, Line]] = {
        name: (COLOURS[at % 4], LINES[at // 4 % 4]) for at, name in enumerate(folders)
    }
    figure = blank(7.2, 2.8 + FOOT)
    figure.set_layout_engine("constrained", rect=(0, FOOT / (2.8 + FOOT), 1, 2.8 / (2.8 + FOOT)))
    loss, score = figure.subplots(1, 2)
    for name, folder in folders.items():
        history = folder / HISTORY
        validations = [json.loads(line) for line in history.read_text().splitlines()] if history.is_file() else []
        steps, (colour, line) = [validation["step"] for validation in validations], styles[name]
        loss.plot(
            steps, [one["loss"] for one in validations], line, color=colour, linewidth=1.5, marker="o", markersize=2.5
        )
        score.plot(
            steps, [one["score"] for one in validations], line, color=colour, linewidth=1.5, marker="o", markersize=2.5
        )
        if validations:
            best = min(validations, key=lambda one: one["score"])
            score.plot(best["step"], best["score"], "o", color=colour, markersize=5)
            text = f"{best['score']:.2f}"
            score.annotate(
                text, (best["step"], best["score"]), (0, 6), textcoords="offset points", fontsize=7, color=INK
            )
    for panel, what in ((loss, "loss, mean since the last validation"), (score, "validation score, averaged weights")):
        panel.set_title(f"{title}: {what}" if panel is loss else what, fontsize=8, color=INK, loc="left")
        panel.set_xlabel("steps", fontsize=8, color=INK)
        panel.set_xlim(0, None)
        panel.ticklabel_format(useOffset=False)
        panel.tick_params(labelsize=8, colors=INK, length=0)
        panel.grid(color=GREY, alpha=0.2)
        for edge in panel.spines.values():
            edge.set_visible(False)
    legend(figure, styles)
    save(figure, path)
