"""Measurement of networks on bodies as published: lifting by protocols 1 to 3 and velocity, forecasts by PCK, recognition by top-k."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from models.motion.bodies import edge_padded, shown
from models.motion.bones import scaled_body
from models.motion.plausible_bodies import stature
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.engine.benchmark import markdown
from training.engine.statistics import bootstrap_interval
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.cells import CELLS, cell_of
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import mpjpe_mm, mpjve_mm, n_mpjpe_mm, p_mpjpe_mm, pck, pck_legacy_pairing, top_k

BATCH, MOST = 512, 5000
AT_HEIGHT = "MPJPE, height known"


@dataclass(frozen=True)
class Row:
    """The figures of one source by name, and the numbers of samples and clips behind them.

    If the source has published `cells` (`training.tasks.bodies.cells`), their figures are here, and each of `figures` is their mean.
    """

    source: str
    samples: int
    clips: int
    figures: dict[str, float]
    interval: tuple[float, float] | None = None  # 95 %, of the first figure, over clips
    cells: dict[str, dict[str, float]] = field(default_factory=dict)


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
    """Measure MPJPE (protocol 1), P-MPJPE (2), N-MPJPE (3), MPJVE, and MPJPE at the true height, in mm on whole clips, a row a source.

    Figures of Human3.6M and HumanEva-I are means over the cells of their published tables; others are means over frames. Raises
    UnknownBodies for a source without a clip that counts.
    """
    return Report(tuple(_lifting_row(network, batches, split, source) for source in batches.data.sources))


def _lifting_row(network: nn.Module, batches: LiftBatches, split: Split, source: str) -> Row:
    clips = [clip for clip in batches.clips(split, source) if cell_of(clip) is not None]
    return row_of_clips(source, clips, [errors(clip, lifted(network, batches, clip)) for clip in clips])


def row_of_clips(source: str, clips: Sequence[LiftClip], clip_errors: Sequence[dict[str, np.ndarray]]) -> Row:
    """Return the row of a source from the `errors` of its clips, each of which has a cell. Raises UnknownBodies without a clip."""
    if not clips:
        raise UnknownBodies(f"expected clips of {source} that its protocol counts, got none")
    by_cell: dict[str, list[dict[str, np.ndarray]]] = {}
    for clip, own in zip(clips, clip_errors, strict=True):
        by_cell.setdefault(cell_of(clip) or "", []).append(own)
    cells = {
        cell: {name: float(np.concatenate([own[name] for own in members]).mean()) for name in members[0]}
        for cell, members in by_cell.items()
    }
    figures = {name: float(np.mean([cell[name] for cell in cells.values()])) for name in clip_errors[0]}
    first = [own["MPJPE"] for own in clip_errors]
    samples = sum(map(len, first))
    if source in CELLS:
        return Row(source, samples, len(clips), figures, cells=cells)
    recording = np.repeat(np.unique([clip.name for clip in clips], return_inverse=True)[1], [len(e) for e in first])
    return Row(source, samples, len(clips), figures, bootstrap_interval(np.concatenate(first), recording))


def errors(clip: LiftClip, poses: Float[np.ndarray, "frames joints 3"]) -> dict[str, Float[np.ndarray, " _"]]:
    """Return the errors of each frame of a clip by figure, in mm; MPJVE has one frame less."""
    return {
        "MPJPE": mpjpe_mm(poses, clip.targets),
        "P-MPJPE": p_mpjpe_mm(poses, clip.targets),
        "N-MPJPE": n_mpjpe_mm(poses, clip.targets),
        "MPJVE": mpjve_mm(poses, clip.targets),
        AT_HEIGHT: mpjpe_mm(at_height(poses, clip.targets, clip.skeleton), clip.targets),
    }


def at_height(
    poses: Float[np.ndarray, "frames joints 3"], true: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton
) -> Float[np.ndarray, "frames joints 3"]:
    """Return the poses of a clip as a request that states the person's true height gets them."""
    height = stature(true, skeleton)
    return poses if height is None else scaled_body(poses, skeleton, height).astype(poses.dtype)


