"""Pictures of bodies: a row of moments a view, skeletons over each other by colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.pictures.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    Line,
    blank,
    check_drawable,
    legend,
    save,
)
from models.skeletons.skeleton import Skeleton

INCHES = 1.5  # of a panel
COLOURS = {"keypoints": GREY, "past": GREY, "true": GREEN, "network": BLUE}
FRONT, SIDE = (0, 1), (2, 1)  # axes of the camera: x right, y down, z forward
MOMENTS = 6


@dataclass(frozen=True)
class View:
    """One row: flat poses of every layer, NaN where missing, y down, with its name."""

    name: str
    layers: Mapping[str, tuple[Skeleton, Float[np.ndarray, "moments joints 2"]]]


def bodies(views: Sequence[View], captions: Sequence[str], path: Path, title: str = "") -> None:
    """A picture of all views, a row each, and moments, a column each. A row has one scale; each panel is centred on what it shows.

    Layers are named as in COLOURS; the right side of a body is drawn dashed.
    """
    check_drawable(path)
    head, foot, left = 0.55 if title else 0.3, 0.35, 0.9
    figure = blank(left + INCHES * len(captions), head + INCHES * len(views) + foot)
    width, height = figure.get_size_inches()
    for row, view in enumerate(views):
        every = np.concatenate([points for _, points in view.layers.values()], axis=1)
        low, high = np.fmin.reduce(every, axis=1), np.fmax.reduce(every, axis=1)  # NaN where nothing is seen
        half = 0.58 * float(np.nan_to_num(high - low).max()) or 1.0
        middles = np.nan_to_num((low + high) / 2)
        bottom = foot + INCHES * (len(views) - 1 - row)
        figure.text(0.1 / width, (bottom + INCHES / 2) / height, view.name, fontsize=8, color=INK, va="center")
        for column, caption in enumerate(captions):
            middle = middles[column]
            where = ((left + INCHES * column) / width, bottom / height, INCHES / width, INCHES / height)
            limits = {"xlim": (middle[0] - half, middle[0] + half), "ylim": (middle[1] + half, middle[1] - half)}
            panel = figure.add_axes(where, **limits)  # pyright: ignore[reportArgumentType, reportCallIssue] - matplotlib's stub
            panel.set_axis_off()
            if row == 0:
                panel.set_title(caption, fontsize=8, color=INK, pad=2)
            for name, (skeleton, points) in view.layers.items():
                for a, b in skeleton.bones:
                    right = "right" in skeleton.joints[a] or "right" in skeleton.joints[b]
                    panel.plot(*points[column][[a, b]].T, "--" if right else "-", color=COLOURS[name], linewidth=1.4)
    names: dict[str, tuple[str, Line]] = {
        name: (COLOURS[name], "-") for name in dict.fromkeys(name for view in views for name in view.layers)
    }
    legend(figure, {**names, "right side": (INK, "--")})
    if title:
        figure.text(0.1 / width, 1 - 0.08 / height, title, fontsize=9, color=INK, va="top", weight="bold")
    save(figure, path)


def moments(frames: int) -> list[int]:
    """Some frames of a clip, from the first to the last, evenly."""
    return np.unique(np.linspace(0, frames - 1, MOMENTS).round().astype(int)).tolist()
