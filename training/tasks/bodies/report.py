"""Measurement of networks on bodies as published: lifting by protocols 1 to 3 and velocity, forecasts by PCK, recognition by top-k."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from models.motion.bodies import edge_padded, shown
from training.data.splits import Split
from training.engine.benchmark import markdown
from training.engine.statistics import bootstrap_interval
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import mpjpe_mm, mpjve_mm, n_mpjpe_mm, p_mpjpe_mm, pck, pck_legacy_pairing, top_k

BATCH = 512


@dataclass(frozen=True)
class Row:
    """The figures of one source by name, and the numbers of samples and clips behind them."""

    source: str
    samples: int
    clips: int
    figures: dict[str, float]
    interval: tuple[float, float] | None = None  # 95 %, of the first figure, over clips


@dataclass(frozen=True)
class Report:
    """A row for each source."""

    rows: tuple[Row, ...]

    def row(self, source: str) -> Row:
        """Return the row of a source. Raises StopIteration if there is none."""
        return next(row for row in self.rows if row.source == source)

    def write(self, path: Path) -> None:
        """Write the report as JSON; make its folder if needed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read a report that `write` has written."""
        rows = json.loads(path.read_text())["rows"]
        return cls(tuple(Row(**{**row, "interval": row["interval"] and tuple(row["interval"])}) for row in rows))


def lifting(network: nn.Module, batches: LiftBatches, split: Split) -> Report:
    """Measure MPJPE (protocol 1), P-MPJPE (2), N-MPJPE (3) and MPJVE in mm on whole clips, a row a source.

    Figures of Human3.6M and HumanEva are means over actions ("Walking" of "Walking 1"), as published; others are means over frames.
    """
    return Report(tuple(_lifting_row(network, batches, split, source) for source in batches.data.sources))


def _lifting_row(network: nn.Module, batches: LiftBatches, split: Split, source: str) -> Row:
    clips = batches.clips(split, source)
    clip_errors = [errors(clip, lifted(network, batches, clip)) for clip in clips]
    by_action = source in ("human36m", "humaneva")
    groups = [clip.label.split(" ")[0] if by_action else "" for clip in clips]
    figures = {}
    for name in clip_errors[0]:
        means = [
            np.concatenate([e[name] for e, own in zip(clip_errors, groups, strict=True) if own == group]).mean()
            for group in dict.fromkeys(groups)
        ]
        figures[name] = float(np.mean(means))
    first = [e["MPJPE"] for e in clip_errors]
    recording = np.repeat(np.unique([clip.name for clip in clips], return_inverse=True)[1], [len(e) for e in first])
    interval = None if by_action else bootstrap_interval(np.concatenate(first), recording)
    return Row(source, sum(map(len, first)), len(clips), figures, interval)


def errors(clip: LiftClip, poses: Float[np.ndarray, "frames joints 3"]) -> dict[str, Float[np.ndarray, " _"]]:
    """Return the errors of each frame of a clip by figure, in mm; MPJVE has one frame less."""
    return {
        "MPJPE": mpjpe_mm(poses, clip.targets),
        "P-MPJPE": p_mpjpe_mm(poses, clip.targets),
        "N-MPJPE": n_mpjpe_mm(poses, clip.targets),
        "MPJVE": mpjve_mm(poses, clip.targets),
    }


def lifted(network: nn.Module, batches: LiftBatches, clip: LiftClip) -> Float[np.ndarray, "frames joints 3"]:
    """Lift a whole clip, each frame in the middle of its window."""
    channels = 3 if batches.data.with_confidence else 2
    keypoints = shown(clip.keypoints, clip.confidence)[..., :channels]
    return answers(network, edge_padded(keypoints, batches.data.receptive)[None])[0]


def forecasting(forecast: Callable[[np.ndarray], np.ndarray], batches: PoseForecastBatches, split: Split) -> Report:
    """Measure PCK@0.05 in per cent at each step, its mean over steps, and the mean distance in hundredths of half a box.

    There is one row per source. Penn Action's row also has the figure that TP-RNN's evaluation calls PCK, as "legacy pairing".
    """
    rows = []
    for source in batches.data.sources:
        frames = batches.frames(split, source)
        chosen = np.arange(len(frames.rows))
        parts = [batches.batch(frames, some) for some in np.array_split(chosen, max(1, len(chosen) // BATCH))]
        poses = np.concatenate([forecast(inputs["past"]) for inputs, _ in parts])
        future = np.concatenate([future for _, future in parts])
        seen, true = future[..., 2] > 0, future[..., :2]
        shares = 100 * pck(poses, true, seen)
        distances = np.linalg.norm(poses - true, axis=-1)
        figures = {"PCK@0.05": float(shares.mean()), "distance": float(100 * distances[seen].mean())}
        figures |= {f"PCK@0.05, step {step}": float(share) for step, share in enumerate(shares, 1)}
        if source == "penn_action":
            legacy = 100 * pck_legacy_pairing(poses, true, seen)
            figures |= {f"legacy pairing, step {step}": float(share) for step, share in enumerate(legacy, 1)}
        clips = sum(clip.source == source and clip.split == split for clip in batches.recordings)
        rows.append(Row(source, len(poses), clips, figures))
    return Report(tuple(rows))


def zero_velocity(future: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the forecaster that repeats the last pose."""
    return lambda past: np.repeat(past[:, -1:, :, :2], future, axis=1)


def recognition(network: nn.Module, batches: ActionBatches, split: Split) -> Report:
    """Measure top-1 and top-5 accuracy in per cent, with the interval of top-1 over clips."""
    logits, labels = scores(network, batches, split)
    figures = {f"top-{k}": 100 * top_k(logits, labels, k) for k in (1, 5)}
    right = 100.0 * (logits.argmax(axis=1) == labels)
    interval = bootstrap_interval(right, np.arange(len(right)))
    return Report((Row(batches.data.source, len(labels), len(labels), figures, interval),))


def scores(
    network: nn.Module, batches: ActionBatches, split: Split
) -> tuple[Float[np.ndarray, "clips classes"], Int[np.ndarray, " clips"]]:
    """Return the logits and the classes of all clips of a split."""
    parts = [(answers(network, inputs["clips"]), labels) for _, (inputs, labels) in batches.batches(split)]
    return np.concatenate([logits for logits, _ in parts]), np.concatenate([labels for _, labels in parts])


def answers(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Run a network on a batch in evaluation mode, on the device of its weights."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        return network.eval()(torch.from_numpy(np.ascontiguousarray(inputs)).to(device)).cpu().numpy()


def measure(network: nn.Module, batches: Any, split: Split) -> Report:
    """Measure a network on batches of its task: lifting, forecasting or recognition."""
    if isinstance(batches, LiftBatches):
        return lifting(network, batches, split)
    if isinstance(batches, PoseForecastBatches):
        return forecasting(lambda past: answers(network, past), batches, split)
    return recognition(network, batches, split)


def table(reports: dict[str, Report]) -> str:
    """Format named reports as a Markdown table, a line for each source and network."""
    first = next(iter(reports.values())).rows
    names = [name for name in first[0].figures if "legacy" not in name]
    rows = [
        (row.source, network, str(row.samples), str(row.clips), *(f"{row.figures[name]:.1f}" for name in names))
        for source in (row.source for row in first)
        for network, row in ((network, report.row(source)) for network, report in reports.items())
    ]
    return markdown(("source", "network", "samples", "clips", *names), rows)
