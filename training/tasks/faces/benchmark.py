"""The benchmark of face landmarkers: errors by kind of scan, and the overlap of heatmaps in the reference's tiers of alignment."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from models.contract.bundle import read_bundle
from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks
from models.layers.freezing import frozen
from models.pictures.heatmaps import draw_heatmaps
from training.catalogue import get_run
from training.engine.benchmark import Choice, measured, refuse_options
from training.engine.checkpoints import BEST
from training.engine.export import onnx_runner, runner
from training.engine.folders import folder_of
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.faces import study
from training.tasks.faces.alignment import template_of
from training.tasks.faces.floor import MEAN_FACE, floor_of
from training.tasks.faces.overlaps import extremes_table, landmark_table, overlap_table, overlaps_of
from training.tasks.faces.plots import overlap_against_threshold
from training.tasks.faces.report import Report, table

REPORT = "test-overlaps.json"  # beside test.json, which evaluation writes without overlaps
HEATMAPS = "test-heatmaps.png"  # predicted and true heatmaps of the first scan in every tier
NETWORKS = {
    "SE(3)-UNet": "face-se3unet",
    "PointNet++, 2,000 steps": "face-pointnet2",
    "PointNet++ shown turned scans, 5,000 steps": "face-pointnet2-rotated",
}
SEEDS = (0,)
SCANS = 100  # of the test split, clean
BUNDLES = Path("bundles")


def tables(data_folder: Path, out: Path, watch: Watch = UNWATCHED, choice: Choice = Choice()) -> str:  # noqa: B008 - a frozen value
    """Return the tables in Markdown. Raises Stopped, NoOptions, FileNotFoundError, and ValueError for runs on depth maps.

    `choice.models` are names of runs to compare instead of NETWORKS. Without `choice.train`, a run that is not trained is measured as its
    bundle under BUNDLES, and left out without one. `choice.results` gets the tables, with one of all landmarks for each network, a chart,
    and pictures of heatmaps.
    """
    refuse_options(choice, "models", "results", "train")
    titles = {name: title for title, name in NETWORKS.items()}
    networks = {titles.get(name, name): name for name in choice.models} or NETWORKS
    found = {
        title if len(SEEDS) == 1 else f"{title}, seed {seed}": one
        for title, name in networks.items()
        for seed in SEEDS
        if (one := _measured(name, seed, data_folder, out, watch, train=choice.train))
    }
    if not found:
        raise FileNotFoundError(
            f"no run of {', '.join(networks.values())} is trained in {out}, nor a bundle in {BUNDLES}"
        )
    reports = {title: report for title, (report, _) in found.items()}
    floor = floor_of(data_folder / "faces", FaceLandmarks())
    overlaps = {title: report.overlaps for title, report in reports.items()}
    compared = reports | ({MEAN_FACE: floor} if floor else {})
    text = "\n\n".join([*tables_of_errors(compared), overlap_table(overlaps), extremes_table(overlaps)])
    if choice.results:
        _write(choice.results, text, reports, {title: folder for title, (_, folder) in found.items()})
    return text


def tables_of_errors(reports: Mapping[str, Report]) -> list[str]:
    """Return a table of errors for the reports of each set of sources, since a network that knows other data is measured on it too."""
    by_sources: dict[tuple[str, ...], dict[str, Report]] = {}
    for title, report in reports.items():
        by_sources.setdefault(tuple(row.source for row in report.rows), {})[title] = report
    return [table(some) for some in by_sources.values()]


def measure(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path) -> Report:
    """Measure the errors on the test split as the study does, then the overlaps of heatmaps, drawn into `folder`."""
    batches = run.data.load(data_folder)
    report, _ = study.measure(run, network, batches, data_folder, "test")
    return with_overlaps(report, runner(frozen(network).cpu(), run.task), run.task, batches, folder)


def measure_bundle(name: str, data_folder: Path, folder: Path) -> Report:
    """Measure the bundle of a run as it is, without fitting anything."""
    bundle, run = read_bundle(BUNDLES / name), get_run(name)
    task = bundle.meta.task
    assert isinstance(task, FaceLandmarks), f"{name} finds no landmarks"
    batches, answer = run.data.load(data_folder), onnx_runner(bundle.model.read_bytes())
    report, _ = study.evaluated(run, answer, batches, data_folder, "test")
    return with_overlaps(report, answer, task, batches, folder)


def with_overlaps(
    report: Report, run: Callable[[Tensors], Tensors], task: FaceLandmarks, batches: study.TemplateBatches, folder: Path
) -> Report:
    """Return a report with overlaps on the upright test scans of the data that the network was trained on, or on 100 of the face model."""
    template = template_of(batches.template())
    overlaps, first = overlaps_of(run, task, batches.scans("test", SCANS, upright=True), template)
    draw_heatmaps(first, folder / HEATMAPS, "heatmaps of six landmarks by tier")
    return replace(report, overlaps=overlaps)


def _measured(
    name: str, seed: int, data_folder: Path, out: Path, watch: Watch, *, train: bool
) -> tuple[Report, Path] | None:
    """Return the report of a run and seed and the folder of its picture; train it first if it may be trained."""
    run = get_run(name)
    if not isinstance(run.task, FaceLandmarks):
        raise ValueError(f"expected runs on clouds, got {name}; benchmark faces-depth compares those on depth maps")
    folder = folder_of(out, run, seed)
    if train or (folder / BEST).is_file() or (folder / REPORT).is_file():
        how = partial(measure, folder=folder)
        return measured(run, seed, data_folder, out, Report, how, watch, file=REPORT), folder
    if not (BUNDLES / name).is_dir():
        return None
    folder = out / f"{name}-{read_bundle(BUNDLES / name).meta.version}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / REPORT).is_file():
        partial_file = (folder / REPORT).with_suffix(".part")
        measure_bundle(name, data_folder, folder).write(partial_file)
        os.replace(partial_file, folder / REPORT)  # an interrupted write leaves no report behind
    return Report.read(folder / REPORT), folder


def _write(results: Path, text: str, reports: Mapping[str, Report], folders: Mapping[str, Path]) -> None:
    """Write the tables, a table of all landmarks for each network, the chart, and the pictures of heatmaps."""
    results.mkdir(parents=True, exist_ok=True)
    overlaps = {title: report.overlaps for title, report in reports.items()}
    landmarks = (f"## {title}\n\n{landmark_table(own)}" for title, own in overlaps.items())
    (results / "faces.md").write_text("\n\n".join([text, *landmarks]) + "\n")
    overlap_against_threshold(overlaps, results / "overlaps.png")
    for folder in folders.values():
        (results / f"heatmaps-{folder.name}.png").write_bytes((folder / HEATMAPS).read_bytes())
