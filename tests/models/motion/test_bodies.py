"""Tests of the conversion of body clips to network inputs, and that it commutes with the mirror."""

import numpy as np
import pytest

from models.motion.bodies import (
    about_y,
    box_of,
    boxed,
    boxed_by_past,
    cropped,
    edge_padded,
    evenly,
    facing,
    penn_sample,
    resampled,
    shown,
    steady_sample,
)
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES

KINECT = BODIES["nw-ucla-20"]


def some_clip(frames: int = 12, dims: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, len(KINECT.joints), dims)).astype(np.float32)


@pytest.mark.parametrize("receptive", [1, 27, 81, 243])
def test_every_frame_is_in_the_middle_of_a_window_of_the_padded_clip(receptive: int):
    clip = some_clip()
    padded = edge_padded(clip, receptive)
    assert len(padded) == len(clip) + receptive - 1
    for t in range(len(clip)):
        window = padded[t : t + receptive]
        np.testing.assert_array_equal(window[receptive // 2], clip[t])
        slow = [clip[min(max(t + offset, 0), len(clip) - 1)] for offset in range(-(receptive // 2), receptive // 2 + 1)]
        np.testing.assert_array_equal(window, slow)


def test_resampling_keeps_frames_on_both_grids_and_interpolates_others_linearly():
    clip = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    np.testing.assert_array_equal(resampled(clip, 60, 60), clip)
    np.testing.assert_array_equal(resampled(clip, 60, 30), clip[::2])
    np.testing.assert_allclose(resampled(clip, 60, 24)[:, 0, 0], [0, 2.5, 5, 7.5], atol=1e-6)
    np.testing.assert_allclose(resampled(clip, 24, 48)[:, 0, 0], np.arange(0, 9.5, 0.5), atol=1e-6)
    clip[3] = np.nan
    assert np.isfinite(resampled(clip, 60, 30)).all()
    assert np.isnan(resampled(clip, 60, 24)[:, 0, 0]).tolist() == [False, True, False, False]
    assert np.isnan(resampled(clip, 60, 40)[:, 0, 0]).tolist() == [False, False, True, False, False, False, False]


def test_the_box_surrounds_all_visible_points_and_its_longer_side_is_two():
    points = np.array([[[0, 0], [4, 2]], [[np.nan, np.nan], [2, 8]]], np.float32)
    middle, half = box_of(points)
    assert (middle.tolist(), half) == ([2, 4], 4)
    np.testing.assert_allclose(boxed(points, (middle, half))[0], [[-0.5, -1], [0.5, -0.5]])
    assert box_of(np.full((2, 3, 2), np.nan))[1] == 1
    assert box_of(np.ones((2, 3, 2)))[1] == 1  # a single point: no division by zero


def test_a_penn_sample_spans_the_clip_and_repeats_its_last_frame():
    rows = penn_sample(100)  # step 99 // 17 = 5
    assert rows.shape == (100, 17)
    assert rows[0].tolist() == list(range(0, 85, 5))
    assert rows[90].tolist() == [90, 95, *[99] * 15]
    assert penn_sample(35)[0].tolist() == [*range(0, 34, 2)]
    assert penn_sample(10)[4].tolist() == [4, 5, 6, 7, 8, *[9] * 12]
    assert penn_sample(36, past=2)[0].tolist() == list(
        range(18)
    )  # two past frames: 18 frames in total, with a step of 35 // 18


def test_a_steady_sample_lies_within_the_clip():
    rows = steady_sample(12, past=3, future=4)
    assert rows.shape == (6, 7)
    assert rows[-1].tolist() == list(range(5, 12))
    assert steady_sample(5, past=3, future=4).shape == (0, 7)


def test_frames_are_spread_evenly_from_first_to_last():
    assert evenly(5, 3).tolist() == [0, 2, 4]
    assert evenly(2, 4).tolist() == [0, 0, 1, 1]
    assert evenly(1, 3).tolist() == [0, 0, 0]


def test_a_crop_beyond_the_end_is_zero_with_confidence_zero():
    clip = np.ones((2, 10, 3, 4), np.float32)
    assert (cropped(clip, 4, 6) == 1).all()
    beyond = cropped(clip, 7, 6)
    assert beyond.shape == (2, 6, 3, 4)
    assert (beyond[:, :3] == 1).all()
    assert (beyond[:, 3:] == 0).all()


def test_missing_points_and_points_without_confidence_become_zero():
    points = np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    together = shown(points, np.array([0.5, 1, 0], np.float32))
    np.testing.assert_array_equal(together, np.array([[1, 2, 0.5], [0, 0, 0], [0, 0, 0]], np.float32))
    assert together.dtype == np.float32


def test_facing_does_not_depend_on_the_direction_of_the_camera():
    clip = some_clip()
    straight = facing(clip, KINECT)
    for angle in (0.3, 2.0, -1.0):
        np.testing.assert_allclose(facing(about_y(clip, angle), KINECT), straight, atol=1e-5)
    left, right = (
        straight[:, [i for i, joint in enumerate(KINECT.joints) if joint.startswith(side)]]
        for side in ("left", "right")
    )
    across = (left - right).sum(axis=(0, 1))
    assert across[0] > 0
    assert across[2] == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(straight, axis=1), axis=-1), np.linalg.norm(np.diff(clip, axis=1), axis=-1), rtol=1e-4
    )
    np.testing.assert_array_equal(straight[..., 1], clip[..., 1])


def test_facing_ignores_missing_joints():
    clip = some_clip()
    clip[3, 5] = np.nan
    straight = facing(clip, KINECT)
    assert np.isnan(straight[3, 5]).all()
    assert np.isnan(straight).sum() == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda clip: facing(clip, KINECT),
        lambda clip: resampled(clip, 60, 25),
        lambda clip: edge_padded(clip, 27),
        lambda clip: boxed(clip, (np.zeros(3), box_of(clip)[1])),
        lambda clip: boxed(clip, box_of(clip)),
        lambda clip: shown(clip, np.ones(clip.shape[:2], np.float32)),
    ],
)
def test_a_conversion_commutes_with_the_mirror(make):
    clip = some_clip()
    np.testing.assert_allclose(make(mirrored(clip, KINECT)), mirrored(make(clip), KINECT), atol=1e-5)


def test_a_rotation_does_not_commute_with_the_mirror():
    clip = some_clip()
    difference = about_y(mirrored(clip, KINECT), 0.5) - mirrored(about_y(clip, 0.5), KINECT)
    assert np.abs(difference).max() > 0.1
    np.testing.assert_allclose(about_y(mirrored(clip, KINECT), -0.5), mirrored(about_y(clip, 0.5), KINECT), atol=1e-5)


def test_many_samples_get_the_boxes_that_a_loop_gives_each():
    rng = np.random.default_rng(0)
    poses = (300 + 100 * rng.normal(size=(6, 5, 4, 2))).astype(np.float32)
    poses[0, 1, 2] = np.nan
    poses[1, :3] = np.nan  # nothing is seen in the past
    poses[2, :3] = poses[2, 0, 0]  # a single point
    slow = [boxed(pose, box_of(pose[:3])) for pose in poses]
    np.testing.assert_array_equal(boxed_by_past(poses, 3), np.stack(slow))
