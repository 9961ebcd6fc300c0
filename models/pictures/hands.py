"""Pictures of hand motion: a row of moments, observed, true and forecast poses by colour."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from models.pictures.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    SHADOW,
    blank,
    check_drawable,
    headline,
    legend,
    panel,
    save,
    scale_bar,
)
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object


HAND_INCHES = np.array([1.7, 1.9])  # the largest width and height of a drawn hand
CAPTION_INCHES = 1.15  # the smallest width of a panel with a caption


def draw_hands(
    past: Float[np.ndarray, "past nodes 3"],
    true: Float[np.ndarray, "future nodes 3"] | None,
    forecast: Float[np.ndarray, "future nodes 3"],
    fps: float,
    path: Path,
    title: str = "",
    order: Skeleton = ASSEMBLY101,
) -> None:
    """Draw a clip as a row of moments at `path`: the past, then the forecast beside the true future if that is known.

    Positions are metres, of one hand or two. Fingers point up, and the view is along the direction of least spread.
    All moments have one scale, and each panel is centred on its hands. The last past pose stays in the panels of the future as a shadow.
    A joint that is NaN is left out. Raises NoMatplotlib, UnknownFormat.
    """
    check_drawable(path)
    drawn = {GREEN: true, BLUE: forecast} if true is not None else {BLUE: forecast}
    before = np.unique(np.linspace(0, len(past) - 1, 3).astype(int))
    after = np.unique(np.linspace(0, len(forecast) - 1, 5).astype(int))
    shown = np.concatenate([past[before], *(poses[after] for poses in drawn.values())])
    middle_joint = np.nanmean(past[-1], axis=0)
    clips, last = (np.where(np.isnan(poses), middle_joint, poses) for poses in (shown, past[-1]))
    plane = _plane(clips, last, order)
    history, *futures = (1000 * (poses @ plane.T) for poses in (past, *drawn.values()))
    moments = [{GREY: history[i]} for i in before]
    moments += [dict(zip(drawn, (poses[i] for poses in futures), strict=True)) for i in after]
    outlines = [np.concatenate(list(moment.values())) for moment in moments]
    middles = [(np.nanmin(points, axis=0) + np.nanmax(points, axis=0)) / 2 for points in outlines]
    size = np.max([np.nanmax(points, axis=0) - np.nanmin(points, axis=0) for points in outlines], axis=0) + 12
    inches_per_mm = float((HAND_INCHES / size).min())
    width, height = (float(inches) for inches in np.maximum(size * inches_per_mm, CAPTION_INCHES))
    half = np.array([width, height]) / inches_per_mm / 2
    left, gap, below, above = 0.15, 0.1, 0.45, 0.55 if title else 0.35
    figure = blank(2 * left + len(moments) * (width + gap) - gap, below + height + above)
    for i, (moment, middle) in enumerate(zip(moments, middles, strict=True)):
        axes = panel(figure, (left + i * (width + gap), below, width, height), middle - half, middle + half)
        if i < len(before):
            caption = f"{1000 * (before[i] - len(past) + 1) / fps:.0f} ms"
        else:
            frame = after[i - len(before)]
            caption = f"{1000 * (frame + 1) / fps:+.0f} ms"
            if true is not None:
                caption += f": {1000 * np.linalg.norm(true[frame] - forecast[frame], axis=-1).mean():.0f} mm"
            _draw_skeletons(axes, history[-1], SHADOW, order)
        for colour, poses in moment.items():
            _draw_skeletons(axes, poses, colour, order)
        axes.set_title(caption, fontsize=8, color=INK, pad=3)
    names = {"past": GREY, "true future": GREEN, "forecast": BLUE}
    legend(figure, {name: (c, "-") for name, c in names.items() if c == GREY or c in drawn})
    scale_bar(figure, left, inches_per_mm)
    headline(figure, left, title)
    save(figure, path)


def _plane(
    poses: Float[np.ndarray, "frames nodes 3"], last: Float[np.ndarray, "nodes 3"], order: Skeleton
) -> Float[np.ndarray, "2 3"]:
    """Return the axes right and up of a view along the direction of least spread, fingers up and a left hand on the left.

    Of a skeleton of one's own, the first bone points up.
    """
    spread = poses.reshape(-1, 3) - poses.mean(axis=(0, 1))
    towards = np.linalg.svd(spread, full_matrices=False)[2][2]
    hands = last.reshape(-1, len(order.joints), 3)
    if order.name == ASSEMBLY101.name:
        wrist, knuckle, thumb = order.indices(("wrist", "middle_mcp", "thumb_tip"))
    else:
        (wrist, knuckle), thumb = order.bones[0], order.bones[-1][1]
    up = (hands[:, knuckle] - hands[:, wrist]).sum(axis=0)
    up -= (up @ towards) * towards
    up /= max(float(np.linalg.norm(up)), 1e-12)
    right = np.cross(up, towards)
    aside = hands[-1].mean(axis=0) - hands[0].mean(axis=0) if len(hands) == 2 else hands[0, thumb] - hands[0, wrist]
    return np.stack([right if right @ aside >= 0 else -right, up])


def _draw_skeletons(axes: Axes, points: Float[np.ndarray, "nodes 2"], colour: str, order: Skeleton) -> None:
    """Draw the bones and joints of one hand or two."""
    for joints in np.split(points, len(points) // len(order.joints)):
        for a, b in order.bones:
            axes.plot(*joints[[a, b]].T, color=colour, linewidth=1.3, solid_capstyle="round")
        axes.plot(*joints.T, ".", color=colour, markersize=2.5)
