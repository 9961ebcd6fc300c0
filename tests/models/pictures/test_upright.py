"""Tests of upright faces."""

import numpy as np
from faces import synthetic_face

from models.pictures.upright import Upright


def test_only_the_side_that_was_scanned_is_shown():
    cloud, landmarks = synthetic_face()
    sides = [Upright.of(cloud[keep], None, landmarks, None).side for keep in (cloud[:, 0] < 0, cloud[:, 0] > 0)]
    assert sides == [-1, 1]


def test_the_rest_of_the_scan_is_left_out():
    cloud, landmarks = synthetic_face()
    surroundings = np.random.default_rng(0).uniform(-3, 3, size=(20000, 3))
    upright = Upright.of(np.concatenate([cloud, surroundings]), None, landmarks, None)
    assert np.abs(upright.cloud.points).max() < 200
