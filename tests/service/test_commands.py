"""`chiron forecast` and `chiron landmarks`: files to files, with the answers of the service, and a sentence for what is wrong."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from clouds import bumpy_cloud
from typer.testing import CliRunner

from models.scans.files import read_scan
from models.skeletons.face import FACE68
from service.cli import app
from training.tasks.hands.npz import read_hands

from .conftest import moving_hands
from .test_landmarks_face import ply, triangles_of

pytestmark = pytest.mark.long

CHECKOUT = Path(__file__).resolve().parents[2]
CLOUD = 0.7 * bumpy_cloud(3000)
PAST = moving_hands(40, hands=2).astype(np.float32)


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as one types it; what it imported is on standard error as well."""
    command = [sys.executable, "-X", "importtime", "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def complaint(*arguments: object, code: int = 2) -> str:
    """The sentence that a refused command says: one line, on standard error."""
    result = run(*arguments, code=code)
    assert result.stdout == ""
    assert result.stderr.startswith("chiron: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


@pytest.fixture
def forecast(bundles: Path, tmp_path: Path):
    """Runs `chiron forecast` on arrays put into a .npz."""

    def call(*arguments: object, model: str = "hands-thirty", **arrays: object) -> Path:
        np.savez(tmp_path / "clip.npz", allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
        output = tmp_path / "future.npz"
        run("forecast", tmp_path / "clip.npz", "-o", output, "--bundles", bundles, "--model", model, *arguments)
        return output

    return call


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.ply"
    path.write_bytes(ply(1000 * CLOUD))
    return path


def test_a_real_clip_is_forecast_with_a_picture_and_without_torch(data_folder: Path, tmp_path: Path):
    recording = read_hands(data_folder / "hands", "tzionas", "test")[0].clip
    joints = 1000 * recording.joints[:60]
    both = recording.valid[:60].all()
    sides = {"left": joints[:, 0], "right": joints[:, 1]} if both else {"right": joints[:, 1]}
    np.savez(tmp_path / "clip.npz", fps=round(recording.fps), units="mm", **sides)  # pyright: ignore[reportArgumentType]
    done = process(
        *("forecast", tmp_path / "clip.npz", "-o", tmp_path / "future.npz", "--plot", tmp_path / "strip.png"),
        *("--bundles", CHECKOUT / "bundles", "--model", "hands-eqmotion"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert {"numpy", "onnxruntime", "matplotlib"} <= imported(done)
    assert not {"torch", "training"} & imported(done)
    assert (tmp_path / "strip.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "future.npz") as answer:
        assert str(answer["model"]) == "hands-eqmotion"
        for side, past in sides.items():
            assert answer[side].shape == (len(answer["times"]), 21, 3)
            assert np.linalg.norm(answer[side][0] - past[-1], axis=-1).max() < 50  # mm in a frame


def test_a_real_scan_is_searched_with_a_picture_and_without_torch(bundles: Path, data_folder: Path, tmp_path: Path):
    humface = data_folder / "faces" / "raw_scans" / "humface.ply"
    done = process(
        *(
            "landmarks",
            humface,
            "-o",
            tmp_path / "landmarks.json",
            "--plot",
            tmp_path / "scan.png",
            "--bundles",
            bundles,
        )
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not {"torch", "training"} & imported(done)
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads((tmp_path / "landmarks.json").read_text())
    assert answer["units"] == "mm"
    assert len(answer["landmarks"]) == 68


def test_matplotlib_is_not_imported_where_no_picture_is_asked_for(bundles: Path, scan: Path):
    done = process("landmarks", scan, "--bundles", bundles)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["landmarks"]) == 68
    assert "matplotlib" not in imported(done)


@pytest.mark.parametrize("clip", ["clip.json", "clip.npz", "clip.npy"])
@pytest.mark.parametrize("output", ["future.json", "future.npy", "future.npz"])
def test_every_form_of_a_clip_has_the_answer_of_the_service_in_every_form(
    client, bundles: Path, tmp_path: Path, clip: str, output: str
):
    (tmp_path / "clip.json").write_bytes(orjson.dumps({"fps": 30, "past": PAST.astype(float).tolist()}))
    np.savez(tmp_path / "clip.npz", past=PAST, fps=30)
    np.save(tmp_path / "clip.npy", PAST)
    options = ["--fps", 30] if clip == "clip.npy" else []
    run(
        *("forecast", tmp_path / clip, "-o", tmp_path / output, "--bundles", bundles, "--model", "hands-thirty"),
        *options,
    )
    body = {"fps": 30, "past": PAST.astype(float).tolist(), "model": "hands-thirty"}
    wanted = client.post("/forecast/hands", json=body).json()
    if output == "future.json":
        assert json.loads((tmp_path / output).read_text()) == wanted
        return
    loaded = np.load(tmp_path / output)
    future = loaded["future"] if output == "future.npz" else loaded
    assert future.dtype == (np.float64 if clip == "clip.json" else np.float32)
    np.testing.assert_allclose(future, wanted["future"], atol=1e-6)
    if output == "future.npz":
        np.testing.assert_array_equal(loaded["times"], wanted["times"])
        assert str(loaded["version"]) == wanted["model"]["version"]
        assert (float(loaded["fps"]), str(loaded["units"]), str(loaded["joints"])) == (30, "m", "assembly101")


def test_with_no_output_the_answer_is_printed_as_json(client, bundles: Path, scan: Path, tmp_path: Path):
    np.savez(tmp_path / "clip.npz", past=PAST, fps=30)
    printed = run("forecast", tmp_path / "clip.npz", "--bundles", bundles, "--model", "hands-modes").stdout
    assert len(json.loads(printed)["alternatives"]) == 2
    printed = run("landmarks", scan, "--bundles", bundles).stdout
    answer = client.post("/landmarks/face", content=scan.read_bytes(), headers={"content-type": "model/ply"})
    assert json.loads(printed) == answer.json()


def test_options_of_the_command_stand_over_those_of_the_clip(forecast):
    path = forecast(
        "--units", "cm", "--fps", "60", past=100 * moving_hands(70, hands=2), fps=30, units="mm", joints="assembly101"
    )
    with np.load(path) as answer:
        assert (str(answer["units"]), float(answer["fps"]), len(answer["times"])) == ("cm", 60, 60)


def test_a_hand_that_was_not_seen_is_left_out(forecast):
    left = PAST[:, :21]
    with np.load(forecast(left=left, right=np.full_like(left, np.nan), fps=30)) as answer:
        assert "left" in answer
        assert "right" not in answer


def test_other_modes_and_carried_joints_are_in_the_arrays(forecast):
    mediapipe = moving_hands(40, hands=1)
    path = forecast(past=mediapipe, fps=30, joints="mediapipe", hand="right", model="hands-modes")
    with np.load(path) as answer:
        assert answer["alternatives_future"].shape == (2, *answer["future"].shape)
        assert not np.array_equal(answer["alternatives_future"][0], answer["future"])
        assert list(answer["carried_joints"]) == ["thumb_cmc"]


def test_whole_numbers_and_doubles_are_taken_as_coordinates(forecast):
    past = np.round(1000 * PAST).astype(np.int32)
    with np.load(forecast(past=past, fps=30, units="mm")) as whole:
        assert whole["future"].dtype == np.float64
        expected = whole["future"]
    with np.load(forecast(past=past.astype(">f8"), fps=30, units="mm")) as doubles:
        np.testing.assert_array_equal(doubles["future"], expected)


CLIPS: dict[str, tuple[dict[str, object], list[object], str]] = {  # arrays, options, what the complaint says
    "no rate": ({"past": PAST}, [], "--fps"),
    "no array": ({"points": PAST, "fps": 30}, [], "past, or left and right; it has points, fps"),
    "an array for an option": ({"past": PAST, "joints": PAST, "fps": 30}, [], "joints in a .npz is one value"),
    "text for coordinates": ({"past": np.array([["a"]]), "fps": 30}, [], "past in a .npz is numbers"),
    "objects": ({"past": np.array([None]), "fps": 30}, [], "cannot be read"),
    "two axes": ({"past": PAST[0], "fps": 30}, [], "(frames, joints, 3); came (42, 3)"),
    "two lengths": ({"left": PAST[:, :21], "right": PAST[1:, 21:], "fps": 30}, [], "one shape"),
    "an unknown order": ({"past": PAST, "fps": 30}, ["--joints", "octopus"], "got 'octopus'"),
    "a unit that is none": ({"past": PAST, "fps": 30, "units": "km"}, [], "/units"),
    "too short": ({"past": PAST[:5], "fps": 30}, [], "at least 30 frames"),
    "an infinity": ({"past": np.where(PAST[5, 5, 0] == PAST, np.inf, PAST), "fps": 30}, [], "not a finite number"),
    "a gap": ({"left": np.where(np.arange(40)[:, None, None] > 30, np.nan, PAST[:, :21]), "fps": 30}, [], "missing"),
    "a model of another kind": ({"past": PAST, "fps": 30}, ["--model", "face-shells"], "no hand-forecast model"),
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_that_cannot_be_forecast_is_refused_with_a_sentence(bundles: Path, tmp_path: Path, name: str):
    arrays, options, wanted = CLIPS[name]
    path = tmp_path / "clip.npz"
    np.savez(path, allow_pickle=True, **arrays)  # pyright: ignore[reportArgumentType]
    model = [] if "--model" in options else ["--model", "hands-thirty"]
    assert wanted in complaint("forecast", path, "--bundles", bundles, *model, *options)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("clip.npz", b"PK\x03\x04 and no more", "cannot be read"),
        ("clip.npz", b"", "cannot be read"),
        ("clip.npy", b"nothing", "\\x93NUMPY"),
        ("clip.json", b'{"fps": 30, "past"', "truncated"),
        ("clip.json", b"[1, 2]", "Expected `object`"),
        ("clip.json", b'{"past": []}', "--fps"),
        ("clip.json", b'{"fps": 30, "past": [], "more": 1}', "more"),
        ("clip.bvh", b"HIERARCHY", "clips are .npz, .npy, .json"),
    ],
)
def test_a_file_that_is_no_clip_is_refused(bundles: Path, tmp_path: Path, name: str, content: bytes, wanted: str):
    (tmp_path / name).write_bytes(content)
    options = ["--fps", 30] if name == "clip.npy" else []
    said = complaint("forecast", tmp_path / name, "--bundles", bundles, *options)
    assert wanted in said
    assert name in said


def test_every_form_has_the_same_landmarks(bundles: Path, scan: Path, tmp_path: Path):
    for suffix in ("json", "csv", "npz", "ply"):
        run("landmarks", scan, "-o", tmp_path / f"landmarks.{suffix}", "--bundles", bundles)
    answer = json.loads((tmp_path / "landmarks.json").read_text())
    wanted = np.array([landmark["position"] for landmark in answer["landmarks"]])
    with np.load(tmp_path / "landmarks.npz") as arrays:
        np.testing.assert_allclose(arrays["landmarks"], wanted, atol=1e-6)
    cloud = read_scan((tmp_path / "landmarks.ply").read_bytes(), ".ply").points
    np.testing.assert_allclose(cloud, wanted, atol=1e-6)
    rows = list(csv.DictReader((tmp_path / "landmarks.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == list(FACE68.joints)
    assert [int(row["index"]) for row in rows] == list(range(68))
    np.testing.assert_allclose([[float(row[axis]) for axis in "xyz"] for row in rows], wanted, atol=1e-6)
    sure = [landmark["confidence"] for landmark in answer["landmarks"]]
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], sure, atol=1e-5)


def test_units_and_heatmaps_are_those_asked_for(bundles: Path, scan: Path, tmp_path: Path):
    with_heatmaps = json.loads(run("landmarks", scan, "--heatmaps", "points", "--bundles", bundles).stdout)
    assert with_heatmaps["units_inferred"]
    assert np.shape(with_heatmaps["heatmaps"]["values"]) == (68, 1024)
    said = json.loads(run("landmarks", scan, "--units", "mm", "--bundles", bundles).stdout)
    assert not said["units_inferred"]
    run("landmarks", scan, "-o", tmp_path / "full.npz", "--heatmaps", "full", "--bundles", bundles)
    with np.load(tmp_path / "full.npz") as arrays:
        assert arrays["full_heatmaps"].shape == (68, len(CLOUD))


def test_many_scans_go_into_a_folder_past_those_that_fail(bundles: Path, tmp_path: Path):
    names = ("one.ply", "two.xyz", "three.obj")
    (tmp_path / "one.ply").write_bytes(ply(CLOUD))
    (tmp_path / "broken.ply").write_bytes(ply(CLOUD)[:-7])
    (tmp_path / "two.xyz").write_text("\n".join(" ".join(map(str, row)) for row in 100 * CLOUD))
    faces = "\n".join(f"f {a} {b} {c}" for a, b, c in triangles_of(CLOUD) + 1)
    (tmp_path / "three.obj").write_text("\n".join(f"v {x} {y} {z}" for x, y, z in CLOUD) + f"\n{faces}\n")
    paths = [tmp_path / name for name in (names[0], "broken.ply", "missing.ply", *names[1:])]
    result = run("landmarks", *paths, "-o", f"{tmp_path / 'out'}/", "--bundles", bundles, code=1)
    assert result.stdout == ""
    bar, *sentences = result.stderr.split("chiron: ")
    assert "5/5" in bar
    assert sentences[0] == "2 of 5 scans failed\n"
    assert [sentence.partition(":")[0] for sentence in sentences[1:]] == [str(paths[1]), str(paths[2])]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.json", "three.json", "two.json"]
    units = {path.stem: json.loads(path.read_text())["units"] for path in (tmp_path / "out").iterdir()}
    assert units == {"one": "m", "two": "cm", "three": "m"}


def test_many_scans_that_all_are_found_end_well_with_a_picture_of_each(bundles: Path, tmp_path: Path):
    paths = [tmp_path / name for name in ("one.ply", "two.ply")]
    for path in paths:
        path.write_bytes(ply(CLOUD))
    (tmp_path / "out").mkdir()
    options = ("-o", tmp_path / "out", "--plot", f"{tmp_path / 'pictures'}/", "--format", "csv")
    run("landmarks", *paths, *options, "--bundles", bundles)
    assert (tmp_path / "out" / "one.csv").read_text() == (tmp_path / "out" / "two.csv").read_text()
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["one.png", "two.png"]


def test_one_scan_may_go_into_a_folder(bundles: Path, scan: Path, tmp_path: Path):
    run("landmarks", scan, "-o", f"{tmp_path / 'new' / 'out'}/", "--bundles", bundles)
    assert (tmp_path / "new" / "out" / "scan.json").is_file()


REFUSED: dict[str, tuple[list[str], str]] = {
    "a form there is none of": (["scan.ply", "-o", "out.xml"], "answers are written as .json, .csv, .npz, .ply"),
    "a picture of another kind": (["scan.ply", "--plot", "scan.gif"], "pictures are .png, .pdf, .svg"),
    "a folder that is not there": (["scan.ply", "-o", "none/out.json"], "no folder none"),
    "the scan itself": (["scan.ply", "-o", "scan.ply"], "would take the place"),
    "the scan itself, in its folder": (["scan.ply", "-o", "./", "--format", "ply"], "would take the place"),
    "many scans and no folder": (["scan.ply", "other.ply"], "want a folder, -o FOLDER"),
    "many scans into a file": (["scan.ply", "other.ply", "-o", "out.json"], "came out.json"),
    "many pictures into a file": (["scan.ply", "other.ply", "-o", "out/", "--plot", "all.png"], "--plot FOLDER"),
    "two scans of one name": (["scan.ply", "scan.obj", "-o", "out/"], "scan.ply and scan.obj would both"),
    "heatmaps in a table": (["scan.ply", "-o", "out.csv", "--heatmaps", "points"], ".json or .npz; came .csv"),
    "all heatmaps in JSON": (["scan.ply", "--heatmaps", "full"], "--heatmaps full wants .npz; came .json"),
    "no such scan": (["nothing.ply"], "nothing.ply: No such file"),
    "a folder for a scan": (["."], "directory"),
    "no scan": (["empty.ply"], "empty.ply: an empty .ply file"),
    "a format that is not read": (["notes.docx"], "got '.docx'"),
    "a size of nothing": (["far.xyz"], "say its units"),
    "no face": (["scan.ply", "--units", "m"], "confidence"),
    "no such model": (["scan.ply", "--model", "face-other"], "no face-landmarks model 'face-other'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_sentence_and_nothing_is_left_behind(
    bundles: Path, scan: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    arguments, wanted = REFUSED[name]
    monkeypatch.chdir(scan.parent)
    Path("empty.ply").touch()
    Path("notes.docx").write_text("no scan")
    Path("far.xyz").write_text("\n".join(" ".join(map(str, row)) for row in 1e6 * CLOUD))
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert wanted in complaint("landmarks", *arguments, "--bundles", bundles)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_without_matplotlib_a_picture_is_refused_before_the_search(
    bundles: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = complaint(
        *("landmarks", scan, "-o", tmp_path / "out.json", "--plot", tmp_path / "scan.png", "--bundles", bundles)
    )
    assert "pip install 'chiron[plot]'" in said
    assert not (tmp_path / "out.json").exists()
    run("landmarks", scan, "-o", tmp_path / "out.json", "--bundles", bundles)


def test_a_folder_without_bundles_or_with_broken_ones_is_a_sentence(bundles: Path, scan: Path, tmp_path: Path):
    assert "no folder" in complaint("landmarks", scan, "--bundles", tmp_path / "none")
    broken = tmp_path / "bundles" / "face-shells"
    shutil.copytree(bundles / "face-shells", broken)
    (broken / "model.onnx").write_bytes(b"another graph")
    for options in ([], ["--model", "face-shells"]):
        assert "checksum" in complaint("landmarks", scan, "--bundles", tmp_path / "bundles", *options)
    assert "no face-landmarks model" in complaint("landmarks", scan, "--bundles", CHECKOUT / "docs")


def test_a_graph_that_does_not_repeat_its_example_is_not_used(bundles: Path, scan: Path, tmp_path: Path):
    lying = tmp_path / "bundles" / "face-shells"
    shutil.copytree(bundles / "face-shells", lying)
    with np.load(lying / "example.npz") as arrays:
        example = dict(arrays)
    example["out_landmarks"] = example["out_landmarks"] + 0.001
    np.savez(lying / "example.npz", allow_pickle=False, **example)
    meta = json.loads((lying / "bundle.json").read_text())
    content = (lying / "example.npz").read_bytes()
    meta["files"]["example.npz"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (lying / "bundle.json").write_text(json.dumps(meta))
    assert "example" in complaint("landmarks", scan, "--bundles", tmp_path / "bundles")


def test_the_model_is_the_one_of_the_settings_if_it_is_of_the_kind(
    bundles: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    np.savez(tmp_path / "clip.npz", past=PAST, fps=30)

    def chosen(*arguments: object) -> str:
        return json.loads(run(*arguments, "--bundles", bundles).stdout)["model"]["name"]

    assert chosen("forecast", tmp_path / "clip.npz") == "hands-modes"
    monkeypatch.setenv("CHIRON_DEFAULT_MODEL", "hands-thirty")
    assert chosen("forecast", tmp_path / "clip.npz") == "hands-thirty"
    assert chosen("landmarks", scan) == "face-shells"
    assert chosen("forecast", tmp_path / "clip.npz", "--model", "hands-modes") == "hands-modes"


def test_wrong_settings_are_said_so(scan: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHIRON_DEVICE", "abacus")
    result = run("landmarks", scan, code=2)
    assert "device" in result.stderr
