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
    NoWindows,
    augment,
)
from training.tasks.hands.draws import Draw
from training.tasks.hands.faults import Faults
from training.tasks.hands.frame_windows import FrameTrack

ACROSS = np.array([-1, 1, 1], np.float32)
NOTHING = Augmentation(mirror=0, one_hand=0, reverse=0, rotate=False)


def clips(nodes: int = 42, batch: int = 64) -> np.ndarray:
    return hand_motion(5, nodes, batch=batch).astype(np.float32)


def changed(how: Augmentation, clip: np.ndarray, seed: int = 0) -> np.ndarray:
    before = clip.copy()
    after = augment(clip, how, np.random.default_rng(seed))
    assert np.array_equal(clip, before, equal_nan=True)  # the input is not modified
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


def test_a_window_that_lacks_frames_is_not_reversed():
    clip = clips()
    clip[3, -1] = np.nan
    backwards = changed(replace(NOTHING, reverse=1), clip)
    assert np.array_equal(backwards[3], clip[3], equal_nan=True)
    assert np.array_equal(backwards[:3], clip[:3, ::-1])


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


def test_a_batch_of_carried_hands_differs_from_one_of_the_same_windows_as_recorded(batches: HandBatches):
    carried = HandBatches(replace(batches.data, augmentation=replace(NOTHING, carried=1.0)), batches.folder)
    (inputs, future), (before, recorded) = (one.training_batch(0, 0) for one in (carried, batches))
    np.testing.assert_allclose(inputs["past"][:, -1], before["past"][:, -1], atol=1e-6)
    assert (np.abs(future - recorded).max(axis=(1, 2, 3)) > 1e-4).all()


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


FAULTS = Faults((0, 2), (0.1, 0.3), burst=0.5, lost=0.5, short=0.5)


def masked(batches: HandBatches, **changes) -> HandBatches:
    """Return batches of masked data with faults."""
    data = replace(batches.data, masked=True, augmentation=replace(NOTHING, faults=FAULTS), **changes)
    return HandBatches(data, batches.folder)


def test_masked_data_say_which_joints_are_seen_and_zero_the_others(batches: HandBatches):
    both = masked(batches)
    for step in range(8):
        (plain, target), (inputs, other) = batches.training_batch(0, step), both.training_batch(0, step)
        assert list(inputs) == ["past", "seen"]
        seen = inputs["seen"] == 1
        assert inputs["seen"].dtype == np.float32
        assert inputs["seen"].shape == inputs["past"].shape[:-1]
        assert not inputs["past"][~seen].any()
        assert np.abs(inputs["past"][seen] - plain["past"][seen]).max() < 0.012
        known = np.isfinite(other)
        assert np.array_equal(other[known], target[known])
        again = masked(batches).training_batch(0, step)
        assert np.array_equal(again[0]["past"], inputs["past"])
        assert np.array_equal(both.training_batch(0, step, 1, 2)[0]["seen"], inputs["seen"][1::2])


def test_validation_of_masked_data_shows_every_joint(batches: HandBatches):
    for (_, (inputs, target)), (_, (plain, same)) in zip(
        masked(batches).validation_batches(), batches.validation_batches(), strict=True
    ):
        assert inputs["seen"].all()
        assert np.array_equal(inputs["past"], plain["past"])
        assert np.array_equal(target, same)


def test_unseen_joints_need_masked_data(tiny: Run[HandForecast, HandData]):
    for changes in ({"augmentation": Augmentation(faults=FAULTS)}, {"least": (3, 6)}):
        with pytest.raises(ValueError, match="expected masked data"):
            replace(tiny.data, **changes)
        replace(tiny.data, masked=True, **changes)
    replace(tiny.data, augmentation=Augmentation(faults=Faults(jitter_mm=(0, 2))), least=(6, 1))
    with pytest.raises(ValueError, match=r"at least 2 past and 1 future frames of 6\+6@30, got \(1, 6\)"):
        replace(tiny.data, masked=True, least=(1, 6))


