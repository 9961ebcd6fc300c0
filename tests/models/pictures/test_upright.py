"""Tests of upright faces."""

from pathlib import Path

import numpy as np
import pytest
from faces import made_face

from models.contract.symmetry import random_rotation
from models.pictures.upright import Upright, frontal
from models.skeletons.face import FACE68


def test_the_axes_of_a_face_rotate_with_it_and_point_left_up_and_out():
    _, landmarks = made_face()
    axes = frontal(landmarks)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert np.diag(axes).min() > 0.9
    rng = np.random.default_rng(0)
    for _ in range(5):
        turn = random_rotation(rng)
        np.testing.assert_allclose(frontal(landmarks @ turn.T + [3, -2, 5]), axes @ turn.T, atol=1e-9)


def test_a_face_with_left_and_right_exchanged_is_seen_from_its_front():
    _, landmarks = made_face()
    np.testing.assert_allclose(frontal(landmarks[list(FACE68.mirror)])[1:], frontal(landmarks)[1:], atol=0.1)


@pytest.mark.parametrize("spread", [np.zeros(3), np.array([1.0, 0.0, 0.0])], ids=["one point", "one line"])
def test_landmarks_that_span_no_face_give_the_axes_of_the_scan(spread: np.ndarray):
    np.testing.assert_array_equal(frontal(np.arange(68)[:, None] * spread), np.eye(3))


def test_only_the_side_that_was_scanned_is_shown():
    cloud, landmarks = made_face()
    sides = [Upright.of(cloud[keep], None, landmarks, None).side for keep in (cloud[:, 0] < 0, cloud[:, 0] > 0)]
    assert sides == [-1, 1]


def test_the_rest_of_the_scan_is_left_out():
    cloud, landmarks = made_face()
    room = np.random.default_rng(0).uniform(-3, 3, size=(20000, 3))
    upright = Upright.of(np.concatenate([cloud, room]), None, landmarks, None)
    assert np.abs(upright.cloud.points).max() < 200


def test_real_scans_are_upright(data_folder: Path):
    """Check that the axes of facefuns, which is scanned upright and frontal, are within 15 degrees of the scanner's."""
    faces = np.load(data_folder / "faces" / "facefuns_composites" / "facefuns_faces.npz")
    for vertices in faces["vertices"].astype(float) / 1000:
        axes = frontal(vertices[faces["landmarks68_fitted"]])
        assert np.diag(axes).min() > np.cos(np.radians(15))
