"""Pictures of face scans: the scan upright and from three sides, with its landmarks, confidences and errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from models.pictures.heatmaps import HEATED, PARTS, PIXELS, colour_of, heat, painted, rgb
from models.pictures.page import (
    DPI,
    GREEN,
    INK,
    SHADOW,
    Line,
    blank,
    check_drawable,
    fractions,
    headline,
    legend,
    panel,
    save,
    scale_bar,
)
from models.pictures.surfels import View
from models.pictures.upright import Landmarks, Upright
from models.skeletons.face import FACE68, FACE_REGIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object


VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 90.0}  # degrees by which the head is turned
FACE_INCHES = 3.6  # the height of a view
HIDDEN_MM = (
    7.0  # a landmark farther than this behind the visible surface is on its other side, not just a little too deep
)
PALE = 0.2  # opacity of hidden landmarks
UNSURE = 0.5  # a landmark of lower confidence is drawn hollow


def draw_face(
    points: Float[np.ndarray, "points 3"],
    landmarks: Landmarks,
    path: Path,
    *,
    triangles: Int[np.ndarray, "triangles 3"] | None = None,
    confidence: Float[np.ndarray, " landmarks"] | None = None,
    confident_m: float = 0.003,
    seen: Bool[np.ndarray, " landmarks"] | None = None,
    heatmaps: Float[np.ndarray, "landmarks samples"] | None = None,
    samples: Float[np.ndarray, "samples 3"] | None = None,
    heated: Sequence[str] = HEATED,
    true: Landmarks | None = None,
    title: str = "",
) -> None:
    """Draw a scan in any pose at `path`, upright and from three sides, with its 68 landmarks, one colour for each region.

    Positions are metres. Heatmaps (over the points `samples`) of the landmarks `heated` make a fourth view. `confidence`, the probability
    that a landmark is within `confident_m`, is charted by region. A landmark is hollow if its confidence is below UNSURE, or if it is not
    `seen`, because the scan has no surface there. `true` landmarks, NaN if unknown, are green and joined to the found ones; the title gives
    the mean distance. Hidden landmarks are pale. Raises NoMatplotlib, UnknownFormat.
    """
    check_drawable(path)
    upright = Upright.of(points, triangles, landmarks, true)
    rows = round(FACE_INCHES * DPI * PIXELS)
    pictures = {name: upright.seen(degrees, rows) for name, degrees in VIEWS.items()}
    if heatmaps is not None and samples is not None:
        which = [FACE68.joints.index(name) for name in heated]
        heights = upright.spread(np.clip(heatmaps[which].T, 0, 1), samples)
        pictures["heatmaps"] = upright.seen(0.0, rows, heat(heights, which))
    hollow = np.zeros(len(landmarks), bool) if confidence is None else confidence < UNSURE
    if seen is not None:
        hollow = hollow | ~seen
    charts = {}
    if confidence is not None:
        charts[f"probability to be within {1000 * confident_m:g} mm"] = confidence
    off = np.full(len(landmarks), np.nan) if true is None else 1000 * np.linalg.norm(landmarks - true, axis=1)
    if true is not None:
        charts["error, mm"] = off
        title += f"{': ' if title else ''}mean error {np.nanmean(off):.1f} mm"
    inches_per_mm = FACE_INCHES / (upright.high[1] - upright.low[1])
    left, gap, below, above, beside = 0.2, 0.25, 0.45, 0.6 if title else 0.35, 2.75 if charts else 0.0
    widths = [(view.frame.high[0] - view.frame.low[0]) * inches_per_mm for view in pictures.values()]
    figure = blank(2 * left + sum(widths) + gap * (len(widths) - 1) + beside, below + FACE_INCHES + above)
    at = left
    for (name, view), width in zip(pictures.items(), widths, strict=True):
        (x0, y0), (x1, y1) = view.frame.low, view.frame.high
        axes = panel(figure, (at, below, width, FACE_INCHES), (x0, y0), (x1, y1))
        axes.imshow(painted(view), extent=(x0, x1, y0, y1), interpolation="hanning", aspect="auto")
        axes.set_title(name, fontsize=8, color=INK, pad=3)
        if name in VIEWS:
            _draw_landmarks(axes, upright, VIEWS[name], view, hollow)
        at += width + gap
    _draw_charts(figure, charts, at + 0.75, below)
    names: dict[str, tuple[str, Line]] = {
        part if part in ("jaw", "nose") else f"{part}s": (colour, "-") for part, colour in PARTS.items()
    }
    if true is not None:
        names["true"] = (GREEN, "-")
    legend(figure, names)
    scale_bar(figure, left, inches_per_mm)
    headline(figure, left, title)
    save(figure, path)


def _draw_landmarks(
    axes: Axes, upright: Upright, degrees: float, seen: View, hollow: Bool[np.ndarray, " landmarks"]
) -> None:
    """Draw landmarks, the curves between them, and lines to the true ones, as seen with the head turned by `degrees`."""
    from matplotlib.collections import LineCollection

    turn = upright.turn(degrees)
    landmarks = upright.landmarks @ turn.T
    pale = np.where(seen.hidden(landmarks, HIDDEN_MM), PALE, 1.0)
    if upright.true is not None:
        true = upright.true @ turn.T
        paint = [(*rgb(GREEN), alpha) for alpha in pale]
        axes.add_collection(
            LineCollection(list(np.stack([true, landmarks], axis=1)[..., :2]), colors=paint, linewidths=0.9)
        )
        axes.scatter(true[:, 0], true[:, 1], s=7, c=paint, linewidths=0, zorder=3)
    colours = {i: rgb(colour_of(region)) for region, members in FACE_REGIONS.items() for i in members}
    bones = [(*colours[a], min(pale[a], pale[b])) for a, b in FACE68.bones]
    axes.add_collection(
        LineCollection(list(landmarks[np.array(FACE68.bones), :2]), colors=bones, linewidths=1.1, zorder=4)
    )
    white = (1.0, 1.0, 1.0)
    for i, (x, y, _) in enumerate(landmarks):
        fill, edge = (white, colours[i]) if hollow[i] else (colours[i], white)
        axes.plot(
            x, y, "o", markersize=3, color=fill, markeredgecolor=edge, markeredgewidth=0.5, alpha=pale[i], zorder=5
        )


def _draw_charts(
    figure: Figure, charts: Mapping[str, Float[np.ndarray, " landmarks"]], left: float, below: float
) -> None:
    """Draw the charts one above the other: a bar for the mean of each region, and a dot for each landmark."""
    width, height = 1.75, (FACE_INCHES - 0.55 * (len(charts) - 1)) / max(len(charts), 1)
    for i, (title, values) in enumerate(charts.items()):
        bottom = below + (len(charts) - 1 - i) * (height + 0.55)
        axes = figure.add_axes(fractions(figure, (left, bottom + 0.1, width, height - 0.1)))
        for row, (region, members) in enumerate(FACE_REGIONS.items()):
            theirs = values[list(members)]
            if np.isfinite(theirs).any():
                axes.barh(row, np.nanmean(theirs), 0.62, color=colour_of(region), alpha=0.35, linewidth=0)
                axes.plot(theirs, np.full(len(theirs), row), ".", color=colour_of(region), markersize=2.5, alpha=0.8)
        axes.set_yticks(range(len(FACE_REGIONS)), [region.replace("_", " ") for region in FACE_REGIONS])
        axes.set_ylim(len(FACE_REGIONS) - 0.4, -0.6)
        axes.set_xlim(0, 1.02 if title.startswith("prob") else None)
        axes.set_title(title, fontsize=8, color=INK, pad=3, loc="left")
        axes.tick_params(labelsize=7, length=0, colors=INK)
        axes.grid(axis="x", color=SHADOW, linewidth=0.6)
        axes.set_axisbelow(True)
        for edge in axes.spines.values():
            edge.set_visible(False)
