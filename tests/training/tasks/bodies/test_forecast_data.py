"""Tests of batches for forecasting: Penn Action's samples, boxes of the past alone, and teacher forcing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.forecast_data import PoseForecastBatches, PoseForecastData


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> PoseForecastBatches:
    return PoseForecastData(("hdm05_11",), past=8, fps=15, box="past", with_confidence=True, batch=64).load(data_folder)


def test_samples_and_boxes_of_penn_action_are_as_published(data_folder: Path):
    batches = PoseForecastData().load(data_folder)
    frames = batches.frames("test")
    assert frames.rows.shape == (76_298, 17)
    inputs, future = batches.batch(frames, np.arange(0, 76_298, 500))
    assert inputs["past"].shape[1:] == (1, 13, 2)
    assert set(np.unique(future[..., 2])) == {0, 1}
    assert np.abs(np.concatenate([inputs["past"], future[..., :2]], axis=1)).max() <= 1
    poses = [pose for pose in frames.poses[: len(batches.recordings[0].points), :, :2] if len(pose)]
    assert np.max(poses) == pytest.approx(1, abs=1e-6) or np.min(poses) == pytest.approx(-1, abs=1e-6)


def test_the_box_of_the_past_does_not_depend_on_the_future(batches: PoseForecastBatches):
    """The same past with another future gives the same input."""
    frames = batches.frames("validation")
    chosen = np.arange(0, len(frames.rows), 97)
    inputs, future = batches.batch(frames, chosen)
    moved = replace(frames, poses=frames.poses.copy())
    rows = frames.rows[chosen[0]]
    moved.poses[rows[8:]] += 5
    again, other = batches.batch(moved, chosen[:1])
    np.testing.assert_array_equal(again["past"], inputs["past"][:1])
    assert np.abs(other - future[:1]).max() > 1
    reach = np.abs(inputs["past"][..., :2]).max(axis=(1, 2, 3))
    np.testing.assert_allclose(reach, 1, atol=1e-5)


def test_samples_at_a_rate_are_consecutive_frames_of_one_clip(batches: PoseForecastBatches):
    rows = batches.training.rows
    assert (np.diff(rows, axis=1) == 1).all()
    lengths = [len(clip.points) for clip in batches.recordings if clip.split == "train"]
    clip_of = np.repeat(np.arange(len(lengths)), lengths)
    assert (clip_of[rows[:, 0]] == clip_of[rows[:, -1]]).all()
    assert {clip.fps for clip in batches.recordings} == {15}


def test_the_forced_share_of_training_samples_has_the_true_future(data_folder: Path):
    data = PoseForecastData(("reactidle",), past=4, future=3, fps=6, box="past", batch=256)
    half, always = (replace(data, forced=forced).load(data_folder) for forced in (0.5, 1.0))
    inputs, future = half.training_batch(0, 0)
    assert list(inputs) == ["past", "teacher"]
    teacher = inputs["teacher"]
    assert teacher.shape == future.shape
    assert teacher.dtype == np.float32
    np.testing.assert_array_equal(teacher[..., :2], future[..., :2])
    forced = teacher[..., 2].any(axis=(1, 2))
    assert forced.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(teacher[forced], future[forced])
    assert not teacher[~forced][..., 2].any()
    all_forced, _ = always.training_batch(0, 0)
    np.testing.assert_array_equal(all_forced["teacher"], future)
    assert list(data.load(data_folder).training_batch(0, 0)[0]) == ["past"]
    for _, (validation, _) in half.validation_batches():
        assert list(validation) == ["past"]
    for rank in range(2):
        part, _ = half.training_batch(0, 0, rank, 2)
        np.testing.assert_array_equal(part["teacher"], teacher[rank::2])


def test_balanced_batches_have_as_many_samples_of_each_source(data_folder: Path):
    data = PoseForecastData(("hdm05_11", "reactidle"), past=4, future=3, fps=6, box="past", batch=64, balanced=True)
    batches = data.load(data_folder)
    counts = batches.training.counts
    assert sum(counts) == len(batches.training.rows)
    assert counts[1] > 4 * counts[0] > 0
    chosen = batches.deck.deal(0, 0)
    assert ((chosen < counts[0]).sum(), len(chosen)) == (32, 64)
    assert len(batches.training_batch(0, 0)[1]) == 64


def test_an_unknown_source_is_refused_with_the_known_ones(data_folder: Path):
    with pytest.raises(UnknownBodies, match="no poses to forecast in 'jhmdb'; sources are penn_action, hdm05_11"):
        PoseForecastData(("jhmdb",)).load(data_folder).training_batch(0, 0)