def lifted(network: nn.Module, batches: LiftBatches, clip: LiftClip) -> Float[np.ndarray, "frames joints 3"]:
    """Lift a whole clip, each frame in the middle of its window."""
    channels = 3 if batches.data.with_confidence else 2
    keypoints = shown(clip.keypoints, clip.confidence)[..., :channels]
    return answers(network, edge_padded(keypoints, batches.data.receptive)[None])[0]


def forecasting(forecast: Callable[[np.ndarray], np.ndarray], batches: PoseForecastBatches, split: Split) -> Report:
    """Measure PCK@0.05 in per cent at each step, its mean over steps, and distances in hundredths of half a box.

    The distances are the mean over all steps, and that of the first step, which shows a jump from the last pose.
    There is one row per source. Penn Action's row also has the figure that TP-RNN's evaluation calls PCK, as "legacy pairing".
    """
    return Report(tuple(forecasting_row(forecast, batches, split, source) for source in batches.data.sources))


def forecasting_row(
    forecast: Callable[[np.ndarray], np.ndarray], batches: PoseForecastBatches, split: Split, source: str
) -> Row:
    """Measure a forecast on one source: on all samples of a published protocol, or on about MOST of those at a rate, which overlap."""
    frames = batches.frames(split, source)
    apart = max(1, len(frames.rows) // MOST) if batches.data.fps else 1
    chosen = np.arange(0, len(frames.rows), apart)
    parts = [batches.batch(frames, some) for some in np.array_split(chosen, max(1, len(chosen) // BATCH))]
    poses = np.concatenate([forecast(inputs["past"]) for inputs, _ in parts])
    future = np.concatenate([future for _, future in parts])
    seen, true = future[..., 2] > 0, future[..., :2]
    shares = 100 * pck(poses, true, seen)
    distances = np.linalg.norm(poses - true, axis=-1)
    figures = {"PCK@0.05": float(shares.mean()), "distance": float(100 * distances[seen].mean())}
    figures |= {"first distance": float(100 * distances[:, 0][seen[:, 0]].mean())}
    figures |= {f"PCK@0.05, step {step}": float(share) for step, share in enumerate(shares, 1)}
    if source == "penn_action":
        legacy = 100 * pck_legacy_pairing(poses, true, seen)
        figures |= {f"legacy pairing, step {step}": float(share) for step, share in enumerate(legacy, 1)}
    clips = sum(clip.source == source and clip.split == split for clip in batches.recordings)
    return Row(source, len(poses), clips, figures)


def zero_velocity(future: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the forecaster that repeats the last pose."""
    return lambda past: np.repeat(past[:, -1:, :, :2], future, axis=1)


def recognition(network: nn.Module, batches: ActionBatches, split: Split) -> Report:
    """Measure top-1 and top-5 accuracy in per cent, with the interval of top-1 over clips, a row a source of clips."""
    logits, labels = scores(network, batches, split)
    return recognised(logits, labels, batches, split)


def recognised(
    logits: Float[np.ndarray, "clips classes"], labels: Int[np.ndarray, " clips"], batches: ActionBatches, split: Split
) -> Report:
    """Return the report of scores of all clips of a split."""
    origins = np.array([batches.clips.origin(int(i)) for i in batches.chosen(split)])
    right = 100.0 * (logits.argmax(axis=1) == labels)
    rows = []
    for source in dict.fromkeys(origins.tolist()):
        own = origins == source
        figures = {f"top-{k}": 100 * top_k(logits[own], labels[own], k) for k in (1, 5)}
        interval = bootstrap_interval(right[own], np.arange(own.sum()))
        rows.append(Row(source, int(own.sum()), int(own.sum()), figures, interval))
    return Report(tuple(rows))


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
