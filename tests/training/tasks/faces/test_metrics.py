"""Tests of landmark errors on faces with known errors."""

import numpy as np
import pytest

from models.skeletons.face import FACE68, INTEROCULAR
from training.tasks.faces.metrics import (
    THRESHOLDS,
    overlap,
    scores,
    swap_rate,
)

MIRROR = np.array(FACE68.mirror)


def faces(count: int = 3) -> np.ndarray:
    """Return faces of shape (count, 68, 3) in metres, mirror symmetric about x = 0."""
    points = 0.05 * np.random.default_rng(0).normal(size=(count, 68, 3))
    return (points + points[:, MIRROR] * [-1, 1, 1]) / 2


def test_errors_are_distances_in_millimetres_and_relative_to_the_eyes():
    true = faces()
    errors = scores(true + np.array([0.0, 0.003, 0.004]), true)
    right, left = INTEROCULAR
    eyes = np.linalg.norm(true[:, right] - true[:, left], axis=1)
    assert (errors.mean_mm, errors.median_mm, errors.inner_mm) == pytest.approx((5, 5, 5))
    assert errors.interocular == errors.inner_interocular == pytest.approx((0.005 / eyes).mean())
    assert errors.faces == 3
    assert errors.by_landmark_mm["nose_tip"] == pytest.approx(5)


def test_the_inner_face_begins_at_landmark_27():
    true = faces()
    wrong = true.copy()
    wrong[:, :27] += 1.0
    errors = scores(wrong, true)
    assert errors.inner_mm == 0
    assert errors.mean_mm == pytest.approx(1000 * np.sqrt(3) * 27 / 68)


def test_success_is_the_fraction_of_landmarks_within_a_limit():
    true = faces(1)
    wrong = true.copy()
    wrong[0, :34, 0] += 0.0025
    wrong[0, 34:51, 0] += 0.004
    wrong[0, 51:, 0] += 0.006
    assert scores(wrong, true).success == pytest.approx({"2 mm": 0, "3 mm": 0.5, "5 mm": 0.75})


def test_the_swap_rate_is_the_share_of_paired_landmarks_at_their_partners_positions():
    true = faces()
    assert swap_rate(true, true) == 0
    assert swap_rate(true[:, MIRROR], true) == 1
    one_face = np.concatenate([true[:1, MIRROR], true[1:]])
    assert swap_rate(one_face, true) == pytest.approx(1 / 3)


def test_the_overlap_counts_points_above_a_threshold():
    true = np.zeros((1, 2, 10))
    true[0, 0, :4] = 0.5
    heatmaps = np.zeros((1, 2, 10))
    heatmaps[0, 0, 2:6] = 0.5
    assert overlap(heatmaps, true, (0.2,)).tolist() == [[2 / 6, 0.0]]  # nothing in either counts as 0
    assert overlap(true, true, (0.2, 0.6)).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_thresholds_are_those_of_the_reference():
    assert THRESHOLDS[0] == 0.1
    assert THRESHOLDS[-1] == 0.95
    assert len(THRESHOLDS) == 18
