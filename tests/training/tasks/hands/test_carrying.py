"""Tests of hands that are carried along smooth paths: as a whole, from the last frame of the past, one path for both hands or one each."""

import numpy as np
from laws import hand_motion

from training.tasks.hands.carrying import FASTEST_M_S, with_carried_hands


def test_a_share_of_windows_is_carried_as_a_whole_from_the_last_frame_of_the_past():
    clip = hand_motion(60, 42, batch=60).astype(np.float32)
    found = with_carried_hands(clip, 0.5, 29, 30.0, np.random.default_rng(0)) - clip
    carried = np.abs(found).max(axis=(1, 2, 3)) > 1e-4
    assert 0.3 < carried.mean() < 0.7
    np.testing.assert_allclose(found[:, 29], 0, atol=1e-6)
    for hand in (found[:, :, :21], found[:, :, 21:]):
        np.testing.assert_allclose(hand, np.broadcast_to(hand[:, :, :1], hand.shape), atol=1e-5)
    together = np.isclose(found[carried, :, 0], found[carried, :, 21], atol=1e-5).all(axis=(1, 2))
    assert 0.25 < together.mean() < 0.75
    steps = 30 * np.linalg.norm(np.diff(found[carried, :, 0], axis=1), axis=-1).max(axis=1)
    assert 0.0 < steps.min() < 0.2 < 0.5 < steps.max() <= FASTEST_M_S[1]
    lone = with_carried_hands(clip[:, :, :21], 1.0, 29, 30.0, np.random.default_rng(0))
    assert lone.shape == clip[:, :, :21].shape
    assert lone.dtype == np.float32
