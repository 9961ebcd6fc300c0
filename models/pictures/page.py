"""Pictures: a face scan with its landmarks, and a strip of hand skeletons with what was forecast.

matplotlib is imported when something is drawn, and not before: serving needs none. Lengths come in metres; inside a picture they are
millimetres, and where things are on the page is in inches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object

FORMATS = (".png", ".pdf", ".svg")
DPI = 180
INK, GREY, SHADOW = "#343a40", "#8a8f98", "#dcdfe4"
BLUE, ORANGE, GREEN, PURPLE, TEAL, PINK = "#2463eb", "#e8590c", "#2b8a3e", "#7048e8", "#0c8599", "#d6336c"

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
