"""Tests of logs of hands: every form that trackers' programs write gives the same motion, and what is not understood is refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_hands import DECLARED, FPS, as_mediapipe, mirrored, motion

from models.skeletons.hand import HANDS
from training.data.untrusted import UntrustedFile
from training.tasks.hands.own.declaration import Declaration
from training.tasks.hands.own.json_logs import PARTS
from training.tasks.hands.own.log import MalformedLog
from training.tasks.hands.own.sets import Motion, motions

FRAMES = 12
RIGHT = motion(FRAMES)
LEFT = mirrored(RIGHT)
MS = [round(1000 * i / FPS) for i in range(FRAMES)]
MEDIAPIPE = HANDS["mediapipe"].joints


def read(folder: Path, name: str, content: str | bytes, **declared: Any) -> Motion:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (only,) = motions(path, folder, Declaration.model_validate({**DECLARED, **declared}))
    return only


def lines(frames: list[Any]) -> str:
    return "\n".join(json.dumps(frame) for frame in frames)


def table(header: list[str], rows: list[list[Any]]) -> str:
    written = csv.writer(text := io.StringIO())
    written.writerows([header, *rows])
    return text.getvalue()


def npz(**arrays: Any) -> bytes:
    np.savez(buffer := io.BytesIO(), **arrays)
    return buffer.getvalue()


def named(hand: np.ndarray) -> dict[str, Any]:
    return {
        joint: {"position": dict(zip("xyz", point, strict=True))}
        for joint, point in zip(MEDIAPIPE, hand.tolist(), strict=True)
    }


def xyz(hand: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip("xyz", point, strict=True)) for point in hand.tolist()]


def pose(hand: np.ndarray) -> list[Any]:
    return [{"pose": {"position": {**point, "w": 1}}} for point in xyz(hand)]


BOTH = [(left.tolist(), right.tolist()) for left, right in zip(LEFT, RIGHT, strict=True)]
WIDE = ["time"] + [f"{side}_{joint}_{axis}" for side in ("left", "right") for joint in MEDIAPIPE for axis in "xyz"]
ROWS = [[ms / 1000, *np.ravel(pair)] for ms, pair in zip(MS, BOTH, strict=True)]
FORMS: dict[str, tuple[str, str | bytes]] = {
    "request": ("a.json", json.dumps({"timestamps": MS, "left": LEFT.tolist(), "right": RIGHT.tolist()})),
    "request with a rate": ("a.json", json.dumps({"fps": FPS, "left": LEFT.tolist(), "right": RIGHT.tolist()})),
    "frames": ("a.json", json.dumps({"fps": FPS, "frames": [{"left": left, "right": right} for left, right in BOTH]})),
    "stream": ("a.jsonl", lines(
        [{"fps": FPS, "joints": "mediapipe"}] + [{"number": i, "left": a, "right": b} for i, (a, b) in enumerate(BOTH)]
    )),
    "a list of hands": ("a.json", json.dumps([
        {"time": ms / 1000, "hands": [{"side": "right", "joints": b}, {"side": "left", "joints": a}]}
        for ms, (a, b) in zip(MS, BOTH, strict=True)
    ])),
    "joints by name": ("a.jsonl", lines([
        {"timestamp": ms * 1000, "Left": named(LEFT[i]), "Right": {"joints": named(RIGHT[i])}} for i, ms in enumerate(MS)
    ])),
    "poses of OpenXR": ("a.jsonl", lines([
        {"t": ms / 1000, "hands": [{"handedness": "left", "joints": pose(LEFT[i])}, {"handedness": "right", "joints": pose(RIGHT[i])}]}
        for i, ms in enumerate(MS)
    ])),
    "MediaPipe's tasks in JavaScript": ("a.json", json.dumps([
        {"timestampMs": ms, "handedness": [[{"categoryName": "Left"}], [{"categoryName": "Right"}]],
         "worldLandmarks": [xyz(LEFT[i]), xyz(RIGHT[i])]}
        for i, ms in enumerate(MS)
    ])),
    "MediaPipe's solutions in JavaScript": ("a.ndjson", lines([
        {"time_ms": ms, "multiHandedness": [{"label": "Right", "score": 0.9}, {"label": "Left", "score": 0.9}],
         "multiHandWorldLandmarks": [xyz(RIGHT[i]), xyz(LEFT[i])]} for i, ms in enumerate(MS)
    ])),
    "MediaPipe's solutions in Python": ("a.jsonl", lines([
        {"time_ms": ms, "multi_handedness": [{"classification": [{"label": "Right"}]}, {"classification": [{"label": "Left"}]}],
         "multi_hand_world_landmarks": [{"landmark": xyz(RIGHT[i])}, {"landmark": xyz(LEFT[i])}]} for i, ms in enumerate(MS)
    ])),
    "a wide table": ("a.csv", table(WIDE, ROWS)),
    "a table with semicolons": ("a.csv", table(WIDE, ROWS).replace(",", ";")),
    "a hand a line": ("a.csv", table(
        ["timestamp_ms", "hand"] + [f"{joint}_{axis}" for joint in range(21) for axis in "xyz"],
        [[ms, side, *np.ravel(pair[h])] for ms, pair in zip(MS, BOTH, strict=True) for h, side in enumerate(("left", "right"))],
    )),
    "a joint a line": ("a.csv", table(["time_ms", "side", "joint", "x", "y", "z"], [
        [ms, side, joint, *point]
        for ms, pair in zip(MS, BOTH, strict=True) for h, side in enumerate("LR") for joint, point in zip(MEDIAPIPE, pair[h], strict=True)
    ])),
    "arrays of both": ("a.npz", npz(left=LEFT, right=RIGHT, timestamps=np.array(MS))),
    "one array": ("a.npz", npz(joints=np.stack([LEFT, RIGHT], axis=1), fps=np.array(FPS))),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_motion(form: str, tmp_path: Path):
    read_motion = read(tmp_path, *FORMS[form])
    assert read_motion.order.name == "mediapipe"
    assert np.abs(read_motion.values - np.stack([LEFT, RIGHT], axis=1)).max() < 1e-9
    assert np.abs(read_motion.times - np.arange(FRAMES) / FPS).max() < 1e-3
    clip = read_motion.clip()
    assert clip.joints.shape == (FRAMES, 2, 21, 3)
    assert clip.valid.all()


def test_mediapipes_sides_are_exchanged_if_declared_and_an_unseen_hand_is_nan(tmp_path: Path):
    frames = [as_mediapipe(None if i == 3 else hand, MS[i]) for i, hand in enumerate(RIGHT)]
    own = read(tmp_path, "a.jsonl", lines(frames), exchange_hands=True)
    assert own.seen[:, 1].tolist() == [i != 3 for i in range(FRAMES)]
    assert not own.seen[:, 0].any()
    assert np.allclose(own.values[0, 1], RIGHT[0])
    assert read(tmp_path, "a.jsonl", lines(frames)).seen[0].tolist() == [True, False]


def test_units_axes_and_orders_are_converted(tmp_path: Path):
    left_handed = RIGHT * np.array([1, 1, -1]) * 100
    content = json.dumps({"fps": FPS, "units": "cm", "axes": "left-handed", "right": left_handed.tolist()})
    with pytest.raises(MalformedLog, match="expected 26 joints of openxr, got 21"):
        read(tmp_path, "a.json", content, joints="openxr")
    own = read(tmp_path, "a.json", json.dumps({**json.loads(content), "joints": "mediapipe"}), joints="openxr")
    assert np.allclose(own.values[:, 1], RIGHT)


def test_a_lone_hand_has_the_declared_side(tmp_path: Path):
    content = json.dumps({"fps": FPS, "past": RIGHT.tolist()})
    assert read(tmp_path, "a.json", content, hand="right").seen.all(axis=0).tolist() == [False, True]
    with pytest.raises(MalformedLog, match="declare `hand`"):
        read(tmp_path, "a.json", content)


def test_leapjs_frames_are_read(tmp_path: Path):
    order = HANDS["leap"].joints
    frames = []
    for i, hand in enumerate(1000 * RIGHT):
        place = dict(zip(MEDIAPIPE, hand.tolist(), strict=True)) | {"palm_centre": hand.mean(axis=0).tolist()}
        joints = [place[joint] for joint in order]
        parts = [dict(zip(PARTS, joints[2 + 4 * f : 6 + 4 * f], strict=True)) for f in range(5)]
        pointables = [{"handId": 7, "type": f, **part} for f, part in enumerate(parts)]
        hands = [{"id": 7, "type": "right", "palmPosition": joints[0], "wrist": joints[1]}]
        frames.append({"timestamp": MS[i] * 1000, "hands": hands, "pointables": pointables})
    own = read(tmp_path, "a.json", json.dumps({"frames": frames}), joints="leap", units="mm")
    assert np.allclose(own.values[:, 1, 1:], RIGHT)


def test_assembly101_files_are_read_in_both_layouts(tmp_path: Path):
    hands = {"0": (1000 * LEFT[0]).tolist(), "1": (1000 * RIGHT[0]).tolist()}
    numbered = read(tmp_path, "a.json", json.dumps({"0": hands, "1": hands, "3": hands}), joints="mano")
    assert numbered.order.name == "assembly101"
    assert numbered.seen[:, 0].tolist() == [True, True, False, True]
    listed = read(tmp_path, "a.json", json.dumps([{"landmarks": hands, "tracking_confidence": {"0": 1}}] * 3))
    assert np.allclose(listed.values[0, 1], RIGHT[0])
    assert listed.times[1] == pytest.approx(1 / 60)


def test_our_own_archives_have_a_recording_for_each_sequence(synthetic_data: Path):
    folder = synthetic_data / "hands" / "leap"
    found = list(motions(folder / "leap.npz", folder, Declaration.model_validate(DECLARED)))
    assert [one.name for one in found][:2] == ["leap.npz#walk", "leap.npz#wave"]
    assert found[0].order.name == "assembly101"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "expected JSON"),
        ("a.json", "[" * 100_000, "expected JSON"),
        ("a.json", "3", "expected an object or a list of frames"),
        ("a.json", json.dumps({"frames": [3]}), "frame 0: expected an object"),
        ("a.json", json.dumps({"fps": 30, "right": RIGHT[:, :20].tolist()}), "frame 0, right hand: expected 21 joints"),
        ("a.json", json.dumps({"fps": 30, "right": [[[0, 1]] * 21] * 3}), r"expected a point \[x, y, z\]"),
        ("a.json", json.dumps({"fps": 30, "right": [[["a", 1, 2]] * 21] * 3}), "expected numbers"),
        ("a.json", json.dumps({"right": RIGHT.tolist()}), "expected times, or a rate"),
        ("a.json", json.dumps({"fps": 30, "joints": "feet", "right": RIGHT.tolist()}), "expected a joint order"),
        ("a.json", json.dumps({"timestamps": [0] * FRAMES, "right": RIGHT.tolist()}), "expected times that increase"),
        ("a.json", json.dumps({"0": {}, "99999999": {}}), "expected one in 100 frame numbers"),
        ("a.jsonl", lines([{"time": 0, "hand_landmarks": [xyz(RIGHT[0])]}] * 3), "landmarks of the image alone"),
        ("a.jsonl", lines([{"time": 0, "hand_world_landmarks": [xyz(RIGHT[0])]}] * 3), "handedness"),
        ("a.jsonl", lines([{"time": "now", "left": None}]), "expected a number as its time"),
        ("a.jsonl", lines([{"time": 0.0, "right": named(RIGHT[0]) | {"toe": [0, 0, 0]}}] * 2), "mediapipe has no joint 'toe'"),
        ("a.csv", "x0,y0\n1,2\n", "expected a column of times or frames"),
        ("a.csv", "time,speed\n1,2\n", "expected columns of joints"),
        ("a.csv", "time,wrist_x,wrist_y,wrist_z\n1,2,3\n", "line 2: expected 4 columns"),
        ("a.csv", "time,wrist_x,wrist_y,wrist_z\n1,2,3,4\n", "a left or a right hand"),
        ("a.csv", "time,hand,wrist_x,wrist_y,wrist_z\n1,left,a,3,4\n", "line 2: expected a number, got 'a'"),
        ("a.npz", npz(joints=RIGHT, fps=np.array(30)), "declared `hand`"),
        ("a.npz", npz(left=LEFT, right=RIGHT[:5], fps=np.array(30)), "expected left and right of shape"),
        ("a.npz", npz(speed=RIGHT), "expected an array joints, left, right or past"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(name: str, content: str | bytes, message: str, tmp_path: Path):
    with pytest.raises(MalformedLog, match=message):
        read(tmp_path, name, content)


def test_pickles_in_arrays_are_refused(tmp_path: Path):
    with pytest.raises((UntrustedFile, MalformedLog)):
        read(tmp_path, "a.npz", npz(joints=np.array([{"a": print}], dtype=object)))


def test_infinite_coordinates_are_refused_and_missing_ones_leave_the_hand_out(tmp_path: Path):
    broken = RIGHT.copy()
    broken[4, 3, 1] = np.inf
    with pytest.raises(MalformedLog, match="frame 4: expected finite coordinates"):
        read(tmp_path, "a.npz", npz(right=broken, fps=np.array(30)))
    broken[4, 3, 1] = np.nan
    assert read(tmp_path, "a.npz", npz(right=broken, fps=np.array(30))).seen[:, 1].sum() == FRAMES - 1
