"""Tests of the views that a lifter is measured in, of its tables, and of training windows that virtual cameras see."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.motion.bodies import edge_padded
from models.skeletons.body_orders import BODIES
from training.engine.benchmark import Choice, NoOptions
from training.tasks.bodies import floors
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.floors import frame_ridge, lifting_floors, mean_pose, window_ridge
from training.tasks.bodies.lift_data import DRAWN, LiftBatches, LiftData
from training.tasks.bodies.lift_table import NAMES, as_tables, bones_table, measured, tables
from training.tasks.bodies.lift_views import VIEWS, View, around, disturbed, seen_in
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.sources import RIG, motion_clips
from training.tasks.bodies.virtual_cameras import DetectorNoise, VirtualCameras

H36M = BODIES["h36m-17"]
DATA = LiftData(("hdm05_11", "reactidle"), receptive=9, fps=6, batch=32, with_confidence=True, cameras=VirtualCameras())


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> LiftBatches:
    """Return the batches of few clips."""
    batches = DATA.load(data_folder)
    batches.captured = [
        [clip for split in ("train", "validation", "test") for clip in [one for one in clips if one.split == split][:3]]
        for clips in batches.captured
    ]
    return batches


def test_a_batch_of_virtual_cameras_is_a_function_of_seed_and_step_and_has_as_many_samples_of_each_source(data_folder):
    one, other = (replace(DATA, noise=DetectorNoise()).load(data_folder) for _ in range(2))
    (inputs, targets), (again, same) = one.training_batch(2, 7), other.training_batch(2, 7)
    np.testing.assert_array_equal(inputs["keypoints"], again["keypoints"])
    np.testing.assert_array_equal(targets, same)
    assert (inputs["keypoints"].shape, targets.shape) == ((32, 9, 17, 3), (32, 1, 17, 3))
    assert not np.array_equal(one.training_batch(2, 8)[1], targets)
    assert not np.array_equal(one.training_batch(3, 7)[1], targets)
    assert np.isnan(targets).any(axis=(1, 2, 3)).tolist() == 16 * [False] + 16 * [True]  # reactidle lacks the crown
    shares = [one.training_batch(2, 7, rank, 2)[1] for rank in (0, 1)]
    np.testing.assert_array_equal(np.stack(shares, 1).reshape(targets.shape), targets)


def test_keypoints_of_virtual_cameras_agree_with_their_targets(batches: LiftBatches):
    far = replace(DATA, cameras=VirtualCameras(distance_m=(50, 50), cut=0, middle=1, off_middle=0)).load(
        batches.folder.parent
    )
    inputs, targets = far.training_batch(0, 0)
    seen, true = inputs["keypoints"][:16, 4, :, :2], targets[:16, 0, :, :2]  # of hdm05_11, in the middle frame
    for flat, pose in zip(seen - seen[:, :1], true, strict=True):
        assert np.corrcoef(flat.ravel(), pose.ravel())[0, 1] > 0.99


def test_validation_has_windows_of_drawn_cameras_which_are_the_same_every_time(batches: LiftBatches):
    first, second = ([(source, x["keypoints"]) for source, (x, _) in batches.validation_batches()] for _ in range(2))
    names = ("hdm05_11", "reactidle")
    assert {source for source, _ in first} == {*names, *(f"{name}, {DRAWN}" for name in names)}
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_virtual_cameras_show_one_order_and_captured_motion_alone(data_folder: Path):
    with pytest.raises(ValueError, match="expected one joint order with virtual cameras, got coco-17 and h36m-17"):
        replace(DATA, seen_order="coco-17")
    with pytest.raises(UnknownBodies, match="no captured motion in 'human36m'; sources are hdm05_11"):
        replace(DATA, sources=("human36m",)).load(data_folder).training_batch(0, 0)
    with pytest.raises(UnknownBodies, match="expected 4000 consecutive frames of motion in this split, got none"):
        replace(DATA, sources=("hdm05_11",), outputs=4000).load(data_folder).training_batch(0, 0)


def test_a_window_of_motion_repeats_the_ends_of_its_clip(batches: LiftBatches):
    windows = batches.motion("train")
    clips = [clip for clips in batches.captured for clip in clips if clip.split == "train"]
    slow = [edge_padded(clip.points, 9)[t : t + 9] for clip in clips for t in range(len(clip.points))]
    assert sum(windows.counts) == len(slow)
    np.testing.assert_array_equal(windows.window(np.arange(len(slow)), 9, 1), slow)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.title)
def test_a_view_shows_the_person_from_its_side_and_distance(batches: LiftBatches, view: View):
    clips = [clip for clip in batches.captured[1] if clip.split == "test"]
    rig = read_rig(batches.folder / RIG)
    seen = list(seen_in(view, clips, rig, H36M))
    assert len(seen) == len(clips) * (4 if view.turn is not None else len(view.azimuths_deg))
    if view.turn is None:
        for clip, camera in zip(seen[: len(view.azimuths_deg)], around(view), strict=True):
            left = (
                clip.targets[:, 4, 0].mean() - clip.targets[:, 1, 0].mean()
            )  # of the left hip from the right, to the right
            facing = float(camera.name)
            assert abs(left - 0.2 * np.cos(np.deg2rad(facing))) < 0.15  # in front, the person's left is on the right
            assert np.linalg.norm(camera.position) == pytest.approx(view.distance_m)


def test_errors_of_a_detector_depend_on_clip_and_camera_alone(batches: LiftBatches):
    clip = batches.clips("test", "hdm05_11")[0]
    noisy, again = disturbed(clip, DetectorNoise(clean=0)), disturbed(clip, DetectorNoise(clean=0))
    np.testing.assert_array_equal(noisy.keypoints, again.keypoints)
    assert np.nanmax(np.abs(noisy.keypoints - clip.keypoints)) > 0.001
    assert (np.isnan(noisy.keypoints[..., 0]) == (noisy.confidence == 0)).all()
    other = disturbed(replace(clip, camera="another"), DetectorNoise(clean=0))
    assert not np.array_equal(noisy.keypoints, other.keypoints, equal_nan=True)


def test_ridge_finds_a_linear_map_and_leaves_out_joints_that_a_source_lacks(batches: LiftBatches, monkeypatch):
    monkeypatch.setattr(floors, "FITTED_WINDOWS", 640)
    clips = [
        replace(clip, targets=clip.keypoints[..., [0, 1, 0]] - 0.5) for clip in batches.clips("train", "hdm05_11")[:8]
    ]
    np.testing.assert_allclose(frame_ridge(clips, every=1)(clips[0]), clips[0].targets, atol=0.05)
    true = batches.clips("test", "hdm05_11")[0]
    mean, linear = mean_pose(batches)(true), window_ridge(batches)(true)
    assert mean.shape == linear.shape == true.targets.shape
    assert (mean == mean[:1]).all()
    crown = H36M.joints.index("head_top")
    assert (
        linear[:, crown, 1].mean() < -0.35
    )  # as on average of hdm05_11, and not drawn to 0 by reactidle, which lacks it
    expected = {"mean pose", "ridge, same windows", "ridge that knows source and cameras"}
    assert set(lifting_floors(batches, "test")) == expected


def test_the_truth_has_no_error_in_any_view_and_its_bones_do_not_vary(batches: LiftBatches):
    lines, bones = measured(lambda clip: np.nan_to_num(clip.targets), batches, "test", views=VIEWS[:1])
    assert [(line.source, line.view) for line in lines] == [("hdm05_11", "studio"), ("reactidle", "studio")]
    for line in lines:
        assert max(line.errors["network"].values()) < 0.1 < min(line.errors["mean pose"].values())
        assert set(line.errors) == set(NAMES)
    assert max(one.varies for one in bones) < 1
    text = as_tables(lines)
    assert text.count("**0.0**") == 3 * len(lines)
    assert "| studio | reactidle |" in bones_table(bones)


def test_the_table_has_no_other_option(data_folder: Path):
    with pytest.raises(NoOptions, match="this table has no option seeds"):
        tables(data_folder, Path(), choice=Choice(seeds=3))


def test_motion_is_in_the_order_and_at_the_rate_asked_for(data_folder: Path):
    clip = motion_clips(data_folder / "body", "reactidle", H36M, 12)[0]
    assert (clip.skeleton, clip.fps, clip.points.shape[1:]) == (H36M, 12, (17, 3))
