"""What is shown of a trained network and what its bundle says of it, for each kind of task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import nn

from models.contract.pictures import face, strip
from training import body_studies, face_report, hand_report
from training.data.faces import FaceBatches, batch_of
from training.data.facescape_batches import FaceScapeBatches
from training.data.hands import HandBatches
from training.data.licences import source_of
from training.export import Facts
from training.fitting import fit_rest
from training.hand_report import EQMOTION, WITHOUT_WEIGHTS, baselines
from training.plots import error_against_horizon
from training.run import Run

Split = Literal["validation", "test"]


class Study(NamedTuple):
    """`show` measures on a split, writes JSON and pictures into a folder and gives tables; `facts` are the bundle's, measured on the test
    split, with a table."""

    show: Callable[[Run[Any, Any], nn.Module, Path, Path, Split], str]
    facts: Callable[[Run[Any, Any], nn.Module, Path], tuple[Facts, str]]


def show_hands(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: Split) -> str:
    """Error against horizon, and a strip of skeletons of a window in the middle of each source."""
    batches: HandBatches = run.data.load(data_folder)
    models = {**baselines(run.task, batches), EQMOTION: network}
    report = hand_report.evaluate(models, batches, batches.data.sources, split)
    report.write(folder / f"{split}-beside-baselines.json")
    error_against_horizon(report, list(models), folder / f"{split}-horizon.png")
    for source, hands in report.groups():
        windows = batches.windows(split, hands, (source,), phases="first")
        past, true = windows.past_future(np.array([len(windows) // 2]))
        picture = folder / f"{split}-{source}-{hands}.png"
        strip(past[0], true[0], hand_report.forecast(network, past)[0], run.task.fps, picture)
    return f"{hand_report.table(report, models)}\n\n{hand_report.detail(report, EQMOTION)}"


def hand_facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Measured beside the forecasts without weights; the example is a window of the test split."""
    batches: HandBatches = run.data.load(data_folder)
    models = {**baselines(run.task, batches), EQMOTION: network}
    report = hand_report.evaluate(models, batches, batches.data.sources, "test")
    windows = batches.windows("test", 2, phases="first")
    past, _ = windows.past_future(np.array([len(windows) // 2]))
    sources = tuple(source_of(name, batches.recordings("train", name)) for name in batches.data.sources)
    table = hand_report.table(report, [*WITHOUT_WEIGHTS, "ridge", EQMOTION])
    return Facts({"past": past}, sources, report.measurements(EQMOTION)), table


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


BODIES = Study(body_studies.show, body_studies.facts)
STUDIES = {
    "hand-forecast": Study(show_hands, hand_facts),
    "face-landmarks": Study(show_faces, face_facts),
    **dict.fromkeys(("pose-lift", "pose-forecast", "action-recognition"), BODIES),
}
