"""Tests of Penn Action's readers: its official label files and one .npz of all clips; and of its floor of forecasting."""

from pathlib import Path

import numpy as np
import pytest
from body_files import write_mat

from models.motion.bodies import box_of, boxed, penn_sample
from models.skeletons.body_orders import BODIES
from training.tasks.bodies.clips import BodyClip, MalformedBodies, UnknownBodies
from training.tasks.bodies.metrics import pck, pck_legacy_pairing
from training.tasks.bodies.readers.penn_action import (
    OFFICIAL_NAMES,
    read_labels,
    read_npz,
    read_penn,
)

ZERO_VELOCITY = [80.1, 63.5, 54.4, 49.1, 45.8, 43.7, 42.0, 40.6, 39.4, 38.5, 38.0, 37.7, 37.5, 37.4, 37.4, 37.5]
ZERO_VELOCITY_LEGACY = [82.3, 69.0, 61.6, 57.1, 54.2, 52.1, 50.5, 49.1, 48.0, 47.1, 46.6, 46.2, 45.9, 45.8, 45.7, 45.8]


@pytest.fixture(scope="module")
def penn(data_folder: Path) -> list[BodyClip]:
    return read_penn(data_folder / "body/penn_action")


def test_all_clips_are_read_with_the_official_split(penn: list[BodyClip]):
    assert len(penn) == 2326
    frames = {test: sum(len(clip.points) for clip in penn if (clip.split == "test") == test) for test in (True, False)}
    assert frames == {False: 87_543, True: 76_298}
    assert sum(clip.split == "test" for clip in penn) == 1068
    assert 0.08 < sum(clip.split == "validation" for clip in penn) / 1258 < 0.12
    assert len({clip.label for clip in penn}) == 15
    assert {"bowl", "pullup", "squat", "strum_guitar"} < {clip.label for clip in penn}


def test_each_actions_validation_clips_come_after_its_training_clips(penn: list[BodyClip]):
    for label in {clip.label for clip in penn}:
        splits = [clip.split for clip in penn if clip.label == label and clip.split != "test"]
        assert splits == sorted(splits)  # train, then validation
        assert splits.count("validation") >= 3


def test_joints_have_the_persons_sides_and_invisible_ones_have_no_confidence(penn: list[BodyClip]):
    assert penn[0].skeleton is BODIES["penn-13"]
    assert OFFICIAL_NAMES[5] == "left_wrist"
    assert penn[0].skeleton.joints[5] == "right_wrist"
    confidence = np.concatenate([clip.confidence for clip in penn])
    assert set(np.unique(confidence)) == {0, 1}
    assert (confidence == 0).mean() == pytest.approx(0.22, abs=0.01)
    hidden = np.concatenate([clip.points[clip.confidence == 0] for clip in penn])
    assert (hidden <= 1).all(axis=-1).mean() == pytest.approx(0.36, abs=0.01)


def test_label_files_and_the_npz_file_give_the_same_clips(tmp_path: Path, penn: list[BodyClip]):
    chosen = [clip for clip in penn[::300] if clip.split != "validation"]
    for clip in chosen:
        write_mat(tmp_path / "labels", clip)
    for read, expected in zip(read_penn(tmp_path), chosen, strict=True):
        assert (read.name, read.label, read.split == "test") == (
            expected.name,
            expected.label,
            expected.split == "test",
        )
        np.testing.assert_array_equal(read.points, expected.points)
        np.testing.assert_array_equal(read.confidence, expected.confidence)
        assert read.points.dtype == np.float32


def test_differences_of_byte_coordinates_do_not_overflow(tmp_path: Path, penn: list[BodyClip]):
    clip = next(c for c in penn if c.points.min() >= 0 and c.points.max() <= 255)
    read = read_labels(write_mat(tmp_path / "labels", clip, np.uint8))[0]
    np.testing.assert_array_equal(read.points, np.floor(clip.points))
    assert (np.diff(read.points, axis=0) < 0).any()  # as bytes these would be above 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visibility": None}, "expected x, y, visibility, train, action, got none named visibility"),
        (
            {"x": np.zeros((4, 12))},
            r"expected numbers x, y and visibility of shape \(frames, 13\) each, got float64 \(4, 12\)",
        ),
        ({"x": np.array([["a"] * 13] * 4)}, "x is no real matrix and no text"),
        ({"y": np.zeros((4, 13))}, r"and uint8 \(\d+, 13\)"),
        ({"train": 2}, r"expected train 1 or -1 and one action, got \[\[2\]\]"),
        ({"train": np.ones(2)}, "expected train 1 or -1"),
        ({"action": 3}, "one action"),
    ],
)
def test_a_malformed_label_file_is_refused(tmp_path: Path, penn: list[BodyClip], changes, message):
    with pytest.raises(MalformedBodies, match=message):
        read_labels(write_mat(tmp_path / "labels", penn[0], **changes))


def test_a_file_that_is_not_a_label_file_is_refused(tmp_path: Path):
    with pytest.raises(UnknownBodies, match=r"no penn_action\.npz, and no \.mat files in .*labels"):
        read_penn(tmp_path)
    (tmp_path / "labels").mkdir()
    for content in (b"", b"MATLAB 5.0", b"\x00" * 200):
        (tmp_path / "labels/0001.mat").write_bytes(content)
        with pytest.raises(MalformedBodies, match=r"0001\.mat(: expected x| is not a readable \.mat file)"):
            read_penn(tmp_path)
    with (tmp_path / "labels/0001.mat").open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(MalformedBodies, match="expected at most 16,777,216 bytes, got 16,777,217"):
        read_penn(tmp_path)


def test_an_npz_file_with_anatomical_names_is_refused(tmp_path: Path, data_folder: Path):
    with np.load(data_folder / "body/penn_action/penn_action.npz") as real:
        arrays = dict(real)
    arrays["joint_names"] = arrays["joint_names_anatomical"]
    np.savez(tmp_path / "penn_action.npz", **arrays)
    with pytest.raises(
        MalformedBodies, match=r"expected joints head, left_shoulder, right_shoulder.*got head, right_shoulder"
    ):
        read_npz(tmp_path / "penn_action.npz")


def test_repeating_the_last_pose_reaches_the_known_floor_with_either_pairing(penn: list[BodyClip]):
    """There are 76,298 samples, one for each start frame of the test clips. The pairings are the correct one and TP-RNN's."""
    samples, seen = [], []
    for clip in penn:
        if clip.split == "test":
            rows = penn_sample(len(clip.points))
            samples.append(boxed(clip.points, box_of(clip.points))[rows])
            seen.append(clip.confidence[rows] > 0)
    poses, visible = np.concatenate(samples), np.concatenate(seen)
    assert len(poses) == 76_298
    repeated, true, visible = np.repeat(poses[:, :1], 16, axis=1), poses[:, 1:], visible[:, 1:]
    np.testing.assert_allclose(100 * pck(repeated, true, visible), ZERO_VELOCITY, atol=0.06)
    np.testing.assert_allclose(100 * pck_legacy_pairing(repeated, true, visible), ZERO_VELOCITY_LEGACY, atol=0.06)
