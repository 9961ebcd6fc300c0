"""The chart of overlaps of heatmaps: IoU against the threshold, a panel for each tier of poses, a line for each network."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.pictures.page import BLUE, GREEN, GREY, INK, ORANGE, PINK, PURPLE, TEAL, Line, blank, legend, save
from training.tasks.faces.alignment import TIERS
from training.tasks.faces.metrics import THRESHOLDS
from training.tasks.faces.overlaps import PUBLISHED, THRESHOLD, Overlaps

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, TEAL, PINK)
COLUMNS, WIDTH, HEIGHT, FOOT = 4, 2.5, 2.2, 0.35  # panels in a row; inches of a panel, and of the legend below
BAND = (10, 90)  # per cent of the landmarks between which the band lies
REFERENCE = "reference, as published"


def overlap_against_threshold(overlaps: Mapping[str, Overlaps], path: Path) -> None:
    """Draw the mean IoU over landmarks with a band from the 10th to the 90th per cent of them, and the published one at its threshold."""
    styles: dict[str, tuple[str, Line]] = {name: (COLOURS[at % len(COLOURS)], "-") for at, name in enumerate(overlaps)}
    rows = -(-len(TIERS) // COLUMNS)
    height = HEIGHT * rows + FOOT
    figure = blank(WIDTH * COLUMNS, height)
    figure.set_layout_engine("constrained", rect=(0, FOOT / height, 1, 1 - FOOT / height))
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
    for panel, tier in zip(panels.flat, TIERS, strict=False):
        for name, (colour, line) in styles.items():
            iou = np.array(overlaps[name][tier])
            low, high = np.percentile(iou, BAND, axis=1)
            panel.fill_between(THRESHOLDS, low, high, color=colour, alpha=0.15, linewidth=0)
            panel.plot(THRESHOLDS, iou.mean(axis=1), line, color=colour, linewidth=1.5)
        panel.plot(THRESHOLD, PUBLISHED[tier], "x", color=INK, markersize=5)
        panel.set_title(tier, fontsize=8, color=INK, loc="left")
        panel.set_xlim(0.08, 0.97)
        panel.set_ylim(0, 1)
        panel.tick_params(labelsize=8, colors=INK, length=0, labelbottom=True)
        panel.set_xlabel("threshold", fontsize=8, color=INK)
        panel.grid(color=GREY, alpha=0.2)
        for edge in panel.spines.values():
            edge.set_visible(False)
    for row in panels:
        row[0].set_ylabel("IoU of heatmaps", fontsize=8, color=INK)
    for panel in panels.flat[len(TIERS) :]:
        panel.set_axis_off()
        panel.text(0, 0.9, f"x: {REFERENCE}\nband: {BAND[0]} to {BAND[1]} % of the landmarks", fontsize=8, color=INK,
                   va="top", transform=panel.transAxes)  # fmt: skip
    legend(figure, styles)
    save(figure, path)
