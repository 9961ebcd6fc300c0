"""Tests of hand clips: validation, resampling, gaps, the past window, and the forecast at another rate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.symmetry import random_rotation
from models.motion.hands import (
    GapTooLong,
    HandClip,
    TooFewFrames,
    WrongClip,
    clip_of,
    future_at,
    future_to_fps,
    past_window,
    resample,
    sample,
)


def some_clip(frames: int, fps: float = 30.0, hands: int = 2, seed: int = 0) -> HandClip:
    rng = np.random.default_rng(seed)
    return clip_of(rng.normal(size=(frames, hands, 21, 3)), np.arange(frames) / fps)


def without(clip: HandClip, frames, hand: int) -> HandClip:
    """Return the clip with a hand missing from some frames."""
    valid = clip.valid.copy()
    valid[frames, hand] = False
    return clip_of(clip.joints, clip.times, valid)


def straight(times: np.ndarray) -> np.ndarray:
    """Return hands that move at one metre per second, which linear interpolation follows exactly."""
    joints = np.random.default_rng(1).normal(size=(1, 2, 21, 3))
    return joints + times[:, None, None, None] * np.array([0.6, -0.8, 0.0])


def test_inconsistent_arrays_are_refused():
    clip = some_clip(4)
    for wrong, message in (
        ({"joints": np.zeros((4, 3, 21, 3))}, "1 or 2 hands"),
        ({"joints": np.zeros((4, 2, 22, 3))}, r"\(4, 2, 22, 3\)"),
        (
            {"joints": np.zeros((0, 2, 21, 3)), "valid": np.zeros((0, 2), bool), "times": np.zeros(0)},
            r"\(0, 2, 21, 3\)",
        ),
        ({"valid": np.ones((4, 1), bool)}, r"got \(4, 1\)"),
        ({"times": np.arange(5.0)}, r"got \(5,\)"),
        ({"times": np.array([0.0, 1.0, 1.0, 2.0])}, "increase"),
        ({"times": np.array([0.0, 1.0, np.nan, 2.0])}, "finite"),
    ):
        with pytest.raises(WrongClip, match=message):
            replace(clip, **wrong)
    with pytest.raises(WrongClip, match=r"got \(4, 21, 3\)"):
        clip_of(np.zeros((4, 21, 3)), clip.times)
    with pytest.raises(WrongClip, match=r"got \(4, 2, 21, 3\) and \(2, 4\)"):
        clip_of(clip.joints, clip.times, clip.valid.T)


def test_a_hand_is_invalid_where_the_mask_says_so_or_a_coordinate_is_missing():
    joints = np.ones((3, 2, 21, 3))
    joints[1, 0, 7, 2] = np.nan
    clip = clip_of(joints, np.arange(3.0))
    assert clip.valid.tolist() == [[True, True], [False, True], [True, True]]
    assert np.isnan(clip.joints[1, 0]).all()
    masked = clip_of(np.zeros((3, 2, 21, 3)), np.arange(3.0), clip.valid)
    np.testing.assert_array_equal(np.isnan(masked.joints).all(axis=(2, 3)), ~clip.valid)


def test_the_rate_follows_from_the_median_time_step():
    times = np.array([0.0, 0.01, 0.02, 0.03, 5.03, 5.04])
    assert clip_of(np.zeros((6, 1, 21, 3)), times).fps == pytest.approx(100)
    with pytest.raises(TooFewFrames):
        _ = some_clip(1).fps


@pytest.mark.parametrize(("fps", "ratio"), [(30, 4), (60, 2), (40, 3), (120, 1)])
@pytest.mark.parametrize("anchor", ["start", "end", 1 / 120])
def test_an_integer_ratio_selects_frames_bit_for_bit(fps, ratio, anchor):
    clip = some_clip(50, fps=120)
    coarse = resample(clip, fps, max_gap=0.05, anchor=anchor)
    first = {"start": 0, "end": 49 % ratio}.get(anchor, 1)
    np.testing.assert_array_equal(coarse.joints, clip.joints[first::ratio])
    assert coarse.valid.all()


@pytest.mark.parametrize("fps", [25.0, 29.97, 30.0, 72.0, 90.0])
@pytest.mark.parametrize("anchor", ["start", "end"])
def test_steady_motion_survives_any_rate(fps, anchor):
    times = np.sort(np.random.default_rng(2).uniform(0, 2, size=90))
    clip = clip_of(straight(times), times)
    other = resample(clip, fps, max_gap=1.0, anchor=anchor)
    assert other.valid.all()
    assert (other.times[-1] == times[-1]) if anchor == "end" else (other.times[0] == times[0])
    np.testing.assert_allclose(np.diff(other.times), 1 / fps, atol=1e-9)
    assert other.times[0] - times[0] < 1 / fps
    assert times[-1] - other.times[-1] < 1 / fps
    np.testing.assert_allclose(other.joints, straight(other.times), atol=1e-12)


def test_resampling_matches_a_slow_reference_implementation():
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.01, 0.04, size=60))
    clip = clip_of(rng.normal(size=(60, 2, 21, 3)), times, rng.random((60, 2)) < 0.8)
    fast = resample(clip, 47.0, max_gap=0.06, anchor="end")
    assert 0 < fast.valid.mean() < 1
    for t, joints, valid in zip(fast.times, fast.joints, fast.valid, strict=True):
        for hand in (0, 1):
            seen = [i for i in range(60) if clip.valid[i, hand]]
            before = [i for i in seen if times[i] <= t + 1e-6]
            after = [i for i in seen if times[i] >= t - 1e-6]
            if not before or not after or times[after[0]] - times[before[-1]] > 0.06:
                assert not valid[hand]
                assert np.isnan(joints[hand]).all()
                continue
            a, b = before[-1], after[0]
            w = 0 if a == b else (t - times[a]) / (times[b] - times[a])
            np.testing.assert_allclose(
                joints[hand], (1 - w) * clip.joints[a, hand] + w * clip.joints[b, hand], atol=1e-12
            )


def test_a_gap_is_filled_only_up_to_the_limit():
    clip = without(some_clip(10), [4, 5], hand=1)  # 0.1 s from pose to pose
    assert resample(clip, 30, max_gap=0.1).valid.all()
    with_gap = resample(clip, 30, max_gap=0.099)
    assert np.flatnonzero(~with_gap.valid[:, 1]).tolist() == [4, 5]
    assert with_gap.valid[:, 0].all()


def test_a_grid_that_begins_after_the_clip_is_refused():
    with pytest.raises(TooFewFrames, match="expected a clip longer than"):
        resample(some_clip(3), 30, max_gap=0.1, anchor=1.0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), fps=st.floats(5, 200), mirror=st.booleans())
def test_resampling_commutes_with_a_change_of_frame(seed, fps, mirror):
    rng = np.random.default_rng(seed)
    matrix = random_rotation(rng) @ np.diag([-1.0 if mirror else 1.0, 1.0, 1.0])
    shift = rng.uniform(-10, 10, size=3)
    clip = some_clip(40, fps=37, seed=seed)
    clip = clip_of(clip.joints, clip.times, rng.random((40, 2)) < 0.9)
    moved = replace(clip, joints=clip.joints @ matrix.T + shift)
    before, after = (resample(c, fps, max_gap=0.08, anchor="end") for c in (clip, moved))
    np.testing.assert_array_equal(before.valid, after.valid)
    np.testing.assert_allclose(after.joints, before.joints @ matrix.T + shift, atol=1e-12)


def test_the_past_ends_at_the_last_frame_and_keeps_the_dtype():
    clip = some_clip(40, fps=60)
    past = past_window(clip, frames=10, fps=30, max_gap=0.1)
    np.testing.assert_array_equal(past.joints, clip.joints[21::2])
    assert (past.filled, past.hands, past.joints.dtype) == (0, (0, 1), np.float64)


def test_the_past_needs_no_more_than_its_own_span():
    assert past_window(some_clip(10), 10, 30, max_gap=0.1).joints.shape == (10, 2, 21, 3)
    with pytest.raises(
        TooFewFrames, match=r"expected 0\.300 s of past, 10 frames at 30 fps, got 9 frames over 0\.267 s"
    ):
        past_window(some_clip(9), 10, 30, max_gap=0.1)


def test_short_gaps_of_the_past_are_filled_and_counted():
    clip = without(without(some_clip(10), [4, 5], hand=0), [7], hand=1)
    past = past_window(clip, 10, 30, max_gap=0.1)
    assert past.filled == 3
    assert np.isfinite(past.joints).all()
    np.testing.assert_allclose(past.joints[4, 0], (2 * clip.joints[3, 0] + clip.joints[6, 0]) / 3, atol=1e-12)


def test_a_gap_at_the_start_is_filled_from_before_the_window():
    clip = without(some_clip(12), [2], hand=0)
    assert np.isfinite(past_window(clip, 10, 30, max_gap=0.1).joints).all()


def test_a_hand_that_is_never_visible_is_left_out():
    past = past_window(without(some_clip(10), slice(None), hand=0), 10, 30, max_gap=0.1)
    assert past.hands == (1,)
    assert past.joints.shape == (10, 1, 21, 3)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            [4, 5, 6],
            r"right hand is missing between frames 3 and 7: .* at most 0\.100 s from pose to pose, got 0\.133 s",
        ),
        ([9], "right hand is missing in the last frame; it was last visible in frame 8 of 10"),
        ([0], "right hand is missing until frame 1 of 10"),
    ],
)
def test_a_hand_that_is_missing_for_too_long_is_refused_or_left_out(frames, message):
    clip = without(some_clip(10), frames, hand=1)
    assert past_window(clip, 10, 30, max_gap=0.1).hands == (0,)
    with pytest.raises(GapTooLong, match=message):
        past_window(without(clip, slice(None), hand=0), 10, 30, max_gap=0.1)


def test_a_clip_without_any_visible_hand_is_refused():
    clip = without(without(some_clip(10), slice(None), 0), slice(None), 1)
    with pytest.raises(GapTooLong, match="expected a visible hand in the last"):
        past_window(clip, 10, 30, max_gap=0.1)


def test_the_future_is_resampled_from_the_last_pose_on():
    last, step = straight(np.zeros(1))[0], np.arange(1, 31) / 30
    future = straight(step)
    for fps, frames in ((30, 30), (15, 15), (60, 60), (90, 90), (24, 24), (29.97, 29), (7, 7)):
        poses, times = future_to_fps(last, future, 30, fps)
        np.testing.assert_allclose(times, np.arange(1, frames + 1) / fps)
        np.testing.assert_allclose(poses, straight(times), atol=1e-12)
        assert len(poses) == frames


def test_frames_on_both_grids_are_kept_bit_for_bit():
    rng = np.random.default_rng(6)
    last, future = rng.normal(size=(2, 21, 3)), rng.normal(size=(30, 2, 21, 3))
    np.testing.assert_array_equal(future_to_fps(last, future, 30, 30)[0], future)
    np.testing.assert_array_equal(future_to_fps(last, future, 30, 90)[0][2::3], future)
    np.testing.assert_array_equal(future_to_fps(last, future, 30, 10)[0], future[2::3])


def test_a_forecast_is_sampled_at_any_times_between_the_last_pose_and_its_end():
    rng = np.random.default_rng(8)
    last, future = rng.normal(size=(2, 21, 3)), rng.normal(size=(5, 2, 21, 3))
    poses = future_at(last, future, 10, np.array([0.5, 0.0, 0.03, 0.125, 0.03]))
    expected = [future[4], last, 0.7 * last + 0.3 * future[0], 0.75 * future[0] + 0.25 * future[1]]
    np.testing.assert_allclose(poses, [*expected, expected[2]], atol=1e-12)


def test_a_rate_too_slow_for_the_horizon_returns_nothing():
    poses, times = future_to_fps(np.zeros((1, 21, 3)), np.zeros((10, 1, 21, 3)), 30, 2)
    assert poses.shape == (0, 1, 21, 3)
    assert len(times) == 0


def test_sampling_outside_the_clip_is_invalid():
    assert sample(some_clip(3), np.array([-0.1, 0.0, 1.0]), max_gap=9).valid[:, 0].tolist() == [False, True, False]
