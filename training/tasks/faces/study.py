"""The study of face landmarkers: a trained run, its shape prior and confidence fitted, measured on simulated and real scans."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from models.contract.bundle import Bundle, Measurement
from models.contract.symmetry import Tensors
from models.layers.freezing import frozen
from models.pictures.faces import draw_face
from training.engine.export import Facts, onnx_runner, runner
from training.engine.run import Run
from training.engine.study import MeasuredSplit, Study
from training.tasks.faces.confidence import calibrate, calibrate_on_scans
from training.tasks.faces.data import KINDS, FaceBatches, scans_of
from training.tasks.faces.facescape_data import FaceScapeBatches
from training.tasks.faces.floor import MEAN_FACE, floor_of, measured
from training.tasks.faces.ict import read_model
from training.tasks.faces.maps import FaceMapBatches
from training.tasks.faces.own.data import OwnFaceBatches
from training.tasks.faces.own.fit import fit_own_shape
from training.tasks.faces.reference_data import ReferenceBatches
from training.tasks.faces.report import (
    FoundFace,
    Report,
    Subject,
    evaluate_function,
    median_face,
    scanned,
    subjects,
    table,
)
from training.tasks.faces.shape_prior import SCANS, fit_shape

TemplateBatches = FaceBatches | FaceScapeBatches | ReferenceBatches  # these have the face that overlaps are counted on
CloudBatches = TemplateBatches | OwnFaceBatches
AnyBatches = CloudBatches | FaceMapBatches
FACESCAPE_SCANS = 200  # measured of the run's own faces
CALIBRATED = 60  # validation scans of each kind


def fit_rest(network: nn.Module, batches: FaceBatches | FaceScapeBatches | ReferenceBatches | FaceMapBatches) -> None:
    """Fit the parts that training leaves out: the shape prior to training scans, then the confidence to validation scans.

    Takes about five minutes of one CPU core.
    """
    fit_shape(network, batches.batches_to_fit(SCANS))
    calibrate(network, batches)


def measure(
    run: Run[Any, Any],
    network: nn.Module,
    batches: AnyBatches,
    data_folder: Path,
    split: MeasuredSplit,
) -> tuple[Report, dict[str, list[FoundFace]]]:
    """Fit the shape prior and the confidence, then find the landmarks of a split. Returns the report and the faces, by source."""
    if isinstance(batches, OwnFaceBatches):
        fit_own_shape(run, network, batches)
        calibrate(network, batches)
    else:
        fit_rest(network, batches)
    calibrate_on_scans(network, scans_to_calibrate(run, batches, data_folder))
    return evaluated(run, runner(frozen(network).cpu(), run.task), batches, data_folder, split)


def scans_to_calibrate(
    run: Run[Any, Any], batches: AnyBatches, data_folder: Path
) -> Iterator[tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "68 3"]]]:
    """Yield validation scans of all kinds in equal shares, with their landmarks; of a run on other scans its own first."""
    folder = data_folder / "faces"
    kinds = []
    if not isinstance(batches, FaceBatches | FaceMapBatches):
        kinds.append(batches.scans("validation", CALIBRATED))
    if (folder / "ict_facekit").is_dir():
        kinds += [scans_of(read_model(folder), "validation", kind, CALIBRATED, run.task) for kind in KINDS]
    yield from ((scan.points, scan.landmarks) for scans in kinds for scan in scans)


def recalibrated(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> None:
    """Fit the confidence of a network again; nothing else in it changes. Takes two minutes of one CPU core."""
    batches: AnyBatches = run.data.load(data_folder)
    calibrate(network, batches)
    calibrate_on_scans(network, scans_to_calibrate(run, batches, data_folder))


def evaluated(
    run: Run[Any, Any],
    answer: Callable[[Tensors], Tensors],
    batches: AnyBatches,
    data_folder: Path,
    split: MeasuredSplit,
) -> tuple[Report, dict[str, list[FoundFace]]]:
    """Find the landmarks of a split with a network as a function, without fitting anything. Returns the report and the faces, by source."""
    return evaluate_function(answer, run.task, subjects_of(run, batches, data_folder, split))


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
    """Measure the test split for a bundle, beside the mean face; the example is a clean scan from it."""
    batches: AnyBatches = run.data.load(data_folder)
    report, _ = measure(run, network, batches, data_folder, "test")
    example, _ = batches.example()
    source = batches.trained_on(sum(stage.optimisation.steps for stage in run.stages))
    measurements, text = _beside_the_floor(run, report, batches, data_folder)
    return Facts(example, (source,), measurements), text


def remeasured(run: Run[Any, Any], bundle: Bundle, data_folder: Path) -> tuple[tuple[Measurement, ...], str]:
    """Measure the graph of a bundle on the test split, beside the mean face, without fitting anything."""
    answer = onnx_runner(bundle.model.read_bytes())
    batches: AnyBatches = run.data.load(data_folder)
    report, _ = evaluated(run, answer, batches, data_folder, "test")
    return _beside_the_floor(run, report, batches, data_folder)


def _beside_the_floor(
    run: Run[Any, Any], report: Report, batches: AnyBatches, data_folder: Path
) -> tuple[tuple[Measurement, ...], str]:
    """Return the measurements of a report beside the mean face, and a table of both; scans of one's own have a mean face of their own."""
    if isinstance(batches, OwnFaceBatches):
        floor = measured(batches.mean_face(), batches.subjects("test"))
    else:
        floor = floor_of(data_folder / "faces", run.task)
    shown = {run.name: report} | ({MEAN_FACE: floor} if floor else {})
    return report.measurements(MEAN_FACE, floor), table(shown)


def subjects_of(run: Run[Any, Any], batches: AnyBatches, data_folder: Path, split: MeasuredSplit) -> list[Subject]:
    """Return the subjects of a split: a FaceScape run's own faces, then those that every landmarker is measured on.

    A run on scans of one's own is measured on them alone. A FaceScape run does without the latter where the data folder has no face model.
    """
    folder = data_folder / "faces"
    if isinstance(batches, FaceBatches | FaceMapBatches):
        return subjects(folder, split, run.task)
    if isinstance(batches, OwnFaceBatches):
        return batches.subjects(split)
    own = scanned(batches.scans(split, FACESCAPE_SCANS), "facescape")
    return own + (subjects(folder, split, run.task) if (folder / "ict_facekit").is_dir() else [])


STUDY = Study(show, facts, remeasured, recalibrated=recalibrated)