def test_incomplete_windows_are_nan_in_the_target_and_unseen_in_the_past(batches: HandBatches):
    more = masked(batches, least=(3, 2))
    more.data = replace(more.data, augmentation=NOTHING)
    assert sum(map(len, more.training)) > sum(map(len, batches.training))
    lacking = 0
    for step in range(more.steps_an_epoch()):
        inputs, target = more.training_batch(0, step)
        assert np.isfinite(inputs["past"]).all()
        assert (inputs["seen"].all(axis=2).sum(axis=1) >= 3).all()
        frames = np.isfinite(target).all(axis=(2, 3))
        assert np.array_equal(frames, np.isfinite(target).any(axis=(2, 3)))
        assert (frames.sum(axis=1) >= 2).all()
        lacking += int((~frames).sum())
    assert lacking
    assert [len(w) for w in more.as_recorded] == [len(w) for w in batches.training]
    assert all(not w.lacks_of.any() for _, w in more.validation)


def test_windows_are_drawn_by_chance_from_seed_and_step_alone(batches: HandBatches):
    data = replace(batches.data, draw=Draw("even"))
    one, other = HandBatches(data, batches.folder), HandBatches(data, batches.folder)
    assert one.steps_an_epoch() == pytest.approx(batches.steps_an_epoch(), abs=1)
    later = one.steps_an_epoch() + 1
    for step in (later, 0):
        assert np.array_equal(one.training_batch(0, step)[1], other.training_batch(0, step)[1])
        assert len(one.training_batch(0, step)[1]) == data.batch
    grasps = batches.windows("train", 2, ("tzionas",), phases="all").past_future(np.arange(19))[1]
    drawn = [one.training_batch(0, step)[1] for step in range(2 * one.steps_an_epoch())]
    of_grasps = [(target == grasps[:, None]).all(axis=(2, 3, 4)).any() for target in drawn if target.shape[2] == 42]
    assert any(of_grasps)


def test_without_still_windows_a_set_that_has_no_others_gives_no_batches(batches: HandBatches):
    drawn = HandBatches(replace(batches.data, sources=("leap",), draw=Draw(still=0.0)), batches.folder)
    assert [windows.nodes for windows in drawn.training] == [21, 42]
    walk = drawn.training[1].tracks[0].points
    walk[:] = walk[0]
    assert {drawn.training_batch(0, step)[1].shape[2] for step in range(drawn.steps_an_epoch())} == {21}


def test_recordings_without_a_window_are_counted_when_none_has_one(batches: HandBatches):
    with pytest.raises(
        NoWindows, match=r"expected training windows .* got none from 3 recordings; 3 are too short and 0 too slow"
    ):
        HandBatches(
            replace(batches.data, window=replace(batches.data.window, past=90)), batches.folder
        ).steps_an_epoch()
    longer = HandBatches(replace(batches.data, window=replace(batches.data.window, past=30)), batches.folder)
    with pytest.raises(NoWindows, match=r"expected validation windows .* from 2 recordings; 2 are too short"):
        _ = longer.validation
    assert longer.steps_an_epoch() > 0
    with pytest.raises(NoWindows, match=r"0 are too short and 3 too slow"):
        HandBatches(replace(batches.data, window=replace(batches.data.window, fps=90)), batches.folder).steps_an_epoch()


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


def test_with_rates_windows_end_their_past_at_each_frame(batches: HandBatches):
    data = replace(batches.data, rates=(0.8, 1.2))
    framed = HandBatches(data, batches.folder)
    assert (batches.data.measured_on, data.measured_on) == (data.window.name, f"{data.window.name} from each frame")
    for windows in framed.training:
        assert all(isinstance(track, FrameTrack) for track in windows.tracks)
    assert len(framed.training_batch(0, 0)[1]) == data.batch
    with pytest.raises(NoWindows, match="0 are too short and 3 too slow"):
        HandBatches(replace(data, rates=(3.0, 4.0)), batches.folder).steps_an_epoch()
