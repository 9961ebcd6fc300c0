"""Pictures of body motion: a row of moments for each view, skeletons on top of each other by colour."""

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
    headline,
    legend,
    panel,
    save,
)
from models.skeletons.skeleton import Skeleton

INCHES = 1.5  # the width and height of a panel
COLOURS = {"keypoints": GREY, "past": GREY, "true": GREEN, "network": BLUE}
FRONT, SIDE = (0, 1), (2, 1)  # the camera's axes of a view: x right, y down, z forward
MOMENTS = 6


@dataclass(frozen=True)
class View:
    """One row of a picture: its name, and flat poses for each layer, with y down and NaN for a missing joint."""

    name: str
    layers: Mapping[str, tuple[Skeleton, Float[np.ndarray, "moments joints 2"]]]


def draw_bodies(views: Sequence[View], captions: Sequence[str], path: Path, title: str = "") -> None:
    """Draw all views at `path`, a row for each view and a column for each moment.

    A row has one scale, and each panel is centred on its poses. Layers have the names of COLOURS. The right side of a body is dashed.
    Raises NoMatplotlib, UnknownFormat.
    """
    check_drawable(path)
    head, foot, left = 0.55 if title else 0.3, 0.35, 0.9
    figure = blank(left + INCHES * len(captions), head + INCHES * len(views) + foot)
    width, height = figure.get_size_inches()
    for row, view in enumerate(views):
        every = np.concatenate([points for _, points in view.layers.values()], axis=1)
        low, high = np.fmin.reduce(every, axis=1), np.fmax.reduce(every, axis=1)  # NaN in a moment without a joint
        half = 0.58 * float(np.nan_to_num(high - low).max()) or 1.0
        middles = np.nan_to_num((low + high) / 2)
        bottom = foot + INCHES * (len(views) - 1 - row)
        figure.text(0.1 / width, (bottom + INCHES / 2) / height, view.name, fontsize=8, color=INK, va="center")
        for column, caption in enumerate(captions):
            x, y = middles[column].tolist()
            inches = (left + INCHES * column, bottom, INCHES, INCHES)
            axes = panel(figure, inches, (x - half, y + half), (x + half, y - half))
            if row == 0:
                axes.set_title(caption, fontsize=8, color=INK, pad=2)
            for name, (skeleton, points) in view.layers.items():
                for a, b in skeleton.bones:
                    right = "right" in skeleton.joints[a] or "right" in skeleton.joints[b]
                    axes.plot(*points[column][[a, b]].T, "--" if right else "-", color=COLOURS[name], linewidth=1.4)
    names: dict[str, tuple[str, Line]] = {
        name: (COLOURS[name], "-") for name in dict.fromkeys(name for view in views for name in view.layers)
    }
    legend(figure, {**names, "right side": (INK, "--")})
    headline(figure, 0.1, title)
    save(figure, path)


def moments(frames: int) -> list[int]:
    """Return the numbers of at most MOMENTS frames of a clip, spread evenly from the first to the last."""
    return np.unique(np.linspace(0, frames - 1, MOMENTS).round().astype(int)).tolist()
