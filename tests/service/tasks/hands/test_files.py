"""Tests of `chiron forecast --of hands`: its output equals the service's answers."""

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
from hand_motion import moving_hands

from models.contract.bundle import read_bundle
from models.motion.bones import bone_lengths
from training.tasks.hands.npz import read_hands

from ...command_line import CHECKOUT, complaint, imported, process, run

PAST = moving_hands(40, hands=2).astype(np.float32)


@pytest.fixture
def forecast(bundles: Path, tmp_path: Path):
    """Return a function that runs `chiron forecast` on arrays in a .npz."""

    def call(*arguments: object, model: str = "hands-thirty", **arrays: object) -> Path:
        np.savez(tmp_path / "clip.npz", allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
        output = tmp_path / "future.npz"
        run("forecast", tmp_path / "clip.npz", "-o", output, "--bundles", bundles, "--model", model, *arguments)
        return output

    return call


def test_a_forecast_and_a_picture_of_a_real_clip_need_no_torch(data_folder: Path, tmp_path: Path):
    recording = read_hands(data_folder / "hands", "tzionas", "test")[0].clip
    joints = 1000 * recording.joints[:60]
    both = recording.valid[:60].all()
    sides = {"left": joints[:, 0], "right": joints[:, 1]} if both else {"right": joints[:, 1]}
    np.savez(tmp_path / "clip.npz", fps=round(recording.fps), units="mm", **sides)  # pyright: ignore[reportArgumentType]
    result = process(
        *("forecast", tmp_path / "clip.npz", "-o", tmp_path / "future.npz", "--plot", tmp_path / "strip.png"),
        *("--bundles", CHECKOUT / "bundles", "--model", "hands-eqmotion"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert {"numpy", "onnxruntime", "matplotlib"} <= imported(result)
    assert not {"torch", "training"} & imported(result)
    assert (tmp_path / "strip.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "future.npz") as answer:
        assert str(answer["model"]) == "hands-eqmotion"
        for side, past in sides.items():
            assert answer[side].shape == (len(answer["times"]), 21, 3)
            assert np.linalg.norm(answer[side][0] - past[-1], axis=-1).max() < 50  # mm between frames


def test_the_answer_is_printed_as_json_by_default(bundles: Path, tmp_path: Path):
    np.savez(tmp_path / "clip.npz", past=PAST, fps=30)
    printed = run("forecast", tmp_path / "clip.npz", "--bundles", bundles, "--model", "hands-modes").stdout
    assert len(json.loads(printed)["alternatives"]) == 2


@pytest.mark.parametrize("clip", ["clip.json", "clip.npz", "clip.npy"])
@pytest.mark.parametrize("output", ["future.json", "future.npy", "future.npz"])
def test_every_input_and_output_format_has_the_answer_of_the_service(
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
    expected = client.post("/forecast/hands", json=body).json()
    if output == "future.json":
        assert json.loads((tmp_path / output).read_text()) == expected
        return
    if output == "future.npy":
        answer = {"future": np.load(tmp_path / output)}
    else:
        with np.load(tmp_path / output) as archive:
            answer = dict(archive)
        np.testing.assert_array_equal(answer["times"], expected["times"])
        assert str(answer["version"]) == expected["model"]["version"]
        assert (float(answer["fps"]), str(answer["units"]), str(answer["joints"])) == (30, "m", "assembly101")
    assert answer["future"].dtype == (np.float64 if clip == "clip.json" else np.float32)
    np.testing.assert_allclose(answer["future"], expected["future"], atol=1e-6)


def test_options_of_the_command_override_fields_of_the_clip(forecast):
    path = forecast(
        "--units", "cm", "--fps", "60", past=100 * moving_hands(70, hands=2), fps=30, units="mm", joints="assembly101"
    )
    with np.load(path) as answer:
        assert (str(answer["units"]), float(answer["fps"]), len(answer["times"])) == ("cm", 60, 60)


def test_a_missing_hand_is_left_out(forecast):
    left = PAST[:, :21]
    with np.load(forecast(left=left, right=np.full_like(left, np.nan), fps=30)) as answer:
        assert "left" in answer
        assert "right" not in answer


def test_modes_and_carried_joints_are_written_as_arrays(forecast):
    mediapipe = moving_hands(40, hands=1, order="mediapipe")
    path = forecast(past=mediapipe, fps=30, joints="mediapipe", hand="right", model="hands-modes")
    with np.load(path) as answer:
        assert answer["alternatives_future"].shape == (2, *answer["future"].shape)
        assert not np.array_equal(answer["alternatives_future"][0], answer["future"])
        assert list(answer["carried_joints"]) == ["thumb_cmc"]


def test_times_spread_and_probabilities_are_fields_of_a_clip_and_arrays_of_the_answer(forecast):
    path = forecast(past=PAST, fps=30, at=[0.02, 0.05], spread=True, hypotheses=True, model="hands-unsure")
    with np.load(path) as answer:
        np.testing.assert_array_equal(answer["times"], [0.02, 0.05])
        assert answer["future"].shape == (2, 42, 3)
        std = answer["std_future"]
        assert std.shape == (2, 42)
        assert answer["probabilities"].shape == (3,)
    with np.load(forecast("--at", "0.02,0.05", "--spread", past=PAST, fps=30, model="hands-unsure")) as same:
        np.testing.assert_array_equal(same["std_future"], std)
        assert "probabilities" not in same
    with np.load(forecast("--keep-bones", past=PAST, fps=30)) as kept:
        lengths = bone_lengths(kept["future"].reshape(-1, 2, 21, 3))
        np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:1], lengths.shape), atol=1e-5)
    with np.load(forecast("--horizon", "0.1", past=PAST, fps=30)) as shorter:
        assert len(shorter["future"]) == 3


def test_a_file_states_the_fitted_intervals_beside_the_standard_deviations(tmp_path: Path):
    np.savez(tmp_path / "clip.npz", past=PAST, fps=30)
    common = ("forecast", tmp_path / "clip.npz", "--bundles", CHECKOUT / "bundles", "-o", tmp_path / "future.npz")
    fitted = read_bundle(CHECKOUT / "bundles" / "hands-forecast").meta.intervals
    assert fitted
    run(*common, "--spread")
    with np.load(tmp_path / "future.npz") as answer:
        assert [(f"{share:g}", by) for share, by in answer["intervals"].tolist()] == list(fitted.items())
    run(*common)
    with np.load(tmp_path / "future.npz") as answer:
        assert "intervals" not in answer


def test_integers_and_doubles_are_accepted_as_coordinates(forecast):
    past = np.round(1000 * PAST).astype(np.int32)
    with np.load(forecast(past=past, fps=30, units="mm")) as integers:
        assert integers["future"].dtype == np.float64
        expected = integers["future"]
    with np.load(forecast(past=past.astype(">f8"), fps=30, units="mm")) as doubles:
        np.testing.assert_array_equal(doubles["future"], expected)


CLIPS: dict[str, tuple[dict[str, object], list[object], str]] = {  # arrays, options, part of the message
    "no rate": ({"past": PAST}, [], "--fps"),
    "no array": ({"points": PAST, "fps": 30}, [], "an array past or left or right, got points, fps"),
    "an array for an option": (
        {"past": PAST, "joints": PAST, "fps": 30},
        [],
        "/joints: expected one value, got an array",
    ),
    "text for coordinates": ({"past": np.array([["a"]]), "fps": 30}, [], "/past: expected an array of numbers"),
    "objects": ({"past": np.array([None]), "fps": 30}, [], "not of objects"),
    "two axes": ({"past": PAST[0], "fps": 30}, [], "/shape"),
    "two lengths": ({"left": PAST[:, :21], "right": PAST[1:, 21:], "fps": 30}, [], "left and right of one shape"),
    "an unknown order": ({"past": PAST, "fps": 30}, ["--joints", "octopus"], "got 'octopus'"),
    "a unit that is none": ({"past": PAST, "fps": 30, "units": "km"}, [], "/units"),
    "too short": ({"past": PAST[:5], "fps": 30}, [], "at least 30 frames"),
    "an infinity": ({"past": np.where(PAST[5, 5, 0] == PAST, np.inf, PAST), "fps": 30}, [], "expected a finite number"),
    "a gap": ({"left": np.where(np.arange(40)[:, None, None] > 30, np.nan, PAST[:, :21]), "fps": 30}, [], "missing"),
}


@pytest.mark.parametrize("name", CLIPS)
def test_an_invalid_clip_is_reported_on_one_line(bundles: Path, tmp_path: Path, name: str):
    arrays, options, expected = CLIPS[name]
    path = tmp_path / "clip.npz"
    np.savez(path, allow_pickle=True, **arrays)  # pyright: ignore[reportArgumentType]
    options = ["--bundles", bundles, "--model", "hands-thirty", *options]
    assert expected in complaint("forecast", path, *options, code=1)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("clip.npz", b"PK\x03\x04 and no more", "cannot be opened"),
        ("clip.npz", b"", "cannot be opened"),
        ("clip.npy", b"nothing", "\\x93NUMPY"),
        ("clip.json", b'{"fps": 30, "past"', "truncated"),
        ("clip.json", b"[1, 2]", "Expected `object`"),
        ("clip.json", b'{"past": []}', "--fps"),
        ("clip.json", b'{"fps": 30, "past": [], "more": 1}', "more"),
        ("clip.bvh", b"HIERARCHY", "expected a file ending in .json, .npz, .npy, got .bvh"),
    ],
)
def test_a_file_that_is_not_a_clip_is_reported_on_one_line(
    bundles: Path, tmp_path: Path, name: str, content: bytes, expected: str
):
    (tmp_path / name).write_bytes(content)
    options = ["--fps", 30] if name == "clip.npy" else []
    message = complaint("forecast", tmp_path / name, "--bundles", bundles, *options, code=1)
    assert expected in message
    assert name in message
