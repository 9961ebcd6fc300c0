"""Fixtures of face runs that are small enough to train in a test, and of reports over few scans."""

from collections.abc import Callable

import pytest

from models.contract.task import FaceLandmarks
from training.engine.run import Network, Optimisation, Run
from training.tasks.faces import benchmark, report, study
from training.tasks.faces.data import FaceData
from training.tasks.faces.losses import LandmarkLoss, mean_distance_mm
from training.tasks.faces.scanner import CLEAN

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)

FaceRun = Run[FaceLandmarks, FaceData]


@pytest.fixture
def face_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network[FaceLandmarks]], FaceRun]:
    """Return a function that makes the run "few" of a network, in three steps; no other run is in the catalogue."""
    all_real_faces = report.real_faces
    monkeypatch.setattr(study, "SCANS", 8)
    monkeypatch.setattr(study, "CALIBRATED", 2)
    monkeypatch.setattr(report, "SIMULATED", 4)
    monkeypatch.setattr(report, "POSES", 1)
    monkeypatch.setattr(report, "real_faces", lambda folder: all_real_faces(folder)[-3:])  # one scan of each source
    monkeypatch.setattr(benchmark, "SCANS", 2)
    monkeypatch.setattr(benchmark, "NETWORKS", {"few": "few"})

    def make(network: Network[FaceLandmarks]) -> FaceRun:
        run = Run(
            name="few",
            title="A network of a test",
            task=TASK,
            network=network,
            data=FaceData(TASK, scanner=CLEAN, batch=2, validation=3),
            licence="Apache-2.0",
            loss=LandmarkLoss(TASK.sigma_m),
            score=mean_distance_mm,
            optimisation=Optimisation(steps=3, warmup=1, validate_every=3),
        )
        monkeypatch.setattr("training.catalogue.all_runs", lambda: {run.name: run})
        return run

    return make
