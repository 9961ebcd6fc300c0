"""Tests of the recurrent baseline: its size, and its use of every frame and of every joint."""

import torch
from laws import hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.lstm import LSTMConfig


def test_the_default_has_the_published_558k_weights_from_a_second_to_a_second():
    network = LSTMConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) == 558_216


def test_the_forecast_of_a_joint_depends_on_every_frame_of_every_joint():
    network = perturbed(LSTMConfig(hidden=16).build(HandForecast(past=12, future=2, fps=30)))
    past = torch.tensor(hand_motion(12, 42), dtype=torch.float32, requires_grad=True)
    network(past)[..., 3, :].square().sum().backward()
    assert past.grad is not None
    assert (past.grad.abs().amax(dim=(0, 3)) > 0).all()
