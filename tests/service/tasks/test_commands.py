"""Tests of all commands that work on files: inputs, outputs, exit codes, and the choice of a model."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hand_motion import moving_hands

from ..command_line import complaint, run
from ..conftest import moving_body

HANDS = {"fps": 30, "past": moving_hands(40, hands=2).tolist()}
POSES = {"fps": 10, "joints": "h36m-17", "past": moving_body(12, 2).tolist()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundles: Path) -> Path:
    """Change to a folder with clips of hands and poses, and use the test bundles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIRON_BUNDLES", str(bundles))
    monkeypatch.delenv("CHIRON_DEFAULT_MODEL", raising=False)
    Path("hands.json").write_text(json.dumps(HANDS))
    Path("poses.json").write_text(json.dumps(POSES))
    return tmp_path


def model_of(*arguments: object) -> str:
    return json.loads(run(*arguments).stdout)["model"]["name"]


USAGE_ERRORS: dict[str, tuple[list[str], str]] = {
    "an unknown form of answer": (["hands.json", "-o", "out.xml"], "expected an answer file ending in .json, .npz, .npy"),
    "a form of another task": (["hands.json", "-o", "out.ply"], "got out.ply"),
    "a picture of another kind": (["hands.json", "--plot", "clip.gif"], ".png, .pdf, .svg"),
    "a folder that is not there": (["hands.json", "-o", "none/out.json"], "no folder none"),
    "the clip itself": (["hands.json", "-o", "hands.json"], "would overwrite its own input"),
    "the clip itself, in its folder": (["hands.json", "-o", "./"], "would overwrite its own input"),
    "many clips and no folder": (["hands.json", "other.json"], "expected a folder for 2 files, -o FOLDER/, got none"),
    "many clips into a file": (["hands.json", "other.json", "-o", "out.json"], "got out.json"),
    "many pictures into a file": (["hands.json", "other.json", "-o", "out/", "--plot", "all.png"], "--plot FOLDER/"),
    "two clips of one name": (["hands.json", "hands.npz", "-o", "out/"], "hands.json and hands.npz would both be written"),
    "an empty folder": (["empty"], "expected files ending in .json, .npz, .npy in empty/, got none"),
    "a folder of several and no output": (["."], "expected a folder for 2 files"),
    "a model of another kind": (["hands.json", "--model", "face-shells"], "no hand-forecast model 'face-shells'"),
    "units of poses": (["poses.json", "--of", "poses", "--units", "mm"], "--units is an option of hands"),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_a_usage_error_exits_with_2_and_writes_no_files(folder: Path, name: str):
    arguments, message = USAGE_ERRORS[name]
    Path("empty").mkdir()
    before = sorted(folder.rglob("*"))
    assert message in complaint("forecast", *arguments, code=2)
    assert sorted(folder.rglob("*")) == before


def test_failed_files_are_named_on_one_line_each_and_others_are_written(folder: Path):
    Path("broken.json").write_text("{")
    result = run("forecast", "hands.json", "broken.json", "missing.json", "-o", "out/", code=1)
    bar, *lines = result.stderr.split("chiron: ")
    assert "3/3" in bar
    assert lines[0] == "2 of 3 files failed\n"
    assert [line.partition(":")[0] for line in lines[1:]] == ["broken.json", "missing.json"]
    assert [path.name for path in Path("out").iterdir()] == ["hands.json"]


def test_a_failed_file_exits_with_1(folder: Path):
    assert "missing.json: No such file" in complaint("forecast", "missing.json", code=1)


def test_standard_input_is_read_in_the_given_format(folder: Path):
    from_file = run("forecast", "hands.json").stdout
    assert run("forecast", "-", stdin=json.dumps(HANDS).encode()).stdout == from_file
    np.save("past.npy", np.array(HANDS["past"]))
    piped = run("forecast", "-", "--format", "npy", "--fps", 30, stdin=Path("past.npy").read_bytes())
    assert json.loads(piped.stdout)["future"] == json.loads(from_file)["future"]
    assert "standard input: " in complaint("forecast", "-", stdin=b"{", code=1)


def test_a_compressed_clip_is_read_like_the_clip_in_it(folder: Path):
    packed = gzip.compress(Path("hands.json").read_bytes())
    Path("packed.json.gz").write_bytes(packed)
    expected = run("forecast", "hands.json").stdout
    assert run("forecast", "packed.json.gz").stdout == expected
    assert run("forecast", "-", stdin=packed).stdout == expected
    Path("packed.json.gz").write_bytes(packed[:-1])
    assert "packed.json.gz: expected gzip up to its end" in complaint("forecast", "packed.json.gz", code=1)


def test_a_folder_stands_for_its_readable_files(folder: Path):
    Path("clips").mkdir()
    for name in ("a.json", "b.json"):
        Path("clips", name).write_text(json.dumps(HANDS))
    Path("clips", "notes.txt").write_text("no clip")
    run("forecast", "clips", "-o", "out/", "--to", "npy")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.npy", "b.npy"]


def test_forecast_chooses_hands_or_poses_by_the_option_or_the_model(folder: Path):
    assert model_of("forecast", "hands.json") == "hands-modes"
    assert model_of("forecast", "poses.json", "--of", "poses") == "poses-onwards"
    assert model_of("forecast", "poses.json", "--model", "poses-onwards") == "poses-onwards"
    assert "no pose-forecast model" in complaint(
        "forecast", "hands.json", "--of", "poses", "--model", "hands-modes", code=2
    )


def test_the_model_is_chosen_by_the_command_then_the_clip_then_the_settings(folder: Path, monkeypatch):
    assert model_of("forecast", "hands.json") == "hands-modes"
    monkeypatch.setenv("CHIRON_DEFAULT_MODEL", "hands-thirty")
    assert model_of("forecast", "hands.json") == "hands-thirty"
    assert model_of("forecast", "poses.json", "--of", "poses") == "poses-onwards"
    Path("own.json").write_text(json.dumps({**HANDS, "model": "hands-modes"}))
    assert model_of("forecast", "own.json") == "hands-modes"
    assert model_of("forecast", "own.json", "--model", "hands-thirty") == "hands-thirty"


def test_a_clip_with_an_unknown_model_does_not_fail_others(folder: Path):
    Path("own.json").write_text(json.dumps({**HANDS, "model": "gpt"}))
    result = run("forecast", "own.json", "hands.json", "-o", "out/", code=1)
    assert "own.json: no hand-forecast model 'gpt'" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == ["hands.json"]


@pytest.mark.parametrize("command", ["forecast", "landmarks", "lift", "recognize"])
def test_invalid_settings_are_reported_on_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str):
    monkeypatch.setenv("CHIRON_DEVICE", "abacus")
    assert "device" in complaint(command, "hands.json", code=2)


def test_the_version_is_printed():
    assert run("--version").stdout.startswith("chiron 0.")


def test_shell_completion_can_be_installed():
    assert "--install-completion" in run("--help").stdout
