"""Tests of the study of face landmarkers: from the command line to pictures, a table and a bundle with the same figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.bundle import read_bundle, repeat_example
from models.landmarks.pointnet2 import PointNet2Config
from training.__main__ import main
from training.engine.export import Facts, export, onnx_runner
from training.engine.folders import folder_of
from training.tasks.faces import study
from training.tasks.faces.data import KINDS
from training.tasks.faces.floor import MEAN_FACE
from training.tasks.faces.report import Report
from training.tasks.faces.shape_prior import fit_shape
from training.tasks.faces.study import fit_rest

SMALL = PointNet2Config(channels=(4, 6, 8), hidden=8)  # exports faster than the UNet, which the laws of networks export


def test_a_face_run_is_trained_measured_and_exported(face_run, data_folder: Path, tmp_path: Path, capsys):
    run = face_run(SMALL)
    common = ["--data", str(data_folder), "--out", str(tmp_path / "out")]
    main([*common, "run", "few", "--device", "cpu"])
    main([*common, "evaluate", "few"])
    assert "| facefuns | 1 | few |" in capsys.readouterr().out
    folder = folder_of(tmp_path / "out", run, 0)
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures >= {"test-ict-clean.png", "test-facefuns.png", "test-humface.png", "test-lee_perry_smith.png"}
    main([*common, "export", "few", "--bundle", str(tmp_path / "bundle")])
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.meta.task == run.task
    assert [source.name for source in bundle.meta.trained_on] == ["ict_facekit"]
    assert {m.source for m in bundle.meta.measurements} >= {"ict, clean", "humface"}
    plain = [m.model_copy(update={"baseline": None, "baseline_value": None}) for m in bundle.meta.measurements]
    assert plain == list(Report.read(folder / "test.json").measurements())
    assert {m.baseline for m in bundle.meta.measurements} == {MEAN_FACE}
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5
    main([*common, "remeasure", "few", "--bundle", str(tmp_path / "bundle")])
    again = read_bundle(tmp_path / "bundle").meta.measurements
    assert [m.baseline_value for m in again] == [m.baseline_value for m in bundle.meta.measurements]
    values = [m.value for m in bundle.meta.measurements]
    assert [m.value for m in again] == pytest.approx(values, abs=0.02)  # the graph differs from the network by rounding


def test_a_bundle_is_recalibrated_in_its_confidence_alone(face_run, data_folder: Path, tmp_path: Path, capsys):
    run = face_run(NARROW)
    network = run.build().eval()
    batches = run.data.load(data_folder)
    fit_shape(network, batches.batches_to_fit(8))
    with torch.no_grad():
        network.confidence.scan.copy_(torch.tensor([1.0, 0.0, 12.0]))  # certain of all
    example, _ = batches.example()
    export(
        network, tmp_path / "bundle", Facts(example, (batches.trained_on(3),), ()),
        name="few", title="Few", licence="CC0-1.0", command="none",
    )  # fmt: skip
    before = read_bundle(tmp_path / "bundle")
    _, old = before.example()
    main(["--data", str(data_folder), "recalibrate", "few", "--bundle", str(before.folder)])
    assert "other answers differ by" in capsys.readouterr().out
    after = read_bundle(before.folder)
    _, new = after.example()
    for name in ("heatmaps", "landmarks"):
        np.testing.assert_allclose(new[name], old[name], atol=1e-5)
    assert old["confidence"].min() > 0.9 > 0.5 > new["confidence"].max()
    assert after.meta.measurements == before.meta.measurements
    assert after.meta.version != before.meta.version


def test_confidence_is_fitted_on_equal_shares_of_all_kinds(face_run, data_folder: Path, monkeypatch):
    run = face_run(NARROW)
    drawn = []
    scans_of = study.scans_of
    monkeypatch.setattr(study, "scans_of", lambda *asked: drawn.append(asked[1:4]) or scans_of(*asked))
    scans = list(study.scans_to_calibrate(run, run.data.load(data_folder), data_folder))
    assert drawn == [("validation", kind, study.CALIBRATED) for kind in KINDS]
    assert len(scans) == study.CALIBRATED * len(KINDS)


@pytest.mark.parametrize("network", [NARROW, SMALL], ids=["se3-unet", "pointnet2"])
def test_fitting_after_training_changes_only_the_shape_prior_and_the_confidence(face_run, data_folder: Path, network):
    run = face_run(network)
    trained = run.build().eval()
    numbers = dict([*trained.named_parameters(), *trained.named_buffers()])
    before = {name: x.detach().clone() for name, x in numbers.items()}
    fit_rest(trained, run.data.load(data_folder))
    changed = {name for name, x in numbers.items() if not torch.equal(x, before[name])}
    assert changed == {"shape.reference", "shape.weight", "shape.bias", "confidence.weights", "confidence.bias"}
    assert all(x.isfinite().all() for x in numbers.values())
