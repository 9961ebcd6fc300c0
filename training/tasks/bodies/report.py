"""Measure trained networks on bodies, as published: lifting by protocols 1 to 3 and velocity, forecasts by PCK, recognition by top-k."""

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
from training.engine.statistics import bootstrap_interval
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import (
    mpjpe_mm,
    mpjve_mm,
    n_mpjpe_mm,
    p_mpjpe_mm,
    pck,
    pck_legacy_pairing,
    top_k,
)

BATCH = 512


@dataclass(frozen=True)
class Row:
    """The figures of one source by name, with how many samples of how many clips they are over."""

    source: str
    samples: int
    clips: int
    figures: dict[str, float]
    interval: tuple[float, float] | None = None  # of the first figure, over clips


@dataclass(frozen=True)
class Report:
    rows: tuple[Row, ...]

    def row(self, source: str) -> Row:
        return next(row for row in self.rows if row.source == source)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        rows = json.loads(path.read_text())["rows"]
        return cls(tuple(Row(**{**row, "interval": row["interval"] and tuple(row["interval"])}) for row in rows))


def lifting(network: nn.Module, batches: LiftBatches, split: Split) -> Report:
    """Protocols 1 (MPJPE), 2 (Procrustes) and 3 (scale), and the velocity error, in mm, of whole clips, a row a source.

    Of Human3.6M and HumanEva the mean over actions ("Walking" of "Walking 1"), as published; elsewhere over frames.
    """
    return Report(tuple(_lifted(network, batches, split, source) for source in batches.data.sources))


def _lifted(network: nn.Module, batches: LiftBatches, split: Split, source: str) -> Row:
    clips = batches.clips(split, source)
    found = [errors(clip, lifted(network, batches, clip)) for clip in clips]
    by_action = source in ("human36m", "humaneva")
    groups = [clip.label.split(" ")[0] if by_action else "" for clip in clips]
    figures = {}
    for name in found[0]:
        means = [
            np.concatenate([e[name] for e, own in zip(found, groups, strict=True) if own == group]).mean()
            for group in dict.fromkeys(groups)
        ]
        figures[name] = float(np.mean(means))
    first = [e["MPJPE"] for e in found]
    recording = np.repeat(np.unique([clip.name for clip in clips], return_inverse=True)[1], [len(e) for e in first])
    interval = None if by_action else bootstrap_interval(np.concatenate(first), recording)
    return Row(source, sum(map(len, first)), len(clips), figures, interval)


def errors(clip: LiftClip, poses: Float[np.ndarray, "frames joints 3"]) -> dict[str, Float[np.ndarray, " _"]]:
    """The errors of each frame of a clip."""
    return {
        "MPJPE": mpjpe_mm(poses, clip.targets),
        "P-MPJPE": p_mpjpe_mm(poses, clip.targets),
        "N-MPJPE": n_mpjpe_mm(poses, clip.targets),
        "MPJVE": mpjve_mm(poses, clip.targets),
    }


def lifted(network: nn.Module, batches: LiftBatches, clip: LiftClip) -> Float[np.ndarray, "frames joints 3"]:
    """The poses of a whole clip, each frame in the middle of a window."""
    channels = 3 if batches.data.with_confidence else 2
    keypoints = shown(clip.keypoints, clip.confidence)[..., :channels]
    return answers(network, edge_padded(keypoints, batches.data.receptive)[None])[0]


def forecasting(forecast: Callable[[np.ndarray], np.ndarray], batches: PoseForecastBatches, split: Split) -> Report:
    """PCK@0.05 in per cent at each step, its mean, and the mean distance in hundredths of half a box; a row a source.

    For Penn Action also what TP-RNN's evaluation calls PCK, by name.
    """
    rows = []
    for source in batches.data.sources:
        frames = batches.frames(split, source)
        chosen = np.arange(len(frames.rows))
        parts = [batches.batch(frames, some) for some in np.array_split(chosen, max(1, len(chosen) // BATCH))]
        found = np.concatenate([forecast(inputs["past"]) for inputs, _ in parts])
        true = np.concatenate([future for _, future in parts])
        seen, places = true[..., 2] > 0, true[..., :2]
        shares = 100 * pck(found, places, seen)
        apart = np.linalg.norm(found - places, axis=-1)
        figures = {"PCK@0.05": float(shares.mean()), "distance": float(100 * apart[seen].mean())}
        figures |= {f"PCK@0.05, step {step}": float(share) for step, share in enumerate(shares, 1)}
        if source == "penn_action":
            legacy = 100 * pck_legacy_pairing(found, places, seen)
            figures |= {f"legacy pairing, step {step}": float(share) for step, share in enumerate(legacy, 1)}
        clips = sum(clip.source == source and clip.split == split for clip in batches.recordings)
        rows.append(Row(source, len(found), clips, figures))
    return Report(tuple(rows))


def zero_velocity(future: int) -> Callable[[np.ndarray], np.ndarray]:
    """The last pose, held."""
    return lambda past: np.repeat(past[:, -1:, :, :2], future, axis=1)


def recognition(network: nn.Module, batches: ActionBatches, split: Split) -> Report:
    """Top-1 and top-5 in per cent, and the interval of top-1 over clips."""
    logits, labels = scores(network, batches, split)
    figures = {f"top-{k}": 100 * top_k(logits, labels, k) for k in (1, 5)}
    right = 100.0 * (logits.argmax(axis=1) == labels)
    interval = bootstrap_interval(right, np.arange(len(right)))
    return Report((Row(batches.data.source, len(labels), len(labels), figures, interval),))


def scores(
    network: nn.Module, batches: ActionBatches, split: Split
) -> tuple[Float[np.ndarray, "clips classes"], Int[np.ndarray, " clips"]]:
    """The logits of all clips of a split, and their classes."""
    found = [(answers(network, inputs["clips"]), labels) for _, (inputs, labels) in batches.batches(split)]
    return np.concatenate([logits for logits, _ in found]), np.concatenate([labels for _, labels in found])


def answers(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """What a network answers to a batch, in evaluation."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        return network.eval()(torch.from_numpy(np.ascontiguousarray(inputs)).to(device)).cpu().numpy()


def measure(network: nn.Module, batches: Any, split: Split) -> Report:
    """By the kind of task that the network is for."""
    if isinstance(batches, LiftBatches):
        return lifting(network, batches, split)
    if isinstance(batches, PoseForecastBatches):
        return forecasting(lambda past: answers(network, past), batches, split)
    return recognition(network, batches, split)


def table(reports: dict[str, Report]) -> str:
    """A line a source and network, in Markdown."""
    first = next(iter(reports.values())).rows[0]
    names = [name for name in first.figures if "legacy" not in name]
    lines = [f"| source | network | samples | clips | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for row in (row.source for row in next(iter(reports.values())).rows):
        for network, report in reports.items():
            own = report.row(row)
            cells = " | ".join(f"{own.figures[name]:.1f}" for name in names)
            lines.append(f"| {row} | {network} | {own.samples} | {own.clips} | {cells} |")
    return "\n".join(lines)
