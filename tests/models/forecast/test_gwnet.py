"""Tests of Graph WaveNet without its graph: the published size, its receptive field, and a symmetry that it breaks."""

import numpy as np
import torch
from laws import as_function, hand_motion, perturbed

from models.contract.symmetry import violation
from models.contract.task import HandForecast
from models.forecast.gwnet import GWNetConfig

SMALL = GWNetConfig(channels=4, skip=6, end=6)
LAST_RESIDUAL = (
    32 * 32 + 32 + 2 * 32
)  # a map and a normalisation of the authors' last layer, on which no output depends


def test_the_default_has_the_published_size_from_a_second_to_a_second_without_the_unused_weights():
    network = GWNetConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) + LAST_RESIDUAL == 333_876


def test_the_forecast_depends_on_the_last_thirteen_frames_and_on_each_of_them():
    network = perturbed(SMALL.build(HandForecast(past=20, future=2, fps=30)))
    past = torch.tensor(hand_motion(20, 21), dtype=torch.float32, requires_grad=True)
    network(past).square().sum().backward()
    assert past.grad is not None
    reached = past.grad.abs().amax(dim=(0, 2, 3)) > 0
    assert reached.tolist() == [False] * 7 + [True] * 13


def test_a_past_shorter_than_the_receptive_field_is_preceded_by_its_first_frame():
    past = hand_motion(5, 42).astype(np.float32)
    long = np.concatenate([past[:, :1].repeat(15, axis=1), past], axis=1)
    short_network, long_network = (SMALL.build(HandForecast(past=n, future=2, fps=30)).eval() for n in (5, 20))
    long_network.load_state_dict(short_network.state_dict())
    short, padded = (as_function(n)({"past": x})["future"] for n, x in ((short_network, past), (long_network, long)))
    np.testing.assert_allclose(short, padded, atol=1e-6)


def test_a_rotated_past_does_not_give_the_rotated_forecast():
    network, past = perturbed(SMALL.build(HandForecast(past=8, future=2, fps=30))), hand_motion(8, 21)
    run = as_function(network.double())
    assert violation(run, "rotation", {"past": past}) > 1e-3
    assert violation(run, "mirror-swap", {"past": past}) > 1e-3
