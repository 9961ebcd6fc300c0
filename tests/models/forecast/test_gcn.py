"""Tests of the graph convolutional network: its size, its first adjacency, and joints that see others through it."""

import numpy as np
import torch
from laws import as_function, hand_motion

from models.contract.task import HandForecast
from models.forecast.gcn import GCNConfig, normalised_bones
from models.skeletons.hand import HAND_PAIR


def test_the_default_has_the_published_17k_weights_from_a_second_to_a_second():
    network = GCNConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) == 16_664


def test_the_first_adjacency_joins_bones_and_keeps_the_root_of_the_degrees():
    adjacency = normalised_bones().double()
    assert torch.equal(adjacency, adjacency.T)
    joined = {(i, j) for i, j in adjacency.nonzero().tolist() if i < j}
    assert joined == {(min(bone), max(bone)) for bone in HAND_PAIR.bones}
    degrees = torch.tensor([1 + sum(i in bone for bone in HAND_PAIR.bones) for i in range(42)]).double()
    torch.testing.assert_close(adjacency @ degrees.sqrt(), degrees.sqrt(), atol=1e-6, rtol=0)


def test_a_joint_sees_as_many_bones_away_as_there_are_layers():
    thumb, ip, tip = (HAND_PAIR.joints.index(f"left_thumb_{part}") for part in ("mcp", "ip", "tip"))
    past = hand_motion(8, 42).astype(np.float32)
    moved = past.copy()
    moved[:, :, tip, 0] += 0.1
    moved[:, :, 41, 0] -= 0.1  # keeps the centre; in the other hand
    for layers, seen in ((1, {tip, ip}), (2, {tip, ip, thumb})):
        torch.manual_seed(0)
        network = GCNConfig(hidden=16, layers=layers).build(HandForecast(past=8, future=2, fps=30))
        before, after = (as_function(network)({"past": x})["future"] for x in (past, moved))
        differs = np.abs(after - before).max(axis=(0, 1, 2, 4))[:21] > 1e-6
        assert set(np.flatnonzero(differs).tolist()) == seen


def test_one_hand_is_served_as_two_equal_ones():
    network = GCNConfig(hidden=6).build(HandForecast(past=8, future=2, fps=30))
    past = hand_motion(8, 21).astype(np.float32)
    one, two = (as_function(network)({"past": x})["future"] for x in (past, np.concatenate([past, past], axis=2)))
    np.testing.assert_allclose(one, two[..., :21, :], atol=1e-6)
