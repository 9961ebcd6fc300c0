"""Tests of epochs by the second: their size, their phases, and that two-hand windows alone are shown."""

from pathlib import Path

import numpy as np
import pytest

from training.tasks.hands.epochs import EpochBatches, EpochData
from training.tasks.hands.windows import Window

WINDOW = Window(past=6, future=6, fps=30)


@pytest.fixture
def batches(synthetic_data: Path) -> EpochBatches:
    return EpochData(("leap", "tzionas"), WINDOW, batch=3, every_s=0.2, limit=4).load(synthetic_data)


def starts(batches: EpochBatches, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the first joint of the first frame of each window of an epoch, batch by batch."""
    steps = batches.steps_an_epoch()
    taken = [batches.training_batch(seed, epoch * steps + step) for step in range(steps)]
    return [inputs["past"][:, 0, 0] for inputs, _ in taken]


def test_an_epoch_has_a_window_for_every_so_many_seconds_of_each_recording(batches: EpochBatches):
    """The recordings of two hands last 59 and 29 frames; that of one hand has no window."""
    assert batches.shares == [10, 0, 5]
    assert (batches.windows_an_epoch(), batches.steps_an_epoch()) == (15, 5)
    shown = starts(batches, 0, 0)
    assert [len(batch) for batch in shown] == [3] * 5
    assert len(np.unique(np.concatenate(shown), axis=0)) == 15


def test_batches_show_two_hands_as_they_were_recorded(batches: EpochBatches):
    inputs, target = batches.training_batch(0, 0)
    assert (inputs["past"].shape, target.shape) == ((3, 6, 42, 3), (3, 6, 42, 3))
    (windows,) = batches.training
    past, _ = windows.past_future(np.arange(len(windows)))
    assert all((past == one).all(axis=(1, 2, 3)).any() for one in inputs["past"])


def test_each_epoch_begins_at_another_phase_and_depends_on_the_seed_alone(batches: EpochBatches):
    first, second, again, other = (starts(batches, *at) for at in ((0, 0), (0, 1), (0, 0), (1, 0)))
    assert np.array_equal(first, again)
    assert not np.array_equal(np.sort(np.concatenate(first), axis=0), np.sort(np.concatenate(second), axis=0))
    assert not np.array_equal(first, other)


def test_validation_is_thinned_and_has_two_hands_alone(batches: EpochBatches):
    """The recording of tzionas for validation shows one hand."""
    found = list(batches.validation_batches())
    assert {source for source, _ in found} == {"leap"}
    assert 4 <= sum(len(target) for _, (_, target) in found) <= 5
    assert all(target.shape[2] == 42 for _, (_, target) in found)


def test_fewer_windows_than_a_batch_make_one_batch(synthetic_data: Path):
    batches = EpochData(("tzionas",), WINDOW, batch=16, every_s=0.5).load(synthetic_data)
    assert (batches.windows_an_epoch(), batches.steps_an_epoch()) == (2, 1)
    assert len(batches.training_batch(0, 7)[1]) == 2
