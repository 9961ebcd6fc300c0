"""The study of face landmarkers: a trained run, its shape prior and confidence fitted, measured on simulated and real scans."""

from pathlib import Path
from typing import Any

from torch import nn

from models.pictures.faces import draw_face
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import MeasuredSplit, Study
from training.tasks.faces.confidence import calibrate, calibrate_on_scans
from training.tasks.faces.data import FaceBatches, batch_of
from training.tasks.faces.facescape_data import FaceScapeBatches
from training.tasks.faces.report import (
    FoundFace,
    Report,
    Subject,
    evaluate,
    median_face,
    scanned,
    subjects,
    table,
)
from training.tasks.faces.shape_prior import SCANS, fit_shape

FACESCAPE_SCANS = 200  # measured of the run's own meshes


def fit_rest(network: nn.Module, batches: FaceBatches | FaceScapeBatches) -> None:
    """Fit the parts that training leaves out: the shape prior to training scans, then the confidence to validation scans.

    Takes about five minutes of one CPU core.
    """
    fit_shape(network, batches.scans_to_fit(SCANS))
    calibrate(network, batches)


def measure(
    run: Run[Any, Any],
    network: nn.Module,
    batches: FaceBatches | FaceScapeBatches,
    data_folder: Path,
    split: MeasuredSplit,
) -> tuple[Report, dict[str, list[FoundFace]]]:
    """Fit the shape prior and the confidence, then find the landmarks of a split. Returns the report and the faces, by source."""
    fit_rest(network, batches)
    scans = subjects_of(run, batches, data_folder, "validation")
    calibrate_on_scans(network, ((scan.points, scan.true) for scan in scans))
    return evaluate(network, run.task, subjects_of(run, batches, data_folder, split))


def show(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: MeasuredSplit) -> str:
    """Measure a split and draw, for each source, the face whose error is the median. Returns a table of errors by source."""
    report, faces_of = measure(run, network, run.data.load(data_folder), data_folder, split)
    report.write(folder / f"{split}.json")
    for source, faces in faces_of.items():
        shown = median_face(faces)
        draw_face(
            shown.points,
            shown.found.landmarks,
            folder / f"{split}-{source.replace(', ', '-')}.png",
            confidence=shown.found.confidence,
            confident_m=run.task.confident_m,
            heatmaps=shown.found.heatmaps,
            samples=shown.points[shown.found.sampled],
            true=shown.true,
            title=shown.name,
        )
    return table({run.name: report})


def facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Measure the test split for a bundle; the example is a clean scan from it."""
    batches: FaceBatches | FaceScapeBatches = run.data.load(data_folder)
    report, _ = measure(run, network, batches, data_folder, "test")
    example, _ = batch_of(batches.scans("test", 1), run.task)
    source = batches.trained_on(sum(stage.optimisation.steps for stage in run.stages))
    return Facts(example, (source,), report.measurements()), table({run.name: report})


def subjects_of(
    run: Run[Any, Any], batches: FaceBatches | FaceScapeBatches, data_folder: Path, split: MeasuredSplit
) -> list[Subject]:
    """Return the subjects of a split: those every landmarker is measured on, after a FaceScape run's own meshes."""
    own = scanned(batches.scans(split, FACESCAPE_SCANS), "facescape") if isinstance(batches, FaceScapeBatches) else []
    return own + subjects(data_folder / "faces", split, run.task)


STUDY = Study(show, facts)
