"""Tests of values that trackers write for unseen points: they are recognised in every order and do not occur in recordings."""

import numpy as np
import pytest

from models.motion.missing import unseen_hands, unseen_joints, unseen_keypoints
from training.tasks.bodies.readers.npz import read_bodies
from training.tasks.hands.npz import read_hands


def hands(frames: int = 12, joints: int = 21) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(frames, joints, 3))


def test_a_hand_is_unseen_if_two_of_its_joints_coincide():
    """The reference implementation counts distinct points."""
    points = hands()
    points[2] = 0.0
    points[4] = -1.0
    points[5] = points[5, 7]
    points[7, [3, 9]] = 0.0
    points[8, 11] = points[8, 20]
    expected = [len({tuple(joint) for joint in frame}) < len(frame) for frame in points.tolist()]
    assert unseen_hands(points).tolist() == expected
    assert np.flatnonzero(expected).tolist() == [2, 4, 5, 7, 8]
    coincide = [[frame.count(joint) > 1 for joint in frame] for frame in points.tolist()]
    assert unseen_joints(points).tolist() == coincide


@pytest.mark.parametrize("joints", [21, 22, 25, 26])
def test_a_hand_with_one_joint_at_the_origin_is_seen(joints):
    points = hands(joints=joints)
    points[:, 0] = 0.0
    assert not unseen_hands(points).any()


def test_frames_of_nan_are_not_unseen_hands():
    points = hands()
    points[3] = np.nan
    assert not unseen_hands(points).any()


@pytest.mark.parametrize("source", ["leap", "ultraleap_tracking", "thai_sign_leap", "humoto"])
def test_every_recorded_hand_is_seen(data_folder, source):
    for recording in read_hands(data_folder / "hands", source):
        for hand in range(recording.clip.hands):
            assert not unseen_hands(recording.clip.joints[recording.clip.valid[:, hand], hand]).any()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("sentinel", [0.0, -1.0])
def test_keypoints_of_zeros_and_minus_ones_are_unseen(dims, sentinel):
    points = 100 * hands(joints=17)[..., :dims]
    points[3, 5] = points[4, 5] = points[4, 6] = sentinel
    assert np.argwhere(unseen_keypoints(points)).tolist() == [[3, 5], [4, 5], [4, 6]]


def test_the_origin_of_relative_poses_is_seen():
    points = hands(joints=17)
    points[:, 0] = 0.0
    assert not unseen_keypoints(points).any()
    assert unseen_keypoints(points[..., :2])[:, 0].all()  # in an image, (0, 0) is the corner


@pytest.mark.parametrize("source", ["hdm05_11", "cmu_9act", "reactidle", "jhmdb"])
def test_every_recorded_joint_is_seen(data_folder, source):
    for clip in read_bodies(data_folder / "body", source):
        assert not unseen_keypoints(clip.points).any()
