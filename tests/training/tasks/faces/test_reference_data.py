"""Tests of a training by the reference's recipe on made-up files in the published forms, without the ICT face model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faces import synthetic_face  # pyright: ignore[reportAttributeAccessIssue] - it takes this folder for the module
from laws import NARROW

from models.contract.bundle import read_bundle, repeat_example
from models.contract.task import check_inputs
from training.__main__ import main
from training.engine.export import onnx_runner
from training.engine.folders import folder_of
from training.tasks.faces import benchmark, study
from training.tasks.faces.alignment import TIERS
from training.tasks.faces.reference_data import VALIDATION, ReferenceData, TooFewFaces
from training.tasks.faces.report import Report
from training.tasks.faces.runs import reference

TASK = reference.TASK.model_copy(update={"levels": (256, 166), "neighbours": 8})
FACES = 12


def write(root: Path, split: str, faces: int, seed: int = 0) -> None:
    """Write made-up faces of different sizes as the reference's dictionary."""
    rng = np.random.default_rng(seed)
    points, landmarks = synthetic_face(600)
    sizes = rng.uniform(0.9, 1.1, (faces, 1, 1))
    middle = points.mean(axis=0)
    clouds, marks = 1000 * sizes * (points - middle), 1000 * sizes * (landmarks - middle)
    scales = 1 / np.abs(clouds).max(axis=(1, 2))
    path = root / split.capitalize() / f"{split}_neutral.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "point_list": (clouds * scales[:, None, None]).astype(np.float32),
        "landmark_list": (marks * scales[:, None, None]).astype(np.float32),
        "heatmaps_list": np.zeros((faces, 600, 68), np.float32),
        "normal_list": np.zeros((faces, 600, 3), np.float32),
        "subject_list": np.arange(faces),
        "emotion_list": np.array(["1_neutral"] * faces),
        "scale_list": scales,
    }
    np.save(path, np.array(content, dtype=object), allow_pickle=True)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root / "facescape", "train", FACES)
    write(root / "facescape", "test", 2, seed=1)
    return root


def test_an_epoch_has_every_face_to_train_on_once(release: Path):
    batches = ReferenceData(TASK, batch=2).load(release)
    assert batches.steps_an_epoch() == 5  # 10 of the 12 faces
    for epoch in range(2):
        steps = range(5 * epoch, 5 * epoch + 5)
        sizes = [np.ptp(landmarks[:, :, 0], axis=1) for _, landmarks in (batches.training_batch(0, s) for s in steps)]
        assert len(set(np.concatenate(sizes).round(6))) == 10
    inputs, landmarks = batches.training_batch(0, 3)
    check_inputs(TASK, inputs, "a batch")
    again, _ = batches.training_batch(0, 3, rank=1, ranks=2)
    assert np.array_equal(again["points"], inputs["points"][1:])
    assert landmarks.shape == (2, 68, 3)
    assert sum(len(target) for _, (_, target) in batches.validation_batches()) == 2
    assert "non-commercial" in batches.trained_on(10).licence


def test_too_few_faces_are_refused(tmp_path: Path):
    write(tmp_path / "facescape", "train", VALIDATION - 1)
    with pytest.raises(TooFewFaces, match="at least 10 faces"):
        ReferenceData(TASK).load(tmp_path)


def test_the_recipe_is_that_of_the_report():
    options = reference.RUN.optimisation
    network: Any = reference.RUN.network
    assert (options.steps, options.learning_rate, reference.RUN.data.batch) == (35 * 201, 8.5e-5, 3)
    assert (network.channels, network.pooling, network.attentive) == (((5, 5, 5), (5, 5, 5)), "sum", "last")
    assert type(reference.LOSS)(TASK.sigma_m, distance=0, entropy=0, wing=1) == reference.LOSS
    assert round(1 - TASK.levels[1] / TASK.levels[0], 2) == 0.35


def test_a_run_is_trained_measured_in_all_tiers_and_exported_without_the_face_model(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    optimisation = replace(reference.RUN.optimisation, steps=3, validate_every=3)
    small = replace(NARROW, channels=((4, 3, 2),) * 2, harmonics=4, pooling="sum", votes=0, sharpness=3.0)
    run = replace(
        reference.RUN, task=TASK, network=replace(small, attentive="last"), data=ReferenceData(TASK, batch=2),
        optimisation=optimisation,
    )  # fmt: skip
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {run.name: run})
    monkeypatch.setattr(benchmark, "SCANS", 1)
    monkeypatch.setattr(benchmark, "NETWORKS", {"by the recipe": run.name})
    monkeypatch.setattr(study, "SCANS", 4)
    common = ["--data", str(release), "--out", str(tmp_path / "out")]
    main([*common, "run", run.name, "--device", "cpu"])
    main([*common, "benchmark", "faces", "--results", str(tmp_path / "results")])
    errors, overlaps, extremes = capsys.readouterr().out.strip().split("\n\n")[-3:]
    assert "| facescape | 2 | by the recipe |" in errors
    lines = [line for line in errors.splitlines() if line.startswith("|")]
    assert len(lines) == 3, "expected no other source"
    values = [float(cell) for cell in overlaps.splitlines()[-1].split("|")[2:-1]]
    assert len(values) == len(TIERS) == 7
    assert max(values) - min(values) < 1e-3
    assert [line.split("|")[1].strip() for line in extremes.splitlines()[2:]] == [
        "by the recipe, best",
        "by the recipe, worst",
    ]
    folder = folder_of(tmp_path / "out", run, 0)
    report = Report.read(folder / benchmark.REPORT)
    assert {(len(iou), len(iou[0])) for iou in report.overlaps.values()} == {(18, 68)}
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "faces.md",
        "overlaps.png",
        f"heatmaps-{folder.name}.png",
    }
    assert "| 8 chin |" in (tmp_path / "results" / "faces.md").read_text()
    main([*common, "export", run.name, "--bundle", str(tmp_path / "bundle")])
    bundle = read_bundle(tmp_path / "bundle")
    assert [source.name for source in bundle.meta.trained_on] == ["facescape"]
    assert {m.source for m in bundle.meta.measurements} == {"facescape"}
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5
