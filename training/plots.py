"""Pictures of results: error against horizon, and a strip of hand skeletons."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.contract.skeleton import HANDS
from training.evaluate import Report

GREY, BLUE, ORANGE, GREEN = "#8a8f98", "#2463eb", "#e8590c", "#2b8a3e"
STYLES = {
    "hold": (GREY, ":"),
    "constant velocity": (GREY, "-."),
    "damped velocity": (GREY, "--"),
    "ridge": (GREEN, "-"),
    "reference structure": (ORANGE, "-"),
    "EqMotion": (BLUE, "-"),
}


def error_against_horizon(report: Report, models: Sequence[str], path: Path) -> None:
    """Mean joint error in mm at each future moment, a panel a source and number of hands, a line a model."""
    groups = report.groups()
    columns = min(3, len(groups))
    figure, axes = plt.subplots(
        -(-len(groups) // columns),
        columns,
        figsize=(4.2 * columns, 3.2 * -(-len(groups) // columns)),
        squeeze=False,
        layout="constrained",
    )
    for panel, (source, hands) in zip(axes.flat, groups, strict=False):
        for model in models:
            row = report.row(source, hands, model)
            ms = 1000 * np.arange(1, len(row.by_frame_mm) + 1) / report.fps
            colour, line = STYLES.get(model, (BLUE, "-"))
            panel.plot(ms, row.by_frame_mm, line, color=colour, label=f"{model} ({row.mpjpe_mm:.1f})")
        best = report.best_without_weights(source, hands)
        panel.set_ylim(0, 1.6 * max(best.by_frame_mm))
        many = "recordings" if best.recordings > 1 else "recording"
        title = (
            f"{source}, {'two hands' if hands == 2 else 'one hand'}: {best.windows} windows, {best.recordings} {many}"
        )
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("ms ahead")
        panel.set_ylabel("mean joint error, mm")
        panel.grid(alpha=0.2)
        panel.legend(fontsize=7, frameon=False)
    for panel in axes.flat[len(groups) :]:
        panel.set_axis_off()
    _save(figure, path)


def strip(
    past: Float[np.ndarray, "past nodes 3"],
    true: Float[np.ndarray, "future nodes 3"],
    forecast: Float[np.ndarray, "future nodes 3"],
    fps: float,
    path: Path,
    title: str = "",
) -> None:
    """One clip as a row of moments: past in grey, what came in green, the forecast in blue; seen along the direction of least spread."""
    everything = np.concatenate([past, true, forecast]).reshape(-1, 3)
    centre = everything.mean(axis=0)
    axes_of_view = np.linalg.svd(everything - centre, full_matrices=False)[2][:2]
    flat = [(poses - centre) @ axes_of_view.T * 1000 for poses in (past, true, forecast)]
    low, high = np.min([f.min(axis=(0, 1)) for f in flat], axis=0), np.max([f.max(axis=(0, 1)) for f in flat], axis=0)
    moments = [("past", f) for f in np.linspace(0, len(past) - 1, 3).astype(int)]
    moments += [("future", f) for f in np.linspace(0, len(true) - 1, 5).astype(int)]
    figure, panels = plt.subplots(
        1, len(moments), figsize=(2 * len(moments), 2.6), sharex=True, sharey=True, layout="constrained"
    )
    for panel, (kind, frame) in zip(panels, moments, strict=True):
        if kind == "past":
            _draw(panel, flat[0][frame], GREY)
            panel.set_title(f"{1000 * (frame - len(past) + 1) / fps:.0f} ms", fontsize=9)
        else:
            _draw(panel, flat[1][frame], GREEN)
            _draw(panel, flat[2][frame], BLUE)
            error = 1000 * np.linalg.norm(true[frame] - forecast[frame], axis=-1).mean()
            panel.set_title(f"{1000 * (frame + 1) / fps:+.0f} ms: {error:.0f} mm", fontsize=9)
        panel.set_aspect("equal")
        panel.set_xlim(low[0] - 20, high[0] + 20)
        panel.set_ylim(low[1] - 20, high[1] + 20)
        panel.set_axis_off()
    figure.suptitle(title or "grey: past, green: what came, blue: forecast", fontsize=9)
    _save(figure, path)


def _draw(panel: Axes, points: Float[np.ndarray, "nodes 2"], colour: str) -> None:
    hand = HANDS["assembly101"]
    for joints in np.split(points, len(points) // len(hand.joints)):
        for a, b in hand.bones:
            panel.plot(*joints[[a, b]].T, color=colour, linewidth=1.2, solid_capstyle="round")
        panel.plot(*joints.T, ".", color=colour, markersize=2)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130)
    plt.close(figure)
