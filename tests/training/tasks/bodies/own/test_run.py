"""Tests of runs on body recordings of one's own: what is trained, the bundle, and its answers through the service."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from own_bodies import FPS, REST_M, person, write_set

from models.contract.bundle import read_bundle
from models.contract.spec import OWN_RUNS, TrainSpec
from models.skeletons.body import convert_body
from models.skeletons.body_orders import get_body_order
from service.app import create_app
from service.settings import Settings as ServiceSettings
from training.__main__ import main
from training.catalogue import all_runs, get_run
from training.engine.run import Base, Run
from training.engine.settings import Settings, WrongSetting
from training.settings import with_settings
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.floors import mean_pose
from training.tasks.bodies.own.sets import own_bodies
from training.tasks.bodies.virtual_cameras import with_other_bones

ROOT = Path(__file__).parents[5]
H36M = get_body_order("h36m-17")


def own(name: str, folder: Path | None, **settings: Any) -> Run[Any, Any]:
    return with_settings(get_run(name), Settings(**settings), folder)


def test_a_run_takes_the_sets_of_its_data_folder_with_their_licence(tmp_path: Path):
    folder = write_set(tmp_path / "lab")
    lift, poses = own("lift-own", folder), own("poses-own", folder)
    assert (lift.bundle_name, lift.title, lift.licence) == ("lift-studio", "Lifter of studio", "CC0-1.0")
    assert (poses.bundle_name, poses.title, poses.parts) == ("poses-studio", "Forecaster of 2D poses of studio", (".",))
    inputs, targets = lift.data.load(folder).training_batch(0, 0)
    assert inputs["keypoints"].shape == (128, 27, 17, 3)
    assert targets.shape == (128, 1, 17, 3)
    assert {source for source, _ in lift.data.load(folder).validation_batches()} == {"studio", "studio, drawn cameras"}
    assert own("lift-own", folder, model="mine").bundle_name == "mine"
    assert own("lift-own", folder, epochs=2).optimisation.steps == 2 * lift.data.load(folder).steps_an_epoch()


def test_recordings_are_seen_whole_by_cameras_around_them(tmp_path: Path):
    folder = write_set(tmp_path / "lab", recordings=3)
    clips = own("poses-own", folder).data.load(folder).recordings
    assert [clip.name for clip in clips[:4]] == [f"step-0.npy {azimuth}" for azimuth in (40, 140, 220, 320)]
    assert all(np.abs(clip.points).max() < 1 for clip in clips), "expected every keypoint inside the picture"
    assert {clip.split for clip in clips} == {"train", "validation", "test"}


def test_the_fingerprint_changes_with_the_recordings_and_not_with_the_models_name(tmp_path: Path):
    first = own("lift-own", write_set(tmp_path / "lab"))
    assert first.fingerprint == own("lift-own", tmp_path / "lab", model="mine").fingerprint
    assert first.fingerprint != own("lift-own", write_set(tmp_path / "other", frames=121)).fingerprint


def test_own_recordings_can_be_mixed_with_other_sources_and_begin_with_a_bundle(tmp_path: Path):
    write_set(tmp_path / "body/studio")
    run = own("lift-own", tmp_path, sources=("studio", "hdm05_11"))
    assert run.licence == "as its data: studio CC0-1.0; hdm05_11 CC BY-SA 3.0"
    assert run.parts == ("body",)
    begun = own("lift-own", tmp_path, base=Base.of(ROOT / "bundles/poses-lift"))
    assert begun.licence == "CC0-1.0; begun with poses-lift, CC-BY-SA-3.0"


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("poses-own", {}, UnknownBodies, "expected 2 s in a row with every joint in the split train of studio, got none"),
        ("lift-own", {"preset": "10+10@30"}, WrongSetting, "has neither a preset, actions nor an architecture"),
        ("lift-own", {"architecture": "EqMotion"}, WrongSetting, "has neither a preset, actions nor an architecture"),
        ("lift-own", {"model": "poses-lift"}, WrongSetting, "'poses-lift' is the name of a run that comes with the package"),
        ("lift-own", {"network": {"depth": 2}}, WrongSetting, "WindowLifterConfig has no field 'depth'"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_before_a_step(
    name: str, settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
):
    with pytest.raises(error, match=message):
        own(name, write_set(tmp_path / "lab", frames=40), **settings)


def test_a_folder_or_a_job_without_own_recordings_is_refused(tmp_path: Path):
    with pytest.raises(WrongSetting, match=r'expected dataset\.json with "kind": "bodies" beside them .* got none'):
        own("poses-own", tmp_path)
    with pytest.raises(ValueError, match="expected a dataset for poses-own, whose recordings it trains on, got none"):
        TrainSpec(run="poses-own")
    assert {name: run.task.kind for name, run in all_runs().items() if name.endswith("-own")} == OWN_RUNS


def test_recordings_of_an_order_without_a_spine_keep_their_arms_and_give_floors(tmp_path: Path):
    folder = write_set(tmp_path / "lab", 0, joints="openpose-18")
    order = get_body_order("openpose-18")
    for number in range(3):
        points = convert_body(person(30, number), H36M, order, partial=True)
        faces = [joint for joint in range(len(order.joints)) if not np.isfinite(points[:, joint]).all()]
        points[:, faces] = person(30, number)[:, [10]] + 0.02 * np.arange(len(faces))[:, None]
        np.save(folder / f"step-{number}.npy", points)
    batches = own("lift-own", folder).data.load(folder)
    _, targets = batches.training_batch(0, 0)
    known = np.isfinite(targets).all(axis=(0, 1, 3))
    lacking = {"spine", "head_base", "head_top"}
    assert {joint for joint, there in zip(H36M.joints, known, strict=True) if not there} == lacking
    (clip, *_) = batches.clips("test")
    assert np.isfinite(mean_pose(batches)(clip)).all(axis=(0, 2)).tolist() == known.tolist()
    rest = np.where(known[:, None], REST_M, np.nan).astype(np.float32)[None, None]
    longer = with_other_bones(rest, H36M, np.full((1, len(H36M.bones)), 2.0))
    elbow, wrist = H36M.indices(("left_elbow", "left_wrist"))
    np.testing.assert_allclose(
        longer[0, 0, wrist] - longer[0, 0, elbow], 2 * (REST_M[wrist] - REST_M[elbow]), atol=1e-6
    )


def test_a_set_becomes_a_bundle_with_lineage_that_the_service_serves(tmp_path: Path):
    folder = write_set(tmp_path / "lab", frames=80)
    common = ["poses-own", "--data", str(folder), "--steps", "2", "--name", "mine", "--device", "cpu"]
    main(["--out", str(tmp_path / "runs"), "run", *common])
    main(["--out", str(tmp_path / "runs"), "export", *common, "--bundle", str(tmp_path / "bundles/mine")])
    meta = read_bundle(tmp_path / "bundles/mine").meta
    digest = own_bodies(folder / "body")["studio"].sha256
    assert (meta.name, meta.licence) == ("mine", "CC0-1.0")
    assert [(one.name, one.attribution, one.recordings, one.sha256) for one in meta.trained_on] == [
        ("studio", "our laboratory", 4, digest)
    ]
    assert {(one.source, one.split) for one in meta.measurements} == {("studio", "test")}
    assert all(one.baseline_value is not None for one in meta.measurements)
    assert digest in (tmp_path / "bundles/mine/README.md").read_text()
    settings = ServiceSettings(bundles=tmp_path / "bundles", state=tmp_path / "state", data=tmp_path)
    past = (400 * person(40)[..., :2]).round(3)
    mirrored = (past * [-1, 1])[:, list(H36M.mirror)]
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        answers = []
        for one in (past, mirrored):
            body = {"model": "mine", "fps": FPS, "joints": "h36m-17", "past": one.tolist()}
            answer = client.post(
                "/forecast/poses", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, answer.text
            answers.append(np.array(answer.json()["future"]))
    assert answers[0].shape == (30, 17, 2)
    mirror_image = (answers[0] * [-1, 1])[:, list(H36M.mirror)]
    np.testing.assert_allclose(answers[1], mirror_image, rtol=0, atol=2e-5)  # of rounding to five decimals
