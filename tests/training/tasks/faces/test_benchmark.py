"""Reports and tables of face landmarkers: from a very small run to the table, on the real scans and the simulated ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.bundle import read_bundle, repeat_example
from models.contract.task import FaceLandmarks
from models.scans.levels import Face
from training.__main__ import main
from training.engine.export import onnx_runner
from training.engine.run import Optimisation, Run
from training.tasks.faces import benchmark as face_benchmark
from training.tasks.faces import report as face_report
from training.tasks.faces import study
from training.tasks.faces.alignment import TIERS
from training.tasks.faces.data import FaceData
from training.tasks.faces.ict import read_model
from training.tasks.faces.losses import LandmarkLoss, mean_distance_mm
from training.tasks.faces.report import FoundFace, Report, median_face
from training.tasks.faces.scanner import CLEAN, scan

pytestmark = pytest.mark.long

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)
FEW = Run(
    name="few",
    title="A network of a test",
    task=TASK,
    network=NARROW,
    data=FaceData(TASK, scanner=CLEAN, batch=2, validation=3),
    licence="Apache-2.0",
    loss=LandmarkLoss(TASK.sigma_m),
    score=mean_distance_mm,
    optimisation=Optimisation(steps=3, warmup=1, validate_every=3),
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Run[FaceLandmarks, FaceData]:
    """One small run, measured on little."""
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {FEW.name: FEW})
    monkeypatch.setattr("training.__main__.all_runs", lambda: {FEW.name: FEW})
    monkeypatch.setattr(face_benchmark, "NETWORKS", {"narrow": "few"})
    monkeypatch.setattr(face_benchmark, "SCANS", 2)
    monkeypatch.setattr(face_report, "SIMULATED", 4)
    monkeypatch.setattr(study, "SCANS", 8)
    monkeypatch.setattr(face_report, "POSES", 1)
    every = face_report.real_faces
    monkeypatch.setattr(
        face_report, "real_faces", lambda folder: every(folder)[-3:]
    )  # one of facefuns, and the other two
    return FEW


def test_the_tables_are_printed_and_nothing_is_trained_twice(
    few, data_folder: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "benchmark", "faces"]
    main(arguments)
    shown = capsys.readouterr().out
    errors, overlaps = shown.strip().split("\n\n")
    sources = [line.split("|")[1].strip() for line in errors.splitlines()[2:]]
    assert sources == ["ict, clean", "ict, varied", "facefuns", "humface", "lee_perry_smith"]
    head, _, published, ours = overlaps.splitlines()
    assert head.count("|") == published.count("|") == ours.count("|") == len(TIERS) + 2
    assert "0.520 | 0.022 | 0.013 | 0.004" in published
    values = [float(cell) for cell in ours.split("|")[2:-1]]
    assert max(values) - min(values) < 1e-3  # what keeps rotations and translations knows no tiers, trained or not
    monkeypatch.setattr("training.engine.benchmark.trained", lambda *_, **__: pytest.fail("trained again"))
    main(arguments)
    assert capsys.readouterr().out == shown


def test_a_face_run_is_trained_measured_and_exported(few, data_folder: Path, tmp_path: Path, capsys):
    common = ["--data", str(data_folder), "--out", str(tmp_path / "out")]
    main([*common, "run", "few", "--device", "cpu"])
    main([*common, "evaluate", "few"])
    assert "| facefuns | 1 | few |" in capsys.readouterr().out
    pictures = {path.name for path in (tmp_path / "out").rglob("*.png")}
    assert pictures >= {"test-ict-clean.png", "test-facefuns.png", "test-humface.png", "test-lee_perry_smith.png"}
    main([*common, "export", "few", "--bundle", str(tmp_path / "bundle")])
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.meta.task == TASK
    assert [source.name for source in bundle.meta.trained_on] == ["ict_facekit"]
    assert {m.source for m in bundle.meta.measurements} >= {"ict, clean", "humface"}
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5


def test_an_overlap_is_whole_where_heatmaps_are_true_and_tiers_pose_as_they_say(data_folder: Path, few):
    """A network that knows where upright landmarks are, and so fails where the scan is turned or moved."""
    model = read_model(data_folder / "faces")
    middle = scan(model, model.mean, CLEAN, np.random.default_rng(1))[0].mean(axis=0)
    places = torch.from_numpy(model.mean[model.landmarks] - middle)

    class Upright(torch.nn.Module):
        """The mean face's landmarks, wherever the scan lies."""

        def forward(self, points, neighbours, parents):
            squares = (points.unsqueeze(1) - places.unsqueeze(0).unsqueeze(2)).square().sum(-1)
            heatmaps = torch.exp(-0.5 * squares / TASK.sigma_m**2).float()
            landmarks = places.unsqueeze(0).expand(len(points), -1, -1)
            return heatmaps, landmarks, torch.ones(len(points), 68)

    found = face_benchmark.overlaps_of(Upright(), TASK, model)
    assert found["none"] > 0.2
    assert found["t"] == pytest.approx(found["none"], abs=0.02)  # the search centres every scan
    assert found["r"] < 0.6 * found["none"]
    assert found["icp rt"] > found["rt"]


def test_the_median_face_has_the_median_error():
    true = np.zeros((68, 3))
    faces = [
        FoundFace(
            str(mm),
            true,
            true,
            Face(true + np.array([mm / 1000, 0, 0]), np.ones(68), np.ones((68, 4)), np.arange(4), 1),
        )
        for mm in (5, 1, 3)
    ]
    assert median_face(faces).name == "3"


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path):
    true = np.random.default_rng(0).normal(size=(68, 3))
    found = FoundFace("one", true, true, Face(true, np.ones(68, np.float32), np.ones((68, 4)), np.arange(4), 1))
    row = face_report.row("made up", [found], TASK)
    for report in (Report([row]), Report([row], {"none": 0.5})):
        report.write(tmp_path / "report.json")
        assert Report.read(tmp_path / "report.json") == report
    assert row.scores.mean_mm == 0
    assert row.calibration_error == 0
