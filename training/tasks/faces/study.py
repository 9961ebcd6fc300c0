"""training.tasks.faces.study."""

from pathlib import Path
from typing import Any

from torch import nn

from models.pictures.face import face
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import Split
from training.fitting import fit_rest
from training.tasks.faces import report as face_report
from training.tasks.faces.data import FaceBatches, batch_of
from training.tasks.faces.facescape_data import FaceScapeBatches


def show_faces(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: Split) -> str:
    """Errors by source and landmark, and a picture of the middling face of each source."""
    batches = run.data.load(data_folder)
    fit_rest(network, batches)
    report, found = face_report.evaluate(network, run.task, everyone(run, batches, data_folder, split))
    face_report.write(report, folder / f"{split}.json")
    for source, faces in found.items():
        shown = face_report.middling(faces)
        face(
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
    return face_report.table({run.name: report})


def face_facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Fits shape and confidence, then measures; the example is a clean scan of the test split."""
    batches: FaceBatches | FaceScapeBatches = run.data.load(data_folder)
    fit_rest(network, batches)
    report, _ = face_report.evaluate(network, run.task, everyone(run, batches, data_folder, "test"))
    example, _ = batch_of(batches.scans("test", 1), run.task)
    facts = Facts(
        example,
        (batches.trained_on(sum(stage.optimisation.steps for stage in run.stages)),),
        face_report.measurements(report),
    )
    return facts, face_report.table({run.name: report})


def everyone(
    run: Run[Any, Any], batches: FaceBatches | FaceScapeBatches, data_folder: Path, split: Split
) -> list[face_report.Subject]:
    """Who is measured on: of a run on FaceScape its own meshes too."""
    own = face_report.scanned(batches.scans(split, 200), "facescape") if isinstance(batches, FaceScapeBatches) else []
    return own + face_report.subjects(data_folder / "faces", split, run.task)
