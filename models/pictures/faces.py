"""Pictures of face scans: the scan upright and from three sides, with its landmarks, confidences and errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from models.pictures.page import (
    BLUE,
    DPI,
    GREEN,
    INK,
    ORANGE,
    PINK,
    PURPLE,
    SHADOW,
    TEAL,
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
from models.pictures.surfels import View, shaded
from models.pictures.upright import Landmarks, Upright
from models.skeletons.face import FACE68, FACE_REGIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object


PARTS = {"jaw": BLUE, "brow": PURPLE, "nose": ORANGE, "eye": TEAL, "lip": PINK}  # by a part of the region's name
VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 90.0}  # degrees by which the head is turned
FACE_INCHES = 3.6  # the height of a view
PIXELS = 1.25  # rendered pixels of the surface for each pixel of the picture
HIDDEN_MM = (
    7.0  # a landmark farther than this behind the visible surface is on its other side, not just a little too deep
)
RELIEF_MM = 6.0  # depth of the hollows that make a face recognisable: eyes, nostrils, lips
PALE = 0.2  # opacity of hidden landmarks
UNSURE = 0.5  # a landmark of lower confidence is drawn hollow
HEATED = ("chin", "right_eye_outer", "left_eye_outer", "nose_tip", "right_mouth_corner", "left_mouth_corner")


def draw_face(
    points: Float[np.ndarray, "points 3"],
    landmarks: Landmarks,
    path: Path,
    *,
    triangles: Int[np.ndarray, "triangles 3"] | None = None,
    confidence: Float[np.ndarray, " landmarks"] | None = None,
    confident_m: float = 0.003,
    heatmaps: Float[np.ndarray, "landmarks samples"] | None = None,
    samples: Float[np.ndarray, "samples 3"] | None = None,
    heated: Sequence[str] = HEATED,
    true: Landmarks | None = None,
    title: str = "",
) -> None:
    """Draw a scan in any pose at `path`, upright and from three sides, with its 68 landmarks, one colour for each region.

    Positions are metres. Heatmaps (over the points `samples`) of the landmarks `heated` make a fourth view. `confidence`, the probability
    that a landmark is within `confident_m`, is charted by region, and a landmark below UNSURE is hollow. `true` landmarks, NaN if unknown,
    are green and joined to the found ones; the title gives the mean distance. Hidden landmarks are pale. Raises NoMatplotlib,
    UnknownFormat.
    """
    check_drawable(path)
    upright = Upright.of(points, triangles, landmarks, true)
    rows = round(FACE_INCHES * DPI * PIXELS)
    pictures = {name: upright.seen(degrees, rows) for name, degrees in VIEWS.items()}
    if heatmaps is not None and samples is not None:
        which = [FACE68.joints.index(name) for name in heated]
        heights = upright.spread(np.clip(heatmaps[which].T, 0, 1), samples)
        pictures["heatmaps"] = upright.seen(0.0, rows, _heat(heights, which))
    hollow = np.zeros(len(landmarks), bool) if confidence is None else confidence < UNSURE
    charts = {}
    if confidence is not None:
        charts[f"probability to be within {1000 * confident_m:g} mm"] = confidence
    off = np.full(len(landmarks), np.nan) if true is None else 1000 * np.linalg.norm(landmarks - true, axis=1)
    if true is not None:
        charts["error, mm"] = off
        title += f"{': ' if title else ''}mean error {np.nanmean(off):.1f} mm"
    inches_per_mm = FACE_INCHES / (upright.high[1] - upright.low[1])
    left, gap, below, above, beside = 0.2, 0.25, 0.45, 0.6 if title else 0.35, 2.75 if charts else 0.0
    widths = [(seen.frame.high[0] - seen.frame.low[0]) * inches_per_mm for seen in pictures.values()]
    figure = blank(2 * left + sum(widths) + gap * (len(widths) - 1) + beside, below + FACE_INCHES + above)
    at = left
    for (name, seen), width in zip(pictures.items(), widths, strict=True):
        (x0, y0), (x1, y1) = seen.frame.low, seen.frame.high
        axes = panel(figure, (at, below, width, FACE_INCHES), (x0, y0), (x1, y1))
        axes.imshow(_painted(seen), extent=(x0, x1, y0, y1), interpolation="hanning", aspect="auto")
        axes.set_title(name, fontsize=8, color=INK, pad=3)
        if name in VIEWS:
            _draw_landmarks(axes, upright, VIEWS[name], seen, hollow)
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


def _colour(region: str) -> str:
    """Return the colour of a region of the face."""
    return next(colour for part, colour in PARTS.items() if part in region)


def _rgb(colour: str) -> tuple[float, ...]:
    """Convert "#rrggbb" to red, green and blue from 0 to 1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _heat(heights: Float[np.ndarray, "points heated"], which: Sequence[int]) -> Float[np.ndarray, "points 4"]:
    """Return the strongest heatmap at each point as its region's colour times its strength, then the strength."""
    colours = np.array([_rgb(_colour(region)) for i in which for region, of in FACE_REGIONS.items() if i in of])
    strength = heights.max(axis=1, keepdims=True)
    return np.concatenate([strength * colours[heights.argmax(axis=1)], strength], axis=1)


def _painted(seen: View) -> Float[np.ndarray, "rows columns 3"]:
    """Render the surface as clay, with its values, if it has any, painted on it."""
    clay = shaded(seen, RELIEF_MM)
    if not seen.values.shape[2]:
        return clay
    paint, strength = seen.values[..., :3], seen.values[..., 3:]
    return clay * (1 - strength) + paint * (0.35 + 0.65 * clay)


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
        paint = [(*_rgb(GREEN), alpha) for alpha in pale]
        axes.add_collection(
            LineCollection(list(np.stack([true, landmarks], axis=1)[..., :2]), colors=paint, linewidths=0.9)
        )
        axes.scatter(true[:, 0], true[:, 1], s=7, c=paint, linewidths=0, zorder=3)
    colours = {i: _rgb(_colour(region)) for region, members in FACE_REGIONS.items() for i in members}
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
                axes.barh(row, np.nanmean(theirs), 0.62, color=_colour(region), alpha=0.35, linewidth=0)
                axes.plot(theirs, np.full(len(theirs), row), ".", color=_colour(region), markersize=2.5, alpha=0.8)
        axes.set_yticks(range(len(FACE_REGIONS)), [region.replace("_", " ") for region in FACE_REGIONS])
        axes.set_ylim(len(FACE_REGIONS) - 0.4, -0.6)
        axes.set_xlim(0, 1.02 if title.startswith("prob") else None)
        axes.set_title(title, fontsize=8, color=INK, pad=3, loc="left")
        axes.tick_params(labelsize=7, length=0, colors=INK)
        axes.grid(axis="x", color=SHADOW, linewidth=0.6)
        axes.set_axisbelow(True)
        for edge in axes.spines.values():
            edge.set_visible(False)
