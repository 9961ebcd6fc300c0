"""Tests of batches of hand windows: they depend on seed and step alone, and augmentation keeps windows plausible."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from laws import hand_motion

from models.contract.task import HandForecast
from models.skeletons.hand import HAND_PAIR
from training.engine.run import Run
from training.tasks.hands.data import (
    Augmentation,
    HandBatches,
    HandData,
    augment,
)

ACROSS = np.array([-1, 1, 1], np.float32)
NOTHING = Augmentation(mirror=0, one_hand=0, reverse=0, rotate=False)


def clips(nodes: int = 42, batch: int = 64) -> np.ndarray:
    return hand_motion(5, nodes, batch=batch).astype(np.float32)


def changed(how: Augmentation, clip: np.ndarray, seed: int = 0) -> np.ndarray:
    before = clip.copy()
    after = augment(clip, how, np.random.default_rng(seed))
    assert np.array_equal(clip, before)  # the input is not modified
    assert after.dtype == np.float32
    return after


def test_no_augmentation_changes_nothing():
    assert np.array_equal(changed(NOTHING, clips()), clips())


def test_mirroring_negates_an_axis_and_swaps_the_hands_of_that_share_of_windows():
    clip = clips()
    all_mirrored = changed(replace(NOTHING, mirror=1), clip)
    assert np.array_equal(all_mirrored, (clip * ACROSS)[:, :, list(HAND_PAIR.mirror)])
    assert np.array_equal(all_mirrored[:, :, 0], clip[:, :, 21] * ACROSS)
    half = changed(replace(NOTHING, mirror=0.5), clip)
    mirrored = (half == all_mirrored).all(axis=(1, 2, 3))
    assert np.array_equal(half[~mirrored], clip[~mirrored])
    assert 20 <= mirrored.sum() <= 44


def test_mirroring_twice_gives_the_original_hands():
    how = replace(NOTHING, mirror=1)
    assert np.array_equal(changed(how, changed(how, clips())), clips())


def test_a_single_hand_is_not_mirrored_because_it_would_become_the_other_hand():
    assert np.array_equal(changed(replace(NOTHING, mirror=1), clips(nodes=21)), clips(nodes=21))


def test_reversing_plays_windows_backwards():
    assert np.array_equal(changed(replace(NOTHING, reverse=1), clips()), clips()[:, ::-1])


def test_rotation_keeps_distances_and_handedness_and_differs_between_windows():
    clip = clips()
    turned = changed(replace(NOTHING, rotate=True), clip)
    for one in (0, 1):
        matrix = np.linalg.lstsq(clip[one].reshape(-1, 3), turned[one].reshape(-1, 3))[0]
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(clip[one] @ matrix, turned[one], atol=1e-5)
    assert not np.allclose(turned[0], clip[0], atol=0.01)


def test_scaling_makes_each_window_larger_or_smaller_by_at_most_the_factor():
    clip = clips()
    sizes = changed(replace(NOTHING, scale=1.25), clip) / clip
    np.testing.assert_allclose(sizes.reshape(64, -1).std(axis=1), 0, atol=1e-5)
    assert 0.8 - 1e-5 <= sizes.min() < 0.9 < 1.1 < sizes.max() <= 1.25 + 1e-5


def test_showing_one_hand_drops_the_left_or_the_right_of_every_window():
    clip = clips()
    shown = changed(replace(NOTHING, one_hand=1), clip)
    left = (shown == clip[:, :, :21]).all(axis=(1, 2, 3))
    right = (shown == clip[:, :, 21:]).all(axis=(1, 2, 3))
    assert (left ^ right).all()
    assert left.any()
    assert right.any()


@pytest.fixture
def batches(tiny: Run[HandForecast, HandData], synthetic_data: Path) -> HandBatches:
    return replace(tiny.data, augmentation=NOTHING).load(synthetic_data)


def test_a_batch_is_a_function_of_seed_and_step_alone(tiny: Run[HandForecast, HandData], synthetic_data: Path):
    one, other = tiny.data.load(synthetic_data), tiny.data.load(synthetic_data)
    later = other.steps_an_epoch() + 1
    other.training_batch(0, later)
    for step in (3, 0, later):
        (inputs, target), (same_inputs, same_target) = one.training_batch(0, step), other.training_batch(0, step)
        assert np.array_equal(inputs["past"], same_inputs["past"])
        assert np.array_equal(target, same_target)
    assert not np.array_equal(one.training_batch(0, 0)[1], one.training_batch(1, 0)[1])


def test_an_epoch_has_every_window_once_except_those_of_an_incomplete_batch(batches: HandBatches):
    shown = [batches.training_batch(0, step)[1] for step in range(batches.steps_an_epoch())]
    for nodes, windows in ((21, batches.training[0]), (42, batches.training[1])):
        assert windows.nodes == nodes
        seen = np.concatenate([x for x in shown if x.shape[2] == nodes])
        assert len(np.unique(seen.reshape(len(seen), -1), axis=0)) == len(seen)
        assert len(windows) - batches.data.batch < len(seen) <= len(windows)


def test_epochs_differ_in_order(batches: HandBatches):
    steps = batches.steps_an_epoch()
    assert not np.array_equal(batches.training_batch(0, 0)[1], batches.training_batch(0, steps)[1])


def test_every_rank_gets_its_own_part_of_a_batch(tiny: Run[HandForecast, HandData], synthetic_data: Path):
    batches = tiny.data.load(synthetic_data)
    batch, _ = batches.training_batch(0, 2)
    for rank in (0, 1):
        share, target = batches.training_batch(0, 2, rank, 2)
        assert np.array_equal(share["past"], batch["past"][rank::2])
        assert len(target) == len(share["past"])


def test_the_future_of_a_batch_continues_its_past(batches: HandBatches):
    inputs, future = batches.training_batch(0, 0)
    assert inputs["past"].shape[1:] == (6, *future.shape[2:])
    steps = np.linalg.norm(np.diff(np.concatenate([inputs["past"], future], axis=1), axis=1), axis=-1)
    assert steps[:, 5].max() < 2 * steps.max(axis=1).mean()


def test_validation_has_every_source_and_number_of_hands_and_no_test_recording(
    tiny: Run[HandForecast, HandData], synthetic_data: Path
):
    seen = {
        (source, inputs["past"].shape[2]) for source, (inputs, _) in tiny.data.load(synthetic_data).validation_batches()
    }
    assert seen == {("leap", 42), ("tzionas", 21)}


def test_a_limit_reduces_the_number_of_validation_windows(tiny: Run[HandForecast, HandData], synthetic_data: Path):
    batches = tiny.data.load(synthetic_data)
    counted = [sum(len(target) for _, (_, target) in batches.validation_batches(limit)) for limit in (500, 5)]
    assert counted[0] == sum(len(windows) for _, windows in batches.validation) > counted[1] >= 10
