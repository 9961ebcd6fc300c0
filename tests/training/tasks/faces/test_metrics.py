"""Landmark errors on faces whose true errors are known."""

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
    """(count, 68, 3) metres, mirror symmetric about x = 0."""
    points = 0.05 * np.random.default_rng(0).normal(size=(count, 68, 3))
    return (points + points[:, MIRROR] * [-1, 1, 1]) / 2


def test_an_error_is_a_distance_in_millimetres_and_relative_to_the_eyes():
    true = faces()
    found = scores(true + np.array([0.0, 0.003, 0.004]), true)
    right, left = INTEROCULAR
    eyes = np.linalg.norm(true[:, right] - true[:, left], axis=1)
    assert (found.mean_mm, found.median_mm, found.inner_mm) == pytest.approx((5, 5, 5))
    assert found.interocular == found.inner_interocular == pytest.approx((0.005 / eyes).mean())
    assert found.faces == 3
    assert found.by_landmark_mm["nose_tip"] == pytest.approx(5)


def test_the_inner_face_is_from_27_on():
    true = faces()
    wrong = true.copy()
    wrong[:, :27] += 1.0
    found = scores(wrong, true)
    assert found.inner_mm == 0
    assert found.mean_mm == pytest.approx(1000 * np.sqrt(3) * 27 / 68)


def test_success_is_the_fraction_of_landmarks_within_a_limit():
    true = faces(1)
    wrong = true.copy()
    wrong[0, :34, 0] += 0.0025
    wrong[0, 34:51, 0] += 0.004
    wrong[0, 51:, 0] += 0.006
    assert scores(wrong, true).success == pytest.approx({"2 mm": 0, "3 mm": 0.5, "5 mm": 0.75})


def test_the_swap_rate_is_the_share_of_paired_landmarks_at_their_partners_place():
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
