"""Plots of results on bodies: error against the share of data, PCK against the horizon, and confusion of classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.pictures.page import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Line,
    blank,
    legend,
    save,
)

STYLES: dict[str, tuple[str, Line]] = {
    "plain": (GREY, "-"),
    "plain, shown flips and averaged over them": (ORANGE, "-"),
    "chiral": (BLUE, "-"),
    "zero velocity": (GREY, ":"),
    "constant velocity": (GREY, "--"),
    "damped velocity": (GREY, "-"),
    "ridge": (ORANGE, "--"),
    "network": (BLUE, "-"),
}
FOOT = 0.45  # inches, the height of the legend


def curves(
    lines: Mapping[str, Float[np.ndarray, "seeds points"]],
    at: Sequence[float],
    path: Path,
    *,
    x: str,
    y: str,
    title: str,
    logarithmic: bool = False,
) -> None:
    """Plot the mean over seeds of each named line, with the range over seeds as a band; `at` has the horizontal positions.

    Raises KeyError for a name without an entry in STYLES.
    """
    figure = blank(6.4, 3.6)
    figure.set_layout_engine("constrained", rect=(0, FOOT / 3.6, 1, 1 - FOOT / 3.6))
    panel = figure.subplots()
    for name, values in lines.items():
        colour, line = STYLES[name]
        panel.plot(at, values.mean(axis=0), line, color=colour, linewidth=1.6, marker="o", markersize=3)
        panel.fill_between(at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    if logarithmic:
        panel.set_xscale("log")
        panel.set_xticks(at, [f"{value:g}" for value in at])
        panel.minorticks_off()
    panel.set_xlabel(x, fontsize=8, color=INK)
    panel.set_ylabel(y, fontsize=8, color=INK)
    panel.set_title(title, fontsize=9, color=INK, loc="left")
    panel.tick_params(labelsize=8, colors=INK, length=0)
    panel.grid(color=GREY, alpha=0.2)
    for edge in panel.spines.values():
        edge.set_visible(False)
    legend(figure, {name: STYLES[name] for name in lines})
    save(figure, path)


def confusion(
    predicted: Int[np.ndarray, " clips"],
    true: Int[np.ndarray, " clips"],
    classes: Sequence[str],
    path: Path,
    title: str,
) -> None:
    """Plot the percentage of each class's clips (a row) that are recognised as each class (a column)."""
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (true, predicted), 1)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.4 + 0.36 * len(classes)
    figure = blank(size, size)
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (i, j), share in np.ndenumerate(shares):
        if share:
            panel.text(j, i, f"{share:.0f}", ha="center", va="center", fontsize=6, color="white" if share > 50 else INK)
    panel.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7, color=INK)
    panel.set_yticks(range(len(classes)), classes, fontsize=7, color=INK)
    panel.tick_params(length=0)
    panel.set_title(title, fontsize=9, color=INK, loc="left")
    for edge in panel.spines.values():
        edge.set_visible(False)
    save(figure, path)
