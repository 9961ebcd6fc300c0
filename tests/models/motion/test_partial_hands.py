"""Tests of pasts of which only a part was seen: what is interpolated, what is marked, what is refused, and symmetry."""

import numpy as np
import pytest

from models.motion.hands import GapTooLong, HandClip, TooFewFrames, past_window
from models.motion.partial_hands import PartialPast, partial_window

FPS, PAST, GAP_S = 30.0, 10, 0.1


def clip(frames: int, fps: float = FPS, hands: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return joints, all seen, and times."""
    joints = np.random.default_rng(seed).normal(size=(frames, hands, 21, 3))
    return joints, np.ones(joints.shape[:3], bool), np.arange(frames) / fps


def window(joints: np.ndarray, seen: np.ndarray, times: np.ndarray) -> PartialPast:
    return partial_window(np.where(seen[..., None], joints, np.nan), seen, times, PAST, FPS, GAP_S)


@pytest.mark.parametrize("fps", [30, 50, 90])
def test_a_clip_that_was_wholly_seen_is_that_of_a_model_without_a_mask(fps):
    joints, seen, times = clip(60, fps, hands=2)
    expected = past_window(HandClip(joints, np.all(seen, axis=2), times), PAST, FPS, GAP_S)
    past = window(joints, seen, times)
    np.testing.assert_array_equal(past.joints, expected.joints)
    assert past.seen.all()
    assert (past.filled, past.hands) == (0, (0, 1))
    assert past.lost_s == (0, 0)
    np.testing.assert_allclose(past.motion_s, (PAST - 1) / FPS)


@pytest.mark.parametrize("frames", [PAST, PAST + 1, 25])
def test_a_past_with_nothing_to_interpolate_is_the_one_that_is_interpolated(frames):
    joints, seen, times = clip(frames + 1, hands=2)
    seen[0, 1, 3] = False  # before the past, so that the rest is interpolated
    interpolated, direct = window(joints, seen, times), window(joints[1:], seen[1:], times[1:])
    np.testing.assert_array_equal(direct.joints, interpolated.joints)
    np.testing.assert_array_equal(direct.seen, interpolated.seen)
    assert (direct.filled, direct.hands, direct.lost_s) == (0, interpolated.hands, interpolated.lost_s)
    np.testing.assert_allclose(direct.motion_s, interpolated.motion_s)


def test_earlier_frames_of_a_short_clip_are_unseen_and_at_rest():
    joints, seen, times = clip(3)
    past = window(joints, seen, times)
    assert past.seen[-3:].all()
    assert not past.seen[:-3].any()
    np.testing.assert_array_equal(past.joints[-3:], joints)
    np.testing.assert_array_equal(past.joints[:-3], np.broadcast_to(joints[0], (PAST - 3, 1, 21, 3)))
    np.testing.assert_allclose(past.motion_s, 2 / FPS)


def test_a_single_frame_is_refused():
    with pytest.raises(TooFewFrames, match="at least 2 frames, which show a motion, got 1"):
        window(*clip(1))


def test_two_frames_closer_than_those_of_the_window_are_extended_along_their_line():
    joints, seen, times = clip(2, fps=90)
    past = window(joints, seen, times)
    np.testing.assert_allclose(past.joints[-1], joints[1])
    np.testing.assert_allclose(past.joints[-2], joints[1] + 3 * (joints[0] - joints[1]))
    assert past.seen.any(axis=(1, 2)).tolist() == [False] * (PAST - 2) + [True, True]
    np.testing.assert_allclose(past.motion_s, 1 / 90)


def test_a_short_gap_of_one_joint_is_interpolated_and_a_long_one_is_unseen():
    joints, seen, times = clip(PAST)
    seen[3:5, 0, 7] = seen[2:7, 0, 8] = False
    past = window(joints, seen, times)
    np.testing.assert_allclose(past.joints[3, 0, 7], (2 * joints[2, 0, 7] + joints[5, 0, 7]) / 3)
    assert past.seen[:, 0, 7].all()
    np.testing.assert_array_equal(past.seen[:, 0, 8], seen[:, 0, 8])
    np.testing.assert_array_equal(past.joints[2:7, 0, 8], np.broadcast_to(joints[1, 0, 8], (5, 3)))
    assert past.filled == 0, "expected whole poses to be counted, not joints"


def test_poses_that_were_interpolated_are_counted():
    joints, seen, times = clip(PAST)
    seen[3:5] = seen[8:] = False
    assert window(joints, seen, times).filled == 2


def test_a_joint_that_was_never_seen_has_no_place():
    joints, seen, times = clip(PAST)
    seen[:, 0, 4] = False
    past = window(joints, seen, times)
    assert np.isnan(past.joints[:, 0, 4]).all()
    assert np.isfinite(np.delete(past.joints, 4, axis=2)).all()


def test_a_hand_that_was_lost_lately_is_kept_and_one_that_was_lost_long_ago_is_left_out():
    joints, seen, times = clip(PAST, hands=2)
    seen[-3:, 0] = seen[-6:, 1] = False
    past = window(joints, seen, times)
    assert past.hands == (0,)
    np.testing.assert_allclose(past.lost_s, 3 / FPS)
    np.testing.assert_allclose(past.motion_s, 6 / FPS)
    with pytest.raises(GapTooLong, match=r"the hand was not seen in the last 0.150 s"):
        window(joints[:, 1:], seen[:, 1:], times)


def test_a_hand_of_which_less_than_half_was_seen_is_left_out():
    joints, seen, times = clip(PAST, hands=2)
    seen[:, 0, :11] = False
    assert window(joints, seen, times).hands == (1,)
    with pytest.raises(GapTooLong, match=r"10 of 21 joints of the hand were seen twice in the last 0.300 s"):
        window(joints[:, :1], seen[:, :1], times)


def test_the_past_of_a_moved_clip_is_the_moved_past():
    rng = np.random.default_rng(5)
    joints, seen, times = clip(25, fps=70, hands=2)
    seen &= rng.random(seen.shape) < 0.7
    seen[5:16, 1] = False
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # proper or not
    shift = rng.normal(size=3)
    past, moved = window(joints, seen, times), window(joints @ turn.T + shift, seen, times)
    np.testing.assert_allclose(moved.joints, past.joints @ turn.T + shift, atol=1e-12)
    np.testing.assert_array_equal(moved.seen, past.seen)
    assert 0.3 < past.seen.mean() < 0.99
