"""Tests of markers in C3D, of arrays and JSON, and of what becomes of gaps, axes and units."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_bodies import DECLARED, person, write_c3d

from models.skeletons.body_orders import get_body_order
from training.tasks.bodies.own.declaration import Declaration
from training.tasks.bodies.own.recorded import MalformedMotion
from training.tasks.bodies.own.sets import MAX_BYTES, Motion, bridged, longest, motion

H36M = get_body_order("h36m-17")
LABELS = [joint.upper() for joint in H36M.joints]


def read(path: Path, **declared: Any) -> Motion:
    return motion(path, path.parent, Declaration.model_validate({**DECLARED, "fps": 30, **declared}))


def from_floor(points: np.ndarray) -> np.ndarray:
    return points - np.array([0, points[..., 1].min(), 0])


def test_markers_with_the_names_of_joints_are_read_in_the_unit_of_the_file(tmp_path: Path):
    write_c3d(tmp_path / "a.c3d", LABELS, 1000 * person(20), rate=50)
    read_one = read(tmp_path / "a.c3d", units="ft")
    assert (read_one.fps, read_one.unit, read_one.frames) == (50, "mm", 20)
    np.testing.assert_allclose(read_one.points, from_floor(person(20)), atol=1e-6)


def test_a_joint_may_be_the_mean_of_markers_and_a_subjects_name_does_not_matter(tmp_path: Path):
    labels = [
        "anna:LASI",
        "anna:RASI",
        "anna:LHJC",
        "anna:RHJC",
        *(f"anna:{one}" for one in LABELS[1:] if "HIP" not in one),
    ]
    others = [place for place, joint in enumerate(H36M.joints) if place and "hip" not in joint]
    points = 1000 * person(20)
    front = points[:, :1] + np.array([[120.0, 0, 0], [-120.0, 0, 0]])
    hips = points[:, [4, 1]]
    write_c3d(tmp_path / "a.c3d", labels, np.concatenate([front, hips, points[:, others]], axis=1))
    read_one = read(tmp_path / "a.c3d", markers={"pelvis": ["LASI", "RASI"]})
    np.testing.assert_allclose(read_one.points, from_floor(person(20)), atol=1e-6)
    with pytest.raises(MalformedMotion, match=r"expected the marker 'SACR' of pelvis, got anna:LASI, anna:RASI"):
        read(tmp_path / "a.c3d", markers={"pelvis": ["SACR"]})


def test_markers_that_are_no_joints_are_refused(tmp_path: Path):
    write_c3d(tmp_path / "a.c3d", ["LASI", "RASI"], np.ones((20, 2, 3)))
    with pytest.raises(
        MalformedMotion, match=r"got none for pelvis, right_hip, .*; the file has LASI, RASI; give them in `markers`"
    ):
        read(tmp_path / "a.c3d")


def test_a_c3d_that_is_none_or_that_is_cut_off_is_refused(tmp_path: Path):
    (tmp_path / "a.c3d").write_bytes(b"walk" * 300)
    with pytest.raises(MalformedMotion, match="expected a C3D file, got"):
        read(tmp_path / "a.c3d")
    write_c3d(tmp_path / "a.c3d", LABELS, 1000 * person(200))
    (tmp_path / "a.c3d").write_bytes((tmp_path / "a.c3d").read_bytes()[:20_000])
    with pytest.raises(MalformedMotion, match="expected 200 frames of 17 markers, got a file of 20,000 bytes"):
        read(tmp_path / "a.c3d")


def test_short_gaps_of_a_marker_are_bridged_and_the_longest_run_without_gaps_counts(tmp_path: Path):
    seen = np.ones((60, 17), bool)
    seen[20:23, 3] = False  # 0.1 s
    seen[40:44, 5] = False
    write_c3d(tmp_path / "a.c3d", LABELS, 1000 * person(60), seen)
    read_one = read(tmp_path / "a.c3d")
    assert (len(read_one.points), read_one.frames) == (40, 60)
    lone = np.array([0.0, np.nan, np.nan, 3.0, np.nan, np.nan, np.nan, 7.0])[:, None, None] * np.ones(3)
    np.testing.assert_allclose(bridged(lone, 2)[:, 0, 0], [0, 1, 2, 3, np.nan, np.nan, np.nan, 7])
    assert longest(np.array([True, False, True, True, False])) == slice(2, 4)
    assert longest(np.array([False])) == slice(0, 0)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.json"])
def test_poses_are_read_from_arrays_and_from_requests(name: str, tmp_path: Path):
    points = person(20)
    if name == "a.npy":
        np.save(tmp_path / name, points)
    elif name == "a.npz":
        np.savez(tmp_path / name, poses=points, fps=60.0)
    else:
        clip: list[Any] = points.tolist()
        clip[5][3] = None
        (tmp_path / name).write_text(json.dumps({"clip": clip, "fps": 25, "joints": "h36m", "top": 3}))
    read_one = read(tmp_path / name)
    assert read_one.fps == {"a.npy": 30, "a.npz": 60, "a.json": 25}[name]
    np.testing.assert_allclose(
        read_one.points, from_floor(points), atol=1e-2 if name == "a.json" else 1e-12
    )  # a joint is interpolated


def test_axes_units_scale_and_order_are_brought_to_those_of_the_set(tmp_path: Path):
    y_up = person(20)
    z_up = np.stack([y_up[..., 0], -y_up[..., 2], y_up[..., 1]], axis=-1)
    np.save(tmp_path / "a.npy", 50 * z_up)
    read_one = read(tmp_path / "a.npy", axes="z-up", units="cm", scale=2)
    np.testing.assert_allclose(read_one.points, from_floor(y_up), atol=1e-9)
    (tmp_path / "b.json").write_text(json.dumps({"poses": (-y_up * [-1, 1, 1]).tolist(), "axes": "camera", "fps": 30}))
    turned = read(tmp_path / "b.json").points
    np.testing.assert_allclose(turned, from_floor(y_up * [1, 1, 1]), atol=1e-9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"walk": 1}, "expected poses as joints, poses, clip, keypoints, got walk"),
        ([], "expected an object with joints or poses"),
        ({"poses": [[[1, 2]]]}, r"expected numbers \(frames, joints, 3\), got float64 \(1, 1, 2\)"),
        ({"poses": [[[1, 2, 3]] * 5], "fps": 30}, r"expected h36m-17 points of shape \(\.\.\., 17, 3\)"),
        ({"poses": [[[1, 2, "x"]]]}, "expected frames of joints"),
        ({"poses": [[[1, 2, 3]]], "fps": "30"}, "expected fps as a number, got '30'"),
        ({"poses": [[[1, 2, 3]]], "fps": 1}, "expected a rate of 5 to 1000 frames a second, got fps 1"),
        ({"poses": [[[1, 2, 3]]], "axes": "x-up"}, "expected axes y-up, camera, z-up, got 'x-up'"),
        ({"poses": [[[1, 2, 3]]], "joints": "coco"}, "expected the joints of h36m-17, got coco-17, which lacks spine"),
        ({"poses": [[[1, 2, 3]] * 17], "units": "furlong"}, "expected a unit of length"),
        ({"poses": [[[1, 2, 3]] * 16 + [None]] * 3}, "got none of 3; no frame has right_wrist"),
    ],
)
def test_a_wrong_recording_is_refused(content: Any, message: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(MalformedMotion, match=message):
        read(tmp_path / "a.json")


def test_infinity_and_a_large_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    points = person(20)
    points[3, 2] = np.inf
    np.save(tmp_path / "a.npy", points)
    with pytest.raises(MalformedMotion, match="frame 3: expected finite coordinates, got infinity"):
        read(tmp_path / "a.npy")
    monkeypatch.setitem(MAX_BYTES, ".json", 10)
    (tmp_path / "a.json").write_text(" " * 11)
    with pytest.raises(MalformedMotion, match="expected at most 10 bytes, got 11; write shorter recordings"):
        read(tmp_path / "a.json")
