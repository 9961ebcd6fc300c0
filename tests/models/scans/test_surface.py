"""Tests of the surface under landmarks: on whole, cut and sparse scans, in any pose."""

import numpy as np
from faces import synthetic_face

from models.contract.symmetry import random_rotation
from models.scans.surface import seen


def test_all_landmarks_of_a_whole_face_have_surface():
    points, landmarks = synthetic_face()
    assert seen(landmarks, points).all()


def test_landmarks_beyond_the_end_of_a_half_face_have_none():
    points, landmarks = synthetic_face()
    found = seen(landmarks, points[points[:, 0] > 0])
    assert found[landmarks[:, 0] > 0].all()
    assert not found[landmarks[:, 0] < -0.008].any()


def test_a_landmark_over_a_hole_has_none():
    points, landmarks = synthetic_face()
    outside = np.linalg.norm(points - landmarks[30], axis=1) > 0.01
    assert np.flatnonzero(~seen(landmarks, points[outside])).tolist() == [30]


def test_a_landmark_may_be_as_far_as_the_spacing_of_a_sparse_scan():
    points, landmarks = synthetic_face(300)  # about 10 mm apart
    assert seen(landmarks, points).mean() > 0.95
    assert not seen(landmarks + np.array([0.0, 0.0, 0.05]), points).any()


def test_the_surface_is_the_same_in_any_pose():
    points, landmarks = synthetic_face()
    half, rng = points[points[:, 0] > 0.01], np.random.default_rng(0)
    expected = seen(landmarks, half)
    for _ in range(3):
        turn = random_rotation(rng).T
        assert np.array_equal(seen(landmarks @ turn + 5, half @ turn + 5), expected)
