"""Pictures: a face scan with its landmarks, and a strip of hand skeletons with what was forecast.

matplotlib is imported when something is drawn, and not before: serving needs none. Lengths come in metres; inside a picture they are
millimetres, and where things are on the page is in inches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models.contract.skeleton import ASSEMBLY101, FACE68, FACE_REGIONS
from models.contract.surfels import View, shaded
from models.contract.upright import Landmarks, Upright

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object

FORMATS = (".png", ".pdf", ".svg")
DPI = 180
INK, GREY, SHADOW = "#343a40", "#8a8f98", "#dcdfe4"
BLUE, ORANGE, GREEN, PURPLE, TEAL, PINK = "#2463eb", "#e8590c", "#2b8a3e", "#7048e8", "#0c8599", "#d6336c"
PARTS = {"jaw": BLUE, "brow": PURPLE, "nose": ORANGE, "eye": TEAL, "lip": PINK}  # of a region's name
VIEWS = {"front": 0.0, "three-quarter": 40.0, "side": 90.0}  # degrees that the head is turned
FACE_INCHES, HAND_INCHES = 3.6, np.array([1.7, 1.9])
CAPTION_INCHES = 1.15  # the least that a panel with a caption is wide
PIXELS = 1.25  # of a surface in one of the picture
HIDDEN_MM = 7.0  # so far behind what is seen a landmark is on the other side, and not a little too deep
RELIEF_MM = 6.0  # depth of the hollows that tell a face: eyes, nostrils, lips
PALE = 0.2  # how opaque what is hidden is drawn
UNSURE = 0.5  # a landmark of less confidence is drawn hollow
HEATED = ("chin", "right_eye_outer", "left_eye_outer", "nose_tip", "right_mouth_corner", "left_mouth_corner")

Line = Literal["-", "--", "-.", ":"]
Corner = tuple[float, float] | Float[np.ndarray, "2"]


class NoMatplotlib(ImportError):
    """Pictures were asked for where matplotlib is not installed."""


class UnknownFormat(ValueError):
    """A picture's suffix that is none of FORMATS."""


def check_drawable(path: Path) -> None:
    """Raises NoMatplotlib or UnknownFormat if no picture can be drawn at `path`: to be asked before a long computation."""
    if path.suffix.lower() not in FORMATS:
        raise UnknownFormat(f"pictures are {', '.join(FORMATS)}; came {path.name}")
    try:
        import matplotlib  # noqa: F401 - whether it is installed is asked
    except ImportError as error:
        raise NoMatplotlib("pictures want matplotlib, which is not installed: pip install 'chiron[plot]'") from error


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches, of which no window and no global state knows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the suffix."""
    figure.savefig(path, dpi=DPI)


def legend(figure: Figure, entries: Mapping[str, tuple[str, Line]]) -> None:
    """One legend for the whole figure, at its foot: colour and line style by name."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, linestyle=line, linewidth=2, label=name) for name, (c, line) in entries.items()]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=len(handles), frameon=False, fontsize=8,
        labelcolor=INK, handlelength=2.4, columnspacing=1.6,
    )  # fmt: skip


