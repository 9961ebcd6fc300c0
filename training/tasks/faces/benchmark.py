"""The benchmark of face landmarkers: errors by kind of scan, and the overlap of heatmaps in the reference's tiers of alignment."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.contract.task import FaceLandmarks
from models.layers.freezing import frozen
from models.scans.levels import find
from training.catalogue import get_run
from training.engine.benchmark import markdown, measured
from training.engine.export import runner
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.faces import study
from training.tasks.faces.alignment import TIERS, pose, template_of
from training.tasks.faces.data import scans_of
from training.tasks.faces.ict import FaceModel
from training.tasks.faces.metrics import overlap
from training.tasks.faces.report import Report, table
from training.tasks.faces.scanner import CLEAN, scan

REPORT = "test-benchmark.json"  # beside test.json, which evaluation writes without overlaps
NETWORKS = {
    "SE(3)-UNet": "face-se3unet",
    "PointNet++, 2,000 steps": "face-pointnet2",
    "PointNet++ shown turned scans, 5,000 steps": "face-pointnet2-rotated",
}
SEEDS = (0,)
THRESHOLD = 0.2
SCANS = 100  # of the test split, clean
PUBLISHED = {  # means over landmarks of the reference's test logs (FaceScape, 167 people); its ICP begins at the true landmarks
    "none": 0.520, "r": 0.022, "t": 0.013, "rt": 0.004, "icp r": 0.507, "icp t": 0.503, "icp rt": 0.508,
}  # fmt: skip


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return both tables in Markdown. Raises Stopped."""
    reports = {
        title if len(SEEDS) == 1 else f"{title}, seed {seed}": measured(
            get_run(name), seed, data_folder, out, Report, measure, watch, file=REPORT
        )
        for title, name in NETWORKS.items()
        for seed in SEEDS
    }
    return f"{table(reports)}\n\n{overlap_table({title: report.overlaps for title, report in reports.items()})}"


def measure(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> Report:
    """Measure the errors on the test split as the study does, then the overlaps of heatmaps."""
    batches = run.data.load(data_folder)
    report, _ = study.measure(run, network, batches, data_folder, "test")
    return replace(report, overlaps=overlaps_of(network, run.task, batches.model))


def overlaps_of(network: nn.Module, task: FaceLandmarks, model: FaceModel) -> dict[str, float]:
    """Return the mean IoU at THRESHOLD over landmarks and scans, by tier; scans are aligned to the model's mean face."""
    run = runner(frozen(network).cpu(), task)
    template = template_of(scan(model, model.mean, CLEAN, np.random.default_rng(0))[0])
    scans = scans_of(model, "test", "clean", SCANS, task, upright=True)
    overlaps: dict[str, float] = {}
    for name, tier in TIERS.items():
        heatmaps, true = [], []
        for number, one in enumerate(scans):
            placed = pose(tier, one.points, template, number)
            points = placed(one.points)
            face = find(points, task, run)
            squares = np.square(points[face.sampled] - placed(one.landmarks)[:, None]).sum(axis=2)
            heatmaps.append(face.heatmaps)
            true.append(np.exp(-0.5 * squares / task.sigma_m**2))
        overlaps[name] = float(overlap(np.stack(heatmaps), np.stack(true), (THRESHOLD,)).mean())
    return overlaps


def overlap_table(overlaps: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table of overlaps: a line for each network after the published ones, a column for each tier."""
    rows = {"reference, as published": PUBLISHED, **overlaps}
    return markdown(
        (f"IoU at {THRESHOLD}", *TIERS), [(name, *(f"{row[tier]:.3f}" for tier in TIERS)) for name, row in rows.items()]
    )
