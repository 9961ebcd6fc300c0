"""Tests of `chiron lift`, `chiron forecast --of poses` and `chiron recognize`: their output equals the service's answers."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ...command_line import complaint, run
from ...conftest import make_recogniser, moving_body
from .test_options import UNSURE

LIFT: dict[str, Any] = {"fps": 30, "joints": "h36m-17", "image": [1000, 800], "keypoints": moving_body(12, 2).tolist()}
POSES: dict[str, Any] = {"fps": 10, "joints": "h36m-17", "past": moving_body(12, 2).tolist()}
CLIP: dict[str, Any] = {"joints": "h36m-17", "clip": (moving_body(25, 3) / 1000).tolist()}
CASES: dict[
    str, tuple[list[str], str, dict[str, Any], str, str]
] = {  # command, path, body, array of the body, array of the answer
    "lift": (["lift"], "/poses/lift", {**LIFT, "model": "lift-means"}, "keypoints", "poses"),
    "poses": (["forecast", "--of", "poses"], "/forecast/poses", {**POSES, "model": "poses-onwards"}, "past", "future"),
    "actions": (["recognize"], "/actions/recognize", {**CLIP, "model": "actions-3d"}, "clip", "classes"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundles: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIRON_BUNDLES", str(bundles))
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_clips_in_json_and_npz_get_the_answer_of_the_service(client, folder: Path, case: str):
    command, path, body, *_ = CASES[case]
    answer = client.post(path, json=body).json()
    Path("clip.json").write_text(json.dumps(body))
    assert json.loads(run(*command, "clip.json").stdout) == answer
    arrays = {name: np.array(value) for name, value in body.items()}
    np.savez("clip.npz", allow_pickle=False, **arrays)
    assert json.loads(run(*command, "clip.npz").stdout) == answer


@pytest.mark.parametrize("case", CASES)
def test_the_options_of_an_npy_clip_come_from_the_command(client, folder: Path, case: str):
    command, path, body, array, _ = CASES[case]
    np.save("clip.npy", np.array(body[array]))
    options = ["--model", body["model"], "--joints", body["joints"]]
    options += ["--fps", body["fps"]] if "fps" in body else []
    options += ["--image", "1000x800"] if "image" in body else []
    assert json.loads(run(*command, "clip.npy", *options).stdout) == client.post(path, json=body).json()


def test_options_of_the_command_override_fields_of_the_clip(folder: Path):
    Path("clip.json").write_text(json.dumps(LIFT))
    answer = json.loads(run("lift", "clip.json", "--fps", 60, "--model", "lift-sure").stdout)
    assert (answer["fps"], answer["model"]["name"]) == (60, "lift-sure")
    Path("clip.json").write_text(json.dumps(CLIP))
    assert len(json.loads(run("recognize", "clip.json", "--top", 1, "--model", "actions-3d").stdout)["classes"]) == 1


@pytest.mark.parametrize("case", ["lift", "poses"])
def test_poses_are_written_as_arrays(folder: Path, case: str):
    command, _, body, _, name = CASES[case]
    Path("clip.json").write_text(json.dumps(body))
    answer = json.loads(run(*command, "clip.json").stdout)
    run(*command, "clip.json", "-o", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), answer[name])
    run(*command, "clip.json", "-o", "out.npz")
    with np.load("out.npz") as arrays:
        np.testing.assert_array_equal(arrays[name], answer[name])
        np.testing.assert_array_equal(arrays["times"], answer["times"])
        assert (str(arrays["model"]), float(arrays["fps"])) == (body["model"], body["fps"])


def test_classes_are_written_as_a_table(folder: Path):
    body = {"joints": "h36m-17", "clips": [CLIP["clip"], CLIP["clip"][:10]], "model": "actions-3d"}
    Path("clip.json").write_text(json.dumps(body))
    answer = json.loads(run("recognize", "clip.json").stdout)
    run("recognize", "clip.json", "-o", "out.csv")
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["clip"] for row in rows] == ["0"] * 3 + ["1"] * 3
    assert [row["class"] for row in rows[3:]] == [class_["name"] for class_ in answer["clips"][1]["classes"]]


def test_a_table_of_classes_has_a_line_for_none_of_these(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "own").mkdir()
    make_recogniser(folder / "own", "actions-none", UNSURE)
    monkeypatch.setenv("CHIRON_BUNDLES", str(folder / "own"))
    Path("clip.json").write_text(json.dumps({"joints": "h36m-17", "clip": CLIP["clip"]}))
    said = json.loads(run("recognize", "clip.json").stdout)
    run("recognize", "clip.json", "-o", "out.csv")
    lines = Path("out.csv").read_text().splitlines()
    assert lines[-1] == f"0,none of these,{said['none_of_these']}"
    assert sum(float(line.split(",")[2]) for line in lines[1:]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("case", ["lift", "poses"])
def test_a_picture_can_be_drawn_with_the_answer(folder: Path, case: str):
    command, _, body, array, _ = CASES[case]
    frames = body[array]
    Path("clip.json").write_text(json.dumps({**body, array: [*frames[:1], None, *frames[2:]]}))
    run(*command, "clip.json", "-o", "out.json", "--plot", "picture.png")
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")


def test_clips_of_different_lengths_cannot_be_written_as_an_array(folder: Path):
    body = {name: value for name, value in LIFT.items() if name != "keypoints"}
    Path("clip.json").write_text(json.dumps({**body, "clips": [LIFT["keypoints"], LIFT["keypoints"][:5]]}))
    assert "expected clips of one length" in complaint("lift", "clip.json", "-o", "out.npy", code=1)
    assert not Path("out.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lift", "clip.npy", "--joints", "h36m-17", "--fps", 30], 1, "give --image"),
        (
            ["lift", "clip.npy", "--image", "wide"],
            2,
            "expected --image WIDTHxHEIGHT in pixels, such as 1920x1080, got wide",
        ),
        (["recognize", "clip.npy"], 1, "give --joints"),
        (["recognize", "clip.npy", "--joints", "mano"], 1, "h36m-17, coco-17"),
    ],
)
def test_the_error_for_a_missing_field_names_its_option(folder: Path, arguments, code, message):
    np.save("clip.npy", moving_body(12, 2))
    assert message in complaint(*arguments, code=code)


def test_a_folder_of_frames_as_openpose_writes_them_is_one_clip(client, folder: Path):
    clip = moving_body(12, 2, 25)
    documents = [
        {"version": 1.3, "people": [{"pose_keypoints_2d": np.insert(f, 2, 0.9, axis=1).ravel().tolist()}]} for f in clip
    ]
    Path("dance").mkdir()
    for number, document in enumerate(documents):
        Path(f"dance/take_{number}_keypoints.json").write_text(json.dumps(document))
    Path("all.json").write_text(json.dumps(documents))
    fields = {"fps": 30, "image": [1000, 800], "model": "lift-means"}
    answer = client.post("/poses/lift", json={**fields, "keypoints": documents}).json()
    options = ["--fps", 30, "--image", "1000x800", "--model", "lift-means"]
    for source in ("dance", "all.json"):
        assert json.loads(run("lift", source, *options).stdout) == answer
    run("lift", "dance", "all.json", *options, "-o", "out/")
    assert {path.name for path in Path("out").iterdir()} == {"dance.json", "all.json"}
    assert "give --fps" in complaint("lift", "dance", "--image", "1000x800", code=1)


def test_poses_that_were_lifted_are_recognised_from_their_file(client, folder: Path):
    Path("clip.json").write_text(json.dumps(LIFT))
    run("lift", "clip.json", "--model", "lift-means", "-o", "poses.json")
    poses = json.loads(Path("poses.json").read_text())
    poses["poses"] = (moving_body(12, 3) / 1000 * [1, -1, -1]).tolist()  # the bundle of means lifts no person
    Path("poses.json").write_text(json.dumps(poses))
    answer = json.loads(run("recognize", "poses.json", "--model", "actions-3d").stdout)
    clip = {"joints": "h36m-17", "model": "actions-3d", "clip": (moving_body(12, 3) / 1000).tolist()}
    assert answer["classes"] == client.post("/actions/recognize", json=clip).json()["classes"]
    Path("clip.json").write_text(json.dumps({**clip, "clip": poses["poses"]}))
    assert json.loads(run("recognize", "clip.json", "--axes", "camera").stdout)["classes"] == answer["classes"]
