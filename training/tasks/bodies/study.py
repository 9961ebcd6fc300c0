"""Study of a trained network on bodies: tables and pictures for a person, and the facts of its bundle."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Measurement
from models.motion.bodies import edge_padded, shown
from models.pictures.bodies import (
    FRONT,
    SIDE,
    View,
    draw_bodies,
    moments,
)
from training.data.splits import Split
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import MeasuredSplit, Study
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.credits import credit
from training.tasks.bodies.floors import forecasting_floors, lifting_floors, recognition_floor
from training.tasks.bodies.forecast_data import PoseForecastBatches
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.metrics import mpjpe_mm
from training.tasks.bodies.plots import confusion, curves
from training.tasks.bodies.report import (
    Report,
    Row,
    answers,
    lifted,
    measure,
    scores,
    table,
)

CLIP_FRAMES = 60  # of a lifter's example: two seconds at 30 fps
BOX = "% of half the box"
UNITS = {"PCK@0.05": "%", "distance": BOX, "first distance": BOX, "top-1": "%", "top-5": "%"}
NAMES = {
    "PCK@0.05": "PCK@0.05, mean over the horizon",
    "distance": "mean distance",
    "first distance": "distance at the first step",
    "MPJVE": "velocity error, a frame",
}

Floors = dict[str, Report]


def floors(batches: Any, split: Split) -> Floors:
    """Measure the baselines without a network by name, on batches of any task."""
    if isinstance(batches, LiftBatches):
        return lifting_floors(batches, split)
    if isinstance(batches, PoseForecastBatches):
        return forecasting_floors(batches, split)
    return {"ridge": recognition_floor(batches, split)}


def best_floor(floors: Floors, source: str, figure: str) -> tuple[str, float]:
    """Return the name and the value of the best baseline in one figure of a source."""
    values = {name: report.row(source).figures[figure] for name, report in floors.items()}
    best = max if UNITS.get(figure) == "%" else min
    name = best(values, key=lambda one: values[one])
    return name, values[name]


def show(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: Split) -> str:
    """Return a table of the network beside the baseline; write reports, and a picture of the first clip of each source, to `folder`."""
    batches = run.data.load(data_folder)
    reports = {**floors(batches, split), "network": measure(network, batches, split)}
    for name, report in reports.items():
        report.write(folder / f"{split}-{name.replace(' ', '-')}.json")
    if isinstance(batches, LiftBatches):
        _draw_lifted(network, batches, folder, split)
    elif isinstance(batches, PoseForecastBatches):
        _draw_forecast(network, batches, reports, folder, split)
    else:
        logits, labels = scores(network, batches, split)
        title = f"{batches.data.source}, {split}: true class (row), recognised as (column), %"
        confusion(logits.argmax(axis=1), labels, batches.clips.classes, folder / f"{split}-classes.png", title)
    return table(reports)


def facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Measure the test split, take an example from it, and return these facts with a table of the network beside the baseline."""
    batches = run.data.load(data_folder)
    without, report = floors(batches, "test"), measure(network, batches, "test")
    measurements = _all_measurements(report, without, "test")
    return Facts(_example(batches), _trained_on(batches, run), measurements), table({**without, "network": report})


def compared(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Measurement, ...]:
    """Measure the validation split beside the best baseline."""
    batches = run.data.load(data_folder)
    return _all_measurements(measure(network, batches, "validation"), floors(batches, "validation"), "validation")


def _all_measurements(report: Report, floors: Floors, split: MeasuredSplit) -> tuple[Measurement, ...]:
    return tuple(measurement for row in report.rows for measurement in _measurements(row, floors, split))


def _measurements(row: Row, floors: Floors, split: MeasuredSplit) -> list[Measurement]:
    """Return the figures for a model card, each beside the best baseline; those of single steps are left out."""
    best = {name: best_floor(floors, row.source, name) for name in row.figures}
    return [
        Measurement(
            metric=NAMES.get(name, name),
            value=round(value, 2),
            unit=UNITS.get(name, "mm"),
            split=split,
            source=row.source,
            windows=row.samples,
            recordings=row.clips,
            baseline=best[name][0],
            baseline_value=round(best[name][1], 2),
            interval=row.interval if i == 0 else None,
        )
        for i, (name, value) in enumerate(row.figures.items())
        if "step" not in name
    ]


