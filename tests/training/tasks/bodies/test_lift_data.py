"""Tests of batches for lifting: windows of real clips, shares of known poses, and joints that a source lacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.motion.bodies import edge_padded
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.lift_data import LiftBatches, LiftData, known_run
from training.tasks.bodies.sources import lift_clips

H36M = BODIES["h36m-17"]
DATA = LiftData(("hdm05_11",), batch=64)


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> LiftBatches:
    return DATA.load(data_folder)


def test_a_window_has_the_frames_around_its_poses_and_repeats_the_ends_of_the_clip(batches: LiftBatches):
    """The reference implementation takes every window of the padded clip."""
    clips = batches.clips("validation")[:3]
    frames = batches.frames(clips)
    inputs, targets = batches.batch(frames, np.arange(len(frames.start)))
    slow = [edge_padded(clip.keypoints, 27)[t : t + 27] for clip in clips for t in range(len(clip.targets))]
    np.testing.assert_array_equal(inputs["keypoints"], slow)
    np.testing.assert_array_equal(targets[:, 0], np.concatenate([clip.targets for clip in clips]))
    assert (targets[:, :, 0] == 0).all()  # the pelvis


def test_a_window_may_have_several_poses(data_folder: Path):
    batches = LiftData(("hdm05_11",), receptive=9, outputs=4, batch=32).load(data_folder)
    inputs, targets = batches.training_batch(0, 0)
    assert inputs["keypoints"].shape == (32, 12, 17, 2)
    assert targets.shape == (32, 4, 17, 3)
    clips = batches.clips("test")[:1]
    frames = batches.frames(clips)
    assert len(frames.start) == len(clips[0].targets) - 3
    inputs, targets = batches.batch(frames, np.array([10]))
    np.testing.assert_array_equal(inputs["keypoints"][0], clips[0].keypoints[6:18])
    np.testing.assert_array_equal(targets[0], clips[0].targets[10:14])


def test_keypoints_agree_with_their_targets_and_a_mirrored_sample_is_the_mirror_image(data_folder: Path):
    plain = DATA.load(data_folder)
    always = replace(DATA, augmentation=BodyAugmentation(mirror=1.0)).load(data_folder)
    inputs, targets = plain.training_batch(0, 0)
    image, poses = always.training_batch(0, 0)
    np.testing.assert_array_equal(image["keypoints"], mirrored(inputs["keypoints"], H36M))
    np.testing.assert_array_equal(poses, mirrored(targets, H36M))
    seen, true = inputs["keypoints"][:, 13].astype(np.float64), targets[:, 0].astype(np.float64)
    seen = seen - seen[:, :1]
    assert np.corrcoef(seen[..., 0].ravel(), true[..., 0].ravel())[0, 1] > 0.95
    assert np.corrcoef(seen[..., 1].ravel(), true[..., 1].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_a_share_of_the_poses_is_one_run_of_each_training_recording(data_folder: Path, share: float):
    batches = LiftData(("hdm05_11",), share=share).load(data_folder)
    known = np.unique(batches.training.start)
    recordings = len({clip.name for clip in batches.clips("train")})
    assert 4 * recordings <= len(known) == len(batches.training.start)
    assert len(known) == pytest.approx(max(4 * recordings, share * 62_580), rel=0.2)
    assert (np.diff(known) == 1).sum() == len(known) - 4 * recordings
    assert len(batches.frames(batches.clips("validation")).start) == 4 * 6780


def test_the_run_of_known_poses_depends_on_the_name_alone():
    assert known_run("a", 100, 0.1) == known_run("a", 100, 0.1) != known_run("b", 100, 0.1)
    assert known_run("a", 100, 1.0) == range(100)
    assert len(known_run("a", 100, 0.001)) == 1
    assert len(known_run("a", 100, 0.001, least=27)) == 27
    assert known_run("a", 5, 0.1, least=27) == range(5)


def test_held_out_recordings_can_be_used_for_training(data_folder: Path):
    without, everyone = (LiftData(("hdm05_11",), hold_out=hold_out).load(data_folder) for hold_out in (True, False))
    assert {clip.subject for clip in without.clips("train")} == {"bd", "bk"}
    assert {clip.subject for clip in everyone.clips("train")} == {"bd", "bk", "dg"}
    assert {clip.subject for clip in everyone.clips("test")} == {"mm"}
    assert len(everyone.clips("validation")) == len(without.clips("validation")) == 4 * 61


def test_joints_that_a_source_lacks_are_missing(data_folder: Path):
    """ReActIdle lacks the crown: it is 0 with confidence 0 among the keypoints and NaN among the targets."""
    crown = H36M.joints.index("head_top")
    batches = LiftData(("reactidle",), batch=64, fps=12, with_confidence=True).load(data_folder)
    for _, (inputs, targets) in batches.validation_batches():
        assert (inputs["keypoints"][:, :, crown] == 0).all()
        assert (inputs["keypoints"][:, :, :crown, 2] == 1).all()
        assert np.isnan(targets[:, :, crown]).all()
        assert np.isfinite(np.delete(targets, crown, axis=2)).all()


def test_motion_is_resampled_to_the_requested_rate(data_folder: Path):
    slow, own = (LiftData(("reactidle",), fps=fps).load(data_folder).recordings for fps in (12, None))
    np.testing.assert_allclose(slow[0].keypoints, own[0].keypoints[::2], atol=1e-6)
    assert {clip.fps for clip in slow} == {12}


def test_augmentation_changes_training_keypoints_and_neither_poses_nor_validation(data_folder: Path):
    data = LiftData(("hdm05_11",), batch=32, fps=6, with_confidence=True)
    changes = BodyAugmentation(seen_as=("coco-17",), noise=0.01, zoom=1.5, shift=0.3, drop=0.05)
    plain, changed = data.load(data_folder), replace(data, augmentation=changes).load(data_folder)
    (inputs, targets), (seen, same_targets) = plain.training_batch(0, 0), changed.training_batch(0, 0)
    np.testing.assert_array_equal(same_targets, targets)
    x, y = inputs["keypoints"], seen["keypoints"]
    assert (x != y)[..., :2].mean() > 0.9
    assert set(np.unique(y[..., 2])) == {0, 1}
    assert ((y[..., 2] == 0) == ~y.any(axis=-1)).all()
    before, after = (next(each.validation_batches())[1][0]["keypoints"] for each in (plain, changed))
    np.testing.assert_array_equal(after, before)


def test_an_unknown_source_is_refused_with_the_known_ones(data_folder: Path):
    known = "hdm05_11, cmu_9act, reactidle, bandai_namco, human36m, humaneva"
    with pytest.raises(UnknownBodies, match=f"no poses to lift to in 'penn_action'; sources are {known}"):
        LiftData(("penn_action",)).load(data_folder).training_batch(0, 0)


def test_a_split_without_a_window_is_refused(data_folder: Path):
    with pytest.raises(UnknownBodies, match="no 4000 consecutive frames of hdm05_11 in this split"):
        LiftData(("hdm05_11",), outputs=4000).load(data_folder).training_batch(0, 0)


def test_a_missing_file_of_a_published_source_is_named(tmp_path: Path):
    with pytest.raises(UnknownBodies, match=r"no file .*data_3d_h36m\.npz"):
        lift_clips(tmp_path, "human36m", H36M, H36M, keypoints="gt")
