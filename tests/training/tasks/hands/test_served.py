"""Tests of a forecaster at another rate: it sees and answers what the service makes of the same frames."""

import numpy as np
import pytest
import torch
from laws import hand_motion

from models.contract.task import HandForecast
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, constant_velocity
from models.motion.hands import future_at
from models.motion.partial_hands import partial_window
from training.tasks.hands.served import Served

SLOW = HandForecast(past=5, future=4, fps=30, modes=2, masked=True, spread=True)
NETWORK = HandMeansConfig(channels=4, hidden=6, layers=1, products=2)


def test_the_answer_is_the_one_of_the_service_for_the_same_frames():
    torch.manual_seed(0)
    network = NETWORK.build(SLOW)
    clip = hand_motion(12, 42).astype(np.float32)[:1]
    seen = np.ones((1, 12, 42), np.float32)
    with torch.no_grad():
        answer = Served(network, 12, 6, 60)(torch.from_numpy(clip), torch.from_numpy(seen))[0, 0].numpy()
        joints = clip[0].reshape(12, 2, 21, 3).astype(np.float64)
        past = partial_window(joints, seen[0].reshape(12, 2, 21) > 0, np.arange(12) / 60, 5, 30, 0.05).joints
        own = network(torch.from_numpy(past.reshape(1, 5, 42, 3)).float(), torch.ones(1, 5, 42))[0][0, 0].numpy()
    served = future_at(clip[0, -1], own, 30, np.arange(1, 7) / 60)
    np.testing.assert_allclose(answer, served, atol=1e-6)


def test_frames_before_the_first_count_as_not_seen():
    torch.manual_seed(0)
    network = NETWORK.build(SLOW)
    clip = torch.from_numpy(hand_motion(4, 21).astype(np.float32))
    seen = torch.ones(2, 4, 21)
    with torch.no_grad():
        answer = Served(network, 4, 8, 60)(clip, seen)
        padded = torch.cat([clip[:, :1].expand(-1, 3, -1, -1), clip[:, 1::2]], dim=1)
        own = network(padded, torch.tensor([0.0, 0, 0, 1, 1])[None, :, None].expand(2, 5, 21))[0]
    torch.testing.assert_close(answer[:, :, 1::2], own, atol=1e-6, rtol=1e-5)


def test_a_forecaster_of_the_same_rate_keeps_its_answer():
    task = HandForecast(past=3, future=2, fps=60)
    linear = LinearForecast(task, constant_velocity(task))
    clip = torch.from_numpy(hand_motion(6, 21).astype(np.float32))
    torch.testing.assert_close(Served(linear, 6, 2, 60)(clip), linear(clip[:, 3:]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("future", "fps"), [(9, 60.0), (2, 45.0), (1, 15.0)])
def test_another_rate_or_a_longer_future_is_refused(future: int, fps: float):
    with pytest.raises(ValueError, match="a multiple of 30 fps"):
        Served(NETWORK.build(SLOW), 12, future, fps)