def _trained_on(batches: Any, run: Run[Any, Any]) -> tuple[Any, ...]:
    """List the training sources with their numbers of recordings; copies of a recording by camera or turn count once."""
    if isinstance(batches, ActionBatches):
        counts = Counter(batches.clips.origin(int(i)) for i in batches.training)
        return tuple(credit(name).trained_on(count) for name, count in counts.items())
    if isinstance(batches, LiftBatches):
        names = {(clip.source, clip.name.partition(" turned ")[0]) for clip in batches.clips("train")}
    else:
        counted = ("train",) if run.data.hold_out else ("train", "validation")
        names = {(clip.source, clip.name.rsplit(" ", 1)[0]) for clip in batches.recordings if clip.split in counted}
    credits = {name: credit(name) for name in batches.data.sources} | {one.name: one for one in batches.data.own}
    return tuple(credits[name].trained_on(sum(source == name for source, _ in names)) for name in batches.data.sources)


def _example(batches: Any) -> dict[str, np.ndarray]:
    """Return one real input of the test split, as a batch of one."""
    if isinstance(batches, LiftBatches):
        clip = max(batches.clips("test"), key=lambda clip: len(clip.targets))
        keypoints = shown(clip.keypoints, clip.confidence)[:CLIP_FRAMES, :, : 3 if batches.data.with_confidence else 2]
        return {"keypoints": edge_padded(keypoints, batches.data.receptive)[None]}
    if isinstance(batches, PoseForecastBatches):
        frames = batches.frames("test")
        return batches.batch(frames, np.array([len(frames.rows) // 2]))[0]
    inputs, _ = next(batches.batches("test"))[1]
    return {"clips": inputs["clips"][:1]}


def _draw_lifted(network: nn.Module, batches: LiftBatches, folder: Path, split: Split) -> None:
    for source in batches.data.sources:
        clip = batches.clips(split, source)[0]
        draw_lifted(clip, lifted(network, batches, clip), folder / f"{split}-{source}.png")


def draw_lifted(clip: LiftClip, poses: Float[np.ndarray, "frames joints 3"], path: Path) -> None:
    """Draw moments of a clip: what was seen, and lifted poses beside the true ones from two sides, with the error of each moment."""
    at = moments(len(clip.targets))
    both = {"true": clip.targets[at], "network": poses[at]}
    views = [View("seen", {"keypoints": (clip.seen, clip.keypoints[at])})]
    for name, axes in (("front", FRONT), ("side", SIDE)):
        views.append(View(name, {layer: (clip.skeleton, x[..., axes]) for layer, x in both.items()}))
    errors = mpjpe_mm(poses[at], clip.targets[at])
    captions = [f"{t / clip.fps:.1f} s: {error:.0f} mm" for t, error in zip(at, errors, strict=True)]
    draw_bodies(views, captions, path, f"{clip.source}, {clip.subject} {clip.label}, {clip.camera}")


def _draw_forecast(
    network: nn.Module, batches: PoseForecastBatches, reports: dict[str, Report], folder: Path, split: Split
) -> None:
    steps = range(1, batches.data.future + 1)
    for source in batches.data.sources:
        lines = {
            name: np.array([[report.row(source).figures[f"PCK@0.05, step {step}"] for step in steps]])
            for name, report in reports.items()
        }
        curves(
            lines,
            [float(step) for step in steps],
            folder / f"{split}-{source}-pck.png",
            x="step",
            y="PCK@0.05, %",
            title=f"{source}, {split}",
        )
        frames = batches.frames(split, source)
        inputs, future = batches.batch(frames, np.array([len(frames.rows) // 2]))
        poses, at = answers(network, inputs["past"])[0], moments(len(steps))
        true = np.where(future[0, :, :, 2:] > 0, future[0, :, :, :2], np.nan)
        layers = {"true": (batches.skeleton, true[at]), "network": (batches.skeleton, poses[at])}
        draw_bodies([View("seen", layers)], [f"step {t + 1}" for t in at], folder / f"{split}-{source}.png", source)


STUDY = Study(show, facts, compared=compared)
