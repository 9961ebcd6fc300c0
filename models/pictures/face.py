"""models.pictures.face."""

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
    _headline,
    _panel,
    _scale_bar,
    _share,
    blank,
    check_drawable,
    legend,
    save,
)
from models.pictures.surfels import View, shaded
from models.pictures.upright import Landmarks, Upright
from models.skeletons.face import FACE68, FACE_REGIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object


PARTS = {"jaw": BLUE, "brow": PURPLE, "nose": ORANGE, "eye": TEAL, "lip": PINK}  # of a region's name


VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 90.0}  # degrees that the head is turned


FACE_INCHES = 3.6


PIXELS = 1.25  # of a surface in one of the picture


HIDDEN_MM = 7.0  # so far behind what is seen a landmark is on the other side, and not a little too deep


RELIEF_MM = 6.0  # depth of the hollows that tell a face: eyes, nostrils, lips


PALE = 0.2  # how opaque what is hidden is drawn


UNSURE = 0.5  # a landmark of less confidence is drawn hollow


HEATED = ("chin", "right_eye_outer", "left_eye_outer", "nose_tip", "right_mouth_corner", "left_mouth_corner")


def face(
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
    """A scan in any pose, upright and from three sides, with the 68 landmarks found on it, region by region.

    Heatmaps (over the points `samples`) of the landmarks `heated` make a fourth picture. `confidence`, that a landmark is within
    `confident_m`, is charted by region, and a landmark below UNSURE is hollow. `true` landmarks, NaN where they are not known, are green
    and tied to those found; the mean distance is in the title. What is out of sight is pale.
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
    inch = FACE_INCHES / (upright.high[1] - upright.low[1])  # of a millimetre
    left, gap, below, above, beside = 0.2, 0.25, 0.45, 0.6 if title else 0.35, 2.75 if charts else 0.0
    widths = [(seen.frame.high[0] - seen.frame.low[0]) * inch for seen in pictures.values()]
    figure = blank(2 * left + sum(widths) + gap * (len(widths) - 1) + beside, below + FACE_INCHES + above)
    at = left
    for (name, seen), width in zip(pictures.items(), widths, strict=True):
        (x0, y0), (x1, y1) = seen.frame.low, seen.frame.high
        panel = _panel(figure, (at, below, width, FACE_INCHES), (x0, y0), (x1, y1))
        panel.imshow(_painted(seen), extent=(x0, x1, y0, y1), interpolation="hanning", aspect="auto")
        panel.set_title(name, fontsize=8, color=INK, pad=3)
        if name in VIEWS:
            _draw_landmarks(panel, upright, VIEWS[name], seen, hollow)
        at += width + gap
    _draw_charts(figure, charts, at + 0.75, below)
    names: dict[str, tuple[str, Line]] = {
        part if part in ("jaw", "nose") else f"{part}s": (colour, "-") for part, colour in PARTS.items()
    }
    if true is not None:
        names["true"] = (GREEN, "-")
    legend(figure, names)
    _scale_bar(figure, left, inch)
    _headline(figure, left, title)
    save(figure, path)


def _colour(region: str) -> str:
    return next(colour for part, colour in PARTS.items() if part in region)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _heat(heights: Float[np.ndarray, "points heated"], which: Sequence[int]) -> Float[np.ndarray, "points 4"]:
    """Colour times strength, and strength, of the strongest heatmap at each point, in the colour of its region."""
    colours = np.array([_rgb(_colour(region)) for i in which for region, of in FACE_REGIONS.items() if i in of])
    strength = heights.max(axis=1, keepdims=True)
    return np.concatenate([strength * colours[heights.argmax(axis=1)], strength], axis=1)


def _painted(seen: View) -> Float[np.ndarray, "rows columns 3"]:
    """The surface in clay, with its values, if it has any, as paint."""
    clay = shaded(seen, RELIEF_MM)
    if not seen.values.shape[2]:
        return clay
    paint, strength = seen.values[..., :3], seen.values[..., 3:]
    return clay * (1 - strength) + paint * (0.35 + 0.65 * clay)


def _draw_landmarks(
    panel: Axes, upright: Upright, degrees: float, seen: View, hollow: Bool[np.ndarray, " landmarks"]
) -> None:
    from matplotlib.collections import LineCollection

    turn = upright.turn(degrees)
    found = upright.landmarks @ turn.T
    pale = np.where(seen.hidden(found, HIDDEN_MM), PALE, 1.0)
    if upright.true is not None:
        true = upright.true @ turn.T
        paint = [(*_rgb(GREEN), alpha) for alpha in pale]
        panel.add_collection(
            LineCollection(list(np.stack([true, found], axis=1)[..., :2]), colors=paint, linewidths=0.9)
        )
        panel.scatter(true[:, 0], true[:, 1], s=7, c=paint, linewidths=0, zorder=3)
    colours = {i: _rgb(_colour(region)) for region, members in FACE_REGIONS.items() for i in members}
    bones = [(*colours[a], min(pale[a], pale[b])) for a, b in FACE68.bones]
    panel.add_collection(
        LineCollection(list(found[np.array(FACE68.bones), :2]), colors=bones, linewidths=1.1, zorder=4)
    )
    white = (1.0, 1.0, 1.0)
    for i, (x, y, _) in enumerate(found):
        fill, edge = (white, colours[i]) if hollow[i] else (colours[i], white)
        panel.plot(
            x, y, "o", markersize=3, color=fill, markeredgecolor=edge, markeredgewidth=0.5, alpha=pale[i], zorder=5
        )


def _draw_charts(
    figure: Figure, charts: Mapping[str, Float[np.ndarray, " landmarks"]], left: float, below: float
) -> None:
    """Bars of a mean by region, with a dot a landmark, one chart above the other."""
    width, height = 1.75, (FACE_INCHES - 0.55 * (len(charts) - 1)) / max(len(charts), 1)
    for i, (title, values) in enumerate(charts.items()):
        bottom = below + (len(charts) - 1 - i) * (height + 0.55)
        panel = figure.add_axes(_share(figure, (left, bottom + 0.1, width, height - 0.1)))
        for row, (region, members) in enumerate(FACE_REGIONS.items()):
            theirs = values[list(members)]
            if np.isfinite(theirs).any():
                panel.barh(row, np.nanmean(theirs), 0.62, color=_colour(region), alpha=0.35, linewidth=0)
                panel.plot(theirs, np.full(len(theirs), row), ".", color=_colour(region), markersize=2.5, alpha=0.8)
        panel.set_yticks(range(len(FACE_REGIONS)), [region.replace("_", " ") for region in FACE_REGIONS])
        panel.set_ylim(len(FACE_REGIONS) - 0.4, -0.6)
        panel.set_xlim(0, 1.02 if title.startswith("prob") else None)
        panel.set_title(title, fontsize=8, color=INK, pad=3, loc="left")
        panel.tick_params(labelsize=7, length=0, colors=INK)
        panel.grid(axis="x", color=SHADOW, linewidth=0.6)
        panel.set_axisbelow(True)
        for edge in panel.spines.values():
            edge.set_visible(False)
