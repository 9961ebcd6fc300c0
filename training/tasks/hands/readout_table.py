"""The table of read-outs: the same networks with absolute poses and with a residual to the last pose; and what Constant's error is.

The published comparison ranks equivariant networks first. Those networks answer with the last pose plus an update, and the others with a
pose. This table separates the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, hold
from training.engine.benchmark import interval, markdown
from training.tasks.hands.comparison_table import best_without_weights, spread
from training.tasks.hands.epochs import EpochBatches
from training.tasks.hands.report import forecast
from training.tasks.hands.results import Row, gain
from training.tasks.hands.windows import PRESETS

PUBLISHED_CONSTANT = {"train": 0.127, "test": 0.124}
CELL_WINDOWS = 500  # of each source


def readout_json(pairs: Mapping[str, tuple[Row, Row]], floor: Sequence[Row], sources: Sequence[str]) -> dict[str, Any]:
    """Return errors in mm by source and network, with absolute poses and with a residual, and the gain of the residual in %."""
    content: dict[str, Any] = {}
    for source in sources:
        base = best_without_weights(floor, source)
        content[source] = {"best_without_weights": {base.name: round(base.mpjpe_mm(source)[0], 3)}, "networks": {}}
        for name, (absolute, residual) in pairs.items():
            percent, bounds = gain(residual, absolute, source)
            content[source]["networks"][name] = {
                "absolute_mm": [round(mm, 3) for mm in absolute.mpjpe_mm(source)],
                "residual_mm": [round(mm, 3) for mm in residual.mpjpe_mm(source)],
                "absolute_first_epoch_mm": _first_epoch(absolute, source),
                "residual_first_epoch_mm": _first_epoch(residual, source),
                "gain_of_residual_percent": round(percent, 2),
                "gain_interval_percent": bounds and (round(bounds[0], 2), round(bounds[1], 2)),
            }
    return content


def _first_epoch(row: Row, source: str) -> float:
    return round(float(np.mean([figures.curve[0].test[source].mpjpe_mm for figures in row.figures])), 3)


def readout_markdown(content: Mapping[str, Any]) -> str:
    """Return a table for each source."""
    parts = []
    for source, found in content.items():
        ((base, mm),) = found["best_without_weights"].items()
        parts.append(f"### {source}: MPJPE in mm; {base}, the best without weights, has {mm:.1f}")
        lines = [
            (
                name,
                spread(one["absolute_mm"]),
                spread(one["residual_mm"]),
                f"{one['absolute_first_epoch_mm']:.1f}",
                f"{one['residual_first_epoch_mm']:.1f}",
                f"{one['gain_of_residual_percent']:.1f} %",
                interval(one["gain_interval_percent"]),
            )
            for name, one in found["networks"].items()
        ]
        columns = ("absolute poses", "residual to the last pose", "absolute, epoch 1", "residual, epoch 1")
        parts.append(markdown(("network", *columns, "gain of the residual", "95 % interval, %"), lines))
    return "\n\n".join(parts)


def constant_cells(
    batches: EpochBatches, sources: Sequence[str], presets: Sequence[str] = ("30+30@30", "60+60@60")
) -> list[dict[str, Any]]:
    """Return the error of Constant, which repeats the last pose, in each unit and measure, by window, split and source.

    Units: metres, decimetres, and the standard deviation of the clip's coordinates about their mean over joints and frames. Measures: the
    mean squared distance, the mean squared coordinate, and the mean distance.
    """
    cells = []
    for name in presets:
        window = PRESETS[name]
        task = HandForecast(past=window.past, future=window.future, fps=window.fps)
        for split in ("train", "test"):
            for source in sources:
                windows = batches.windows(split, 2, (source,), phases="first", window=window)
                if not len(windows):
                    continue
                past, true = windows.past_future(np.arange(0, len(windows), max(1, len(windows) // CELL_WINDOWS)))
                answer = forecast(LinearForecast(task, hold(task)), past)
                clip = np.concatenate([past, true], axis=1)
                own = clip.reshape(len(clip), -1, 3) - clip.mean(axis=(1, 2))[:, None]
                scales = {"m": 1.0, "dm": 10.0, "clip std": 1 / own.std(axis=(1, 2))[:, None, None, None]}
                for unit, scale in scales.items():
                    off = (answer - true) * scale
                    cells.append(
                        {
                            "window": name,
                            "split": split,
                            "source": source,
                            "windows": len(past),
                            "unit": unit,
                            "MSE": float(np.square(off).sum(-1).mean()),
                            "MSE of a coordinate": float(np.square(off).mean()),
                            "MPJPE": float(np.linalg.norm(off, axis=-1).mean()),
                        }
                    )
    return cells


def cells_markdown(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the errors of Constant beside the published ones; the cell nearest to them in each line is bold."""
    measures = ("MSE", "MSE of a coordinate", "MPJPE")
    lines = []
    for cell in cells:
        wanted = PUBLISHED_CONSTANT[cell["split"]]
        near = min(measures, key=lambda measure: abs(np.log(cell[measure] / wanted)))
        shown = (f"**{cell[m]:.3f}**" if m == near else f"{cell[m]:.3f}" for m in measures)
        lines.append((*(str(cell[key]) for key in ("window", "split", "source", "windows", "unit")), *shown))
    return markdown(("window", "split", "source", "windows", "unit", *measures), lines)
