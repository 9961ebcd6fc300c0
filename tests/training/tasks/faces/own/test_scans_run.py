"""Tests of runs on scans of one's own: what is trained, the floor beside it, and the bundle's name, licence and lineage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from laws import NARROW
from own_scans import as_mesh, face, write_scans

from models.contract.bundle import read_bundle, repeat_example
from models.contract.task import FaceLandmarks, check_inputs
from service.app import create_app
from service.settings import Settings as ServiceSettings
from training.__main__ import main
from training.catalogue import get_run
from training.data.reading import MalformedData
from training.engine.export import onnx_runner
from training.engine.run import Base, Run
from training.engine.settings import Settings, WrongSetting
from training.settings import with_settings
from training.tasks.faces.floor import MEAN_FACE
from training.tasks.faces.metrics import distances_mm
from training.tasks.faces.own import fit
from training.tasks.faces.own.sets import read_set

ROOT = Path(__file__).parents[5]
TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scans(tmp_path_factory.mktemp("own") / "clinic", 6)


def own(folder: Path | None, **settings: Any) -> Run[Any, Any]:
    return with_settings(get_run("faces-own"), Settings(**settings), folder)


def test_a_run_takes_the_set_of_its_data_folder_with_its_licence(clinic: Path):
    run = own(clinic)
    assert (run.bundle_name, run.licence, run.parts) == ("face-clinic", "CC0-1.0", (".",))
    assert run.title == "Face landmarks, trained on the scans of clinic"
    named = own(clinic, model="mine")
    assert named.bundle_name == "mine"
    assert named.fingerprint == run.fingerprint != get_run("faces-own").fingerprint


def test_a_batch_has_other_points_of_the_same_scans_each_time(clinic: Path):
    batches = own(clinic).data.load(clinic)
    inputs, landmarks = batches.training_batch(0, 0)
    check_inputs(batches.data.task, inputs, "a batch")
    assert landmarks.shape == (4, 68, 3)
    assert len(set(np.ptp(landmarks[:, :, 0], axis=1).round(6))) == 4, "expected every scan to train on once"
    part, _ = batches.training_batch(0, 0, rank=1, ranks=2)
    np.testing.assert_array_equal(part["points"], inputs["points"][1::2])
    again, _ = batches.training_batch(0, 1)
    assert not np.isclose(again["points"].sum(), inputs["points"].sum())
    assert batches.steps_an_epoch() == 1
    assert sum(len(true) for _, (_, true) in batches.validation_batches()) == 1


def test_the_mean_face_of_the_set_is_found_on_other_people(clinic: Path):
    batches = own(clinic).data.load(clinic)
    mean = batches.mean_face()
    for subject in batches.subjects("test"):
        assert distances_mm(mean.find(subject.points)[None], subject.true[None]).mean() < 15


def test_a_run_without_a_set_and_a_wrong_set_are_refused_before_a_step(tmp_path: Path, clinic: Path):
    for folder in (None, tmp_path):
        with pytest.raises(WrongSetting, match=r'expected dataset\.json with "kind": "faces" beside them'):
            own(folder)
    wrong = write_scans(tmp_path / "wrong")
    (wrong / "p0.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(MalformedData, match=r"p0\.obj: expected 68 landmarks, got 1"):
        own(wrong)
    with pytest.raises(WrongSetting, match="faces-own has no windows of hands"):
        own(clinic, preset="10+10@30")
    with pytest.raises(WrongSetting, match="hands-own trains on recordings of your own"):
        with_settings(get_run("hands-own"), Settings(), clinic)


def test_the_weights_of_the_shipped_landmarker_are_a_beginning_and_those_of_others_are_not(clinic: Path):
    run, shipped = own(clinic, base=Base.of(ROOT / "bundles/face-se3unet")), get_run("face-se3unet")
    assert (run.task, run.network, run.loss) == (shipped.task, shipped.network, shipped.loss)
    assert run.optimisation.learning_rate == pytest.approx(0.3 * shipped.optimisation.learning_rate)
    assert run.optimisation.steps == get_run("faces-own").optimisation.steps
    assert run.licence == "CC0-1.0; begun with face-se3unet, Apache-2.0"
    assert run.fingerprint != own(clinic).fingerprint
    with pytest.raises(WrongSetting, match="face-depth"):
        own(clinic, base=Base.of(ROOT / "bundles/face-depth"))


def test_scans_are_trained_on_exported_and_served_and_are_a_beginning(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = get_run("faces-own")
    optimisation = replace(run.optimisation, warmup=1, validate_every=2)
    small = replace(
        run, task=TASK, network=NARROW, data=replace(run.data, task=TASK, batch=2), optimisation=optimisation
    )
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {run.name: small})
    monkeypatch.setattr("training.tasks.faces.settings.all_runs", dict)
    common = [run.name, "--data", str(clinic), "--steps", "2", "--device", "cpu"]
    out = ["--out", str(tmp_path / "runs")]
    main([*out, "run", *common])
    main([*out, "export", *common, "--bundle", str(tmp_path / "bundles/face-clinic")])
    bundle = read_bundle(tmp_path / "bundles/face-clinic")
    assert (bundle.meta.name, bundle.meta.licence) == ("face-clinic", "CC0-1.0")
    digest = read_set(clinic).sha256
    assert [(one.name, one.attribution, one.recordings, one.sha256) for one in bundle.meta.trained_on] == [
        ("clinic", "our clinic", 4, digest)
    ]
    assert {(one.source, one.split, one.baseline) for one in bundle.meta.measurements} == {
        ("clinic", "test", MEAN_FACE)
    }
    assert all(one.baseline_value is not None for one in bundle.meta.measurements)
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5

    points, _ = face(9)
    settings = ServiceSettings(
        hosts=("testserver",), bundles=tmp_path / "bundles", state=tmp_path / "state", data=tmp_path
    )
    with TestClient(create_app(settings)) as client:
        scan = {"file": ("anna.obj", as_mesh(points).encode(), "model/obj")}
        answer = client.post("/landmarks/face?units=mm&model=face-clinic", files=scan)
        described = client.get("/models/face-clinic").json()
    assert [one["name"] for one in described["trained_on"]] == ["clinic"]
    assert answer.status_code == 422, answer.text
    assert "confidence of at least 0.04 over the 68 landmarks, got 0;" in answer.json()["detail"], "expected its answer"

    monkeypatch.setattr(fit, "LEAST", 4)
    capsys.readouterr()
    more = [*common, "--from", str(bundle.folder), "--name", "face-second"]
    main([*out, "run", *more])
    main([*out, "export", *more, "--bundle", str(tmp_path / "second")])
    second = read_bundle(tmp_path / "second").meta
    assert (second.name, second.base) == ("face-second", f"face-clinic {bundle.meta.version}")
    assert "| clinic | 1 | faces-own |" in capsys.readouterr().out