def strip(
    past: Float[np.ndarray, "past nodes 3"],
    true: Float[np.ndarray, "future nodes 3"] | None,
    forecast: Float[np.ndarray, "future nodes 3"],
    fps: float,
    path: Path,
    title: str = "",
) -> None:
    """A clip as a row of moments: the past, then the forecast beside what came, where that is known.

    One hand or two in Assembly101 order, fingers up, seen along the direction in which they spread least. All moments have one scale, and
    the eye follows the hands; the last pose of the past stays where it was, as a shadow.
    """
    check_drawable(path)
    drawn = {GREEN: true, BLUE: forecast} if true is not None else {BLUE: forecast}
    before = np.unique(np.linspace(0, len(past) - 1, 3).astype(int))
    after = np.unique(np.linspace(0, len(forecast) - 1, 5).astype(int))
    plane = _plane(np.concatenate([past[before], *(poses[after] for poses in drawn.values())]), past[-1])
    history, *futures = (1000 * (poses @ plane.T) for poses in (past, *drawn.values()))
    moments = [{GREY: history[i]} for i in before]
    moments += [dict(zip(drawn, (poses[i] for poses in futures), strict=True)) for i in after]
    shown = [np.concatenate(list(moment.values())) for moment in moments]
    middles = [(points.min(axis=0) + points.max(axis=0)) / 2 for points in shown]
    size = np.max([np.ptp(points, axis=0) for points in shown], axis=0) + 12
    inch = float((HAND_INCHES / size).min())  # of a millimetre
    width, height = (float(inches) for inches in np.maximum(size * inch, CAPTION_INCHES))
    left, gap, below, above = 0.15, 0.1, 0.45, 0.55 if title else 0.35
    figure = blank(2 * left + len(moments) * (width + gap) - gap, below + height + above)
    for i, (moment, middle) in enumerate(zip(moments, middles, strict=True)):
        half = np.array([width, height]) / inch / 2
        panel = _panel(figure, (left + i * (width + gap), below, width, height), middle - half, middle + half)
        if i < len(before):
            caption = f"{1000 * (before[i] - len(past) + 1) / fps:.0f} ms"
        else:
            frame = after[i - len(before)]
            caption = f"{1000 * (frame + 1) / fps:+.0f} ms"
            if true is not None:
                caption += f": {1000 * np.linalg.norm(true[frame] - forecast[frame], axis=-1).mean():.0f} mm"
            _draw_hands(panel, history[-1], SHADOW)
        for colour, poses in moment.items():
            _draw_hands(panel, poses, colour)
        panel.set_title(caption, fontsize=8, color=INK, pad=3)
    names = {"past": GREY, "what came": GREEN, "forecast": BLUE}
    legend(figure, {name: (c, "-") for name, c in names.items() if c == GREY or c in drawn})
    _scale_bar(figure, left, inch)
    _headline(figure, left, title)
    save(figure, path)


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


def _plane(poses: Float[np.ndarray, "frames nodes 3"], last: Float[np.ndarray, "nodes 3"]) -> Float[np.ndarray, "2 3"]:
    """Right and up of someone who looks along the direction of least spread and sees fingers up, a left hand on the left."""
    spread = poses.reshape(-1, 3) - poses.mean(axis=(0, 1))
    towards = np.linalg.svd(spread, full_matrices=False)[2][2]
    hands = last.reshape(-1, len(ASSEMBLY101.joints), 3)
    wrist, knuckle = ASSEMBLY101.indices(("wrist", "middle_mcp"))
    up = (hands[:, knuckle] - hands[:, wrist]).sum(axis=0)
    up -= (up @ towards) * towards
    up /= max(float(np.linalg.norm(up)), 1e-12)
    right = np.cross(up, towards)
    aside = hands[-1].mean(axis=0) - hands[0].mean(axis=0) if len(hands) == 2 else hands[0, 0] - hands[0, wrist]
    return np.stack([right if right @ aside >= 0 else -right, up])


def _draw_hands(panel: Axes, points: Float[np.ndarray, "nodes 2"], colour: str) -> None:
    for joints in np.split(points, len(points) // len(ASSEMBLY101.joints)):
        for a, b in ASSEMBLY101.bones:
            panel.plot(*joints[[a, b]].T, color=colour, linewidth=1.3, solid_capstyle="round")
        panel.plot(*joints.T, ".", color=colour, markersize=2.5)


def _share(figure: Figure, inches: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Left, bottom, width and height as shares of the figure."""
    (left, bottom, width, height), (w, h) = inches, figure.get_size_inches()
    return left / w, bottom / h, width / w, height / h


def _panel(figure: Figure, inches: tuple[float, float, float, float], low: Corner, high: Corner) -> Axes:
    """Axes without any line, over a rectangle of millimetres."""
    panel = figure.add_axes(_share(figure, inches), xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    panel.set_axis_off()
    return panel


def _scale_bar(figure: Figure, left: float, inch: float) -> None:
    """A bar at the foot, on the left: the roundest length of at most an inch."""
    length = max((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n * inch <= 0.9), default=1)
    panel = figure.add_axes(_share(figure, (left, 0.12, max(length * inch, 0.01), 0.2)))
    panel.set_axis_off()
    panel.plot([0, 1], [0.5, 0.5], color=INK, linewidth=2, solid_capstyle="butt", clip_on=False)
    panel.text(1.0, 0.5, f"  {length} mm", fontsize=8, color=INK, va="center", transform=panel.transAxes)


def _headline(figure: Figure, left: float, title: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 0.1 / height, title, fontsize=10, color=INK, va="top", weight="bold")
