"""The page of a picture: colours, panels, legend, scale bar, title and file formats.

matplotlib is imported when something is drawn and not before, because serving does not need it. Positions on the page are in inches;
lengths inside a panel are in millimetres.
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
    """A picture was requested, but matplotlib is not installed."""


class UnknownFormat(ValueError):
    """A suffix of a picture file that is not in FORMATS."""


def check_drawable(path: Path) -> None:
    """Raise NoMatplotlib or UnknownFormat if no picture can be drawn at `path`; call this before a long computation."""
    if path.suffix.lower() not in FORMATS:
        raise UnknownFormat(f"expected a picture file, one of {', '.join(FORMATS)}, got {path.name}")
    try:
        import matplotlib  # noqa: F401 - imported to find out whether it is installed
    except ImportError as error:
        raise NoMatplotlib(
            "pictures need matplotlib, which is not installed; run: pip install 'chiron[plot]'"
        ) from error


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, without a window and outside matplotlib's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def save(figure: Figure, path: Path) -> None:
    """Write the figure to `path` in the format of its suffix."""
    figure.savefig(path, dpi=DPI)


def legend(figure: Figure, entries: Mapping[str, tuple[str, Line]], columns: int | None = None) -> None:
    """Draw one legend for the whole figure at its foot, with a colour and line style for each name, in one row unless `columns` is less."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, linestyle=line, linewidth=2, label=name) for name, (c, line) in entries.items()]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=columns or max(len(handles), 1), frameon=False, fontsize=8,
        labelcolor=INK, handlelength=2.4, columnspacing=1.6,
    )  # fmt: skip


def fractions(figure: Figure, inches: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Convert left, bottom, width and height in inches to fractions of the figure."""
    (left, bottom, width, height), (w, h) = inches, figure.get_size_inches()
    return left / w, bottom / h, width / w, height / h


def panel(figure: Figure, inches: tuple[float, float, float, float], low: Corner, high: Corner) -> Axes:
    """Add axes without lines at `inches` (left, bottom, width, height) that show a rectangle of millimetres."""
    axes = figure.add_axes(fractions(figure, inches), xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_axis_off()
    return axes


def scale_bar(figure: Figure, left: float, inches_per_mm: float) -> None:
    """Draw a scale bar at the foot on the left, of a round length of at most 0.9 inches."""
    length = max((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n * inches_per_mm <= 0.9), default=1)
    axes = figure.add_axes(fractions(figure, (left, 0.12, max(length * inches_per_mm, 0.01), 0.2)))
    axes.set_axis_off()
    axes.plot([0, 1], [0.5, 0.5], color=INK, linewidth=2, solid_capstyle="butt", clip_on=False)
    axes.text(1.0, 0.5, f"  {length} mm", fontsize=8, color=INK, va="center", transform=axes.transAxes)


def headline(figure: Figure, left: float, title: str) -> None:
    """Write the title at the top, `left` inches from the edge."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 0.1 / height, title, fontsize=10, color=INK, va="top", weight="bold")
