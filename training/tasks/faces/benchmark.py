"""The tables of face landmarkers: errors by kind of scan, and the overlap of heatmaps in the reference's tiers of alignment.

Every network is trained and measured with every seed; what is done already is not done again.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from models.contract.task import FaceLandmarks
from models.layers.degrees import frozen
from models.scans.levels import find
from training.catalogue import get_run
from training.engine.export import runner
from training.engine.folders import folder_of
from training.engine.loop import trained
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.fitting import fit_rest
from training.tasks.faces import report as face_report
from training.tasks.faces.alignment import TIERS, pose, template_of
from training.tasks.faces.data import FaceData, scans_of
from training.tasks.faces.ict import FaceModel
from training.tasks.faces.metrics import overlap
from training.tasks.faces.scanner import CLEAN, scan

ROWS, OVERLAPS = "test-rows.json", "test-overlaps.json"
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
    """Both tables, in Markdown. Raises Stopped."""
    reports, overlaps = {}, {}
    for label, name in NETWORKS.items():
        run = get_run(name)
        for seed in SEEDS:
            folder = measured(run, seed, data_folder, out, watch)
            shown = label if len(SEEDS) == 1 else f"{label}, seed {seed}"
            reports[shown] = face_report.read(folder / ROWS)
            overlaps[shown] = json.loads((folder / OVERLAPS).read_text())
    return f"{face_report.table(reports)}\n\n{overlap_table(overlaps)}"


def measured(
    run: Run[FaceLandmarks, FaceData], seed: int, data_folder: Path, out: Path, watch: Watch = UNWATCHED
) -> Path:
    """The folder of a run with its reports, trained first where it is not yet. Raises Stopped."""
    folder = folder_of(out, run, seed)
    if not (folder / OVERLAPS).is_file():
        network = trained(run, seed, data_folder, out, watch)
        batches = run.data.load(data_folder)
        fit_rest(network, batches)
        everyone = face_report.subjects(data_folder / "faces", "test", run.task)
        rows, _ = face_report.evaluate(network, run.task, everyone)
        face_report.write(rows, folder / ROWS)
        found = overlaps_of(network, run.task, batches.model)
        (folder / OVERLAPS).write_text(json.dumps(found, indent=1) + "\n")
    return folder


def overlaps_of(network: nn.Module, task: FaceLandmarks, model: FaceModel) -> dict[str, float]:
    """Mean over landmarks and scans of the IoU at THRESHOLD, in each tier; the template is the model's mean face."""
    run = runner(frozen(network).cpu(), task)
    template = template_of(scan(model, model.mean, CLEAN, np.random.default_rng(0))[0])
    scans = scans_of(model, "test", "clean", SCANS, task, upright=True)
    found: dict[str, float] = {}
    for name, tier in TIERS.items():
        heatmaps, wanted = [], []
        for number, one in enumerate(scans):
            placed = pose(tier, one.points, template, number)
            points = placed(one.points)
            face = find(points, task, run)
            squares = np.square(points[face.sampled] - placed(one.landmarks)[:, None]).sum(axis=2)
            heatmaps.append(face.heatmaps)
            wanted.append(np.exp(-0.5 * squares / task.sigma_m**2))
        found[name] = float(overlap(np.stack(heatmaps), np.stack(wanted), (THRESHOLD,)).mean())
    return found


def overlap_table(overlaps: Mapping[str, Mapping[str, float]]) -> str:
    """In Markdown, a line a network and a column a tier."""
    lines = [f"| IoU at {THRESHOLD} | {' | '.join(TIERS)} |", "|---" * (1 + len(TIERS)) + "|"]
    for name, found in ({"reference, as published": PUBLISHED} | dict(overlaps)).items():
        lines.append(f"| {name} | {' | '.join(f'{found[tier]:.3f}' for tier in TIERS)} |")
    return "\n".join(lines)
