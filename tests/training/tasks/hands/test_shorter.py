"""Tests of a forecaster with a shorter past and future than its network: it is the network that was not shown the earlier frames."""

import numpy as np
import pytest
import torch
from laws import hand_motion

from models.contract.task import HandForecast
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, hold
from training.tasks.hands.shorter import Shorter

TASK = HandForecast(past=9, future=6, fps=30, modes=2, masked=True, spread=True)


def test_a_shorter_forecaster_is_the_network_that_has_not_seen_the_earlier_frames():
    network = HandMeansConfig(channels=4, hidden=6, layers=1, products=2).build(TASK)
    shorter = Shorter(network, past=4, future=3)
    past = torch.from_numpy(hand_motion(9, 42).astype(np.float32))
    seen = torch.ones(2, 9, 42)
    seen[:, :5] = 0
    with torch.no_grad():
        whole, short = network(past, seen), shorter(past[:, 5:], seen[:, 5:])
    assert (shorter.task.past, shorter.task.future) == (4, 3)
    for found, expected in zip(short, (whole[0][:, :, :3], whole[1][:, :3], whole[2]), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("past", "future"), [(10, 3), (4, 7)])
def test_a_longer_past_or_future_is_refused(past: int, future: int):
    with pytest.raises(ValueError, match="at least"):
        Shorter(HandMeansConfig(channels=4, hidden=6, layers=1, products=2).build(TASK), past, future)


def test_a_forecaster_that_must_see_everything_is_refused():
    task = HandForecast(past=9, future=6, fps=30)
    with pytest.raises(ValueError, match="an unmasked one"):
        Shorter(LinearForecast(task, hold(task)), 4, 3)
