"""Tests that hold for every equivariant network of the published comparison: its size, its untrained answer, and large gains."""

from typing import Any

import numpy as np
import pytest
import torch
from laws import MODES, TASK, as_function, hand_motion, perturbed
from torch import nn

from models.contract.symmetry import violation
from models.contract.task import HandForecast
from models.forecast.att import ATTConfig
from models.forecast.egnn import EGNNConfig
from models.forecast.enn import ENNConfig
from models.forecast.estgcn import ESTGCNConfig
from models.forecast.etnn import ETNNConfig
from models.forecast.gmn import GMNConfig

PUBLISHED: dict[str, tuple[Any, int, int]] = {  # the published size, and ours
    "enn": (ENNConfig(), 3_000, 3_101),
    "etnn": (ETNNConfig(), 17_000, 16_288),
    "egnn": (EGNNConfig(), 17_000, 15_958),
    "estgcn": (ESTGCNConfig(), 44_000, 45_778),
    "att": (ATTConfig(), 42_000, 41_727),
    "gmn": (GMNConfig(), 27_000, 24_756),
    "lstm (gmn)": (GMNConfig(memory="vectors"), 33_000, 31_572),
    "lstm_inv": (GMNConfig(memory="invariants"), 33_000, 31_572),
}

every_network = pytest.mark.parametrize("name", PUBLISHED)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@every_network
def test_a_network_has_its_published_size_from_a_second_to_a_second(name: str):
    config, published, ours = PUBLISHED[name]
    assert count(config.build(HandForecast(past=60, future=60, fps=60))) == ours
    assert abs(ours / published - 1) < 0.1


@every_network
def test_an_untrained_network_repeats_the_last_pose_and_its_further_modes_differ(name: str):
    network, past = PUBLISHED[name][0].build(MODES), hand_motion(MODES.past, 42).astype(np.float32)
    moved = np.abs(as_function(network)({"past": past})["future"] - past[:, None, -1:])
    assert moved[:, 0].max() <= 1e-6
    assert 1e-6 < moved[:, 1:].mean() < 0.05
    assert not np.allclose(moved[:, 1], moved[:, 2], atol=1e-6)


@every_network
def test_a_network_learns_from_a_read_out_of_zero(name: str):
    network = PUBLISHED[name][0].build(TASK)
    past = torch.tensor(hand_motion(TASK.past, 21, batch=4), dtype=torch.float32)
    future = (
        past[:, None, -1:] + (past[:, None, -1:] - past[:, None, -2:-1]) * torch.linspace(0.5, 4, 10)[:, None, None]
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = (network(past) - future).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0], losses


@every_network
def test_large_gains_do_not_break_a_symmetry(name: str):
    network: Any = perturbed(PUBLISHED[name][0].build(TASK)).double()
    with torch.no_grad():
        for part, parameter in network.named_parameters():
            if "gains" in part or part == "read_out.weight":
                parameter *= 1e3
    past = hand_motion(TASK.past, 42, batch=1)
    size = np.abs(as_function(network)({"past": past})["future"]).max()
    if name in ("egnn", "estgcn", "att", "etnn"):
        assert size > 100  # as much as the authors' limit on each axis, in metres
    for symmetry in network.symmetries:
        assert violation(as_function(network), symmetry, {"past": past}, trials=2) <= 1e-8 * max(size, 1)
