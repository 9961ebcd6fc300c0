"""Tests of the SE(3)-UNet's own graph: it answers as the network does in every structure that it knows, and an export writes it."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from clouds import SMALL, TWO_LEVELS, bumpy_cloud
from laws import perturbed

from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.landmarks.se3_unet import SE3UNet, SE3UNetConfig
from models.landmarks.se3_unet_graph import graph_of, laid_out
from models.layers.freezing import frozen
from models.scans.levels import levels
from training.engine.export import NotTheNetwork, checked_graph, onnx_runner, runner

TINY = SE3UNetConfig(channels=((4, 3), (5, 2), (6, 4)), hidden=8, votes=4)
SAME = 1e-6
STRUCTURES: dict[str, SE3UNetConfig] = {
    "as shipped": TINY,
    "one layer": replace(TINY, layers=1),
    "more functions": replace(TINY, functions=6, key_functions=3),
    "not handed": replace(TINY, handed=False),
    "another interpolation and sharpness": replace(TINY, distance_power=1.0, sharpness=2.0),
}


def network_of(config: SE3UNetConfig, task: FaceLandmarks = SMALL) -> SE3UNet:
    """Return a frozen network none of whose weights and fitted buffers is zero."""
    network = perturbed(config.build(task))
    assert isinstance(network, SE3UNet)
    generator = torch.Generator().manual_seed(1)
    confidence = network.confidence
    for fitted in (network.shape.weight, network.shape.bias, confidence.bias, confidence.scan, confidence.moved):
        fitted += 0.01 * torch.randn(fitted.shape, generator=generator)
    return frozen(network)


def inputs_of(*seeds: int, task: FaceLandmarks = SMALL) -> dict[str, np.ndarray]:
    """Return the tensors of clouds of different sizes and places, as a batch."""
    scans = [levels((1 + 0.1 * seed) * bumpy_cloud(300, seed), task).tensors for seed in seeds]
    return {name: np.concatenate([scan[name] for scan in scans]) for name in task.inputs}


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_graph_answers_as_the_network_alone_and_in_a_batch(name: str):
    network = network_of(STRUCTURES[name])
    graph, slow = onnx_runner(graph_of(network)), runner(network, SMALL)
    for inputs in (inputs_of(0), inputs_of(1, 2, 3)):
        answer, expected = graph(inputs), slow(inputs)
        assert answer.keys() == expected.keys()
        for output, value in expected.items():
            assert answer[output].dtype == value.dtype
            assert np.abs(answer[output] - value).max() <= SAME


@pytest.mark.parametrize("bias", [-150.0, 40.0])
def test_the_graph_weighs_points_whose_heatmaps_are_all_nearly_zero_or_one(bias: float):
    network = network_of(TINY)
    network.head.logits.bias.fill_(bias)
    network.head.logits.weight.mul_(5.0)
    inputs = inputs_of(0)
    answer, expected = onnx_runner(graph_of(network))(inputs), runner(network, SMALL)(inputs)
    assert np.abs(answer["landmarks"] - expected["landmarks"]).max() <= SAME
    assert np.abs(answer["confidence"] - expected["confidence"]).max() <= SAME


def test_the_graph_of_two_levels_turns_with_the_cloud():
    network = network_of(replace(TINY, channels=TINY.channels[:2]), TWO_LEVELS)
    graph, inputs = onnx_runner(graph_of(network)), inputs_of(0, task=TWO_LEVELS)
    turn = random_rotation(np.random.default_rng(0)).T
    turned = graph({**inputs, "points": inputs["points"] @ turn + [1.0, -2.0, 3.0]})
    straight = graph(inputs)
    assert np.abs(turned["landmarks"] - (straight["landmarks"] @ turn + [1.0, -2.0, 3.0])).max() <= SAME
    assert np.abs(turned["heatmaps"] - straight["heatmaps"]).max() <= 1e-5
    assert np.abs(graph({**inputs, "points": -inputs["points"]})["heatmaps"] - straight["heatmaps"]).max() > 1e-3


def test_an_export_writes_this_graph_and_refuses_it_if_it_is_not_the_networks(monkeypatch):
    network = network_of(replace(TINY, channels=TINY.channels[:2]), TWO_LEVELS)
    example = inputs_of(0, task=TWO_LEVELS)
    graph = checked_graph(network, example, network.symmetries, "made-up")
    drawn = graph_of(network)
    assert {x.name for x in onnx.load_from_string(graph).graph.node} == {
        x.name for x in onnx.load_from_string(drawn).graph.node
    }
    network.head.logits.weight.mul_(1.1)
    monkeypatch.setattr(SE3UNet, "onnx_graph", lambda self: drawn)
    with pytest.raises(NotTheNetwork, match="the ONNX graph of made-up differs from the network"):
        checked_graph(network, example, network.symmetries, "made-up")


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ((4, 3, 2), (5, 2, 1), (6, 4, 2))},
        {"harmonics": 2},
        {"votes": 0},
        {"nonlinearity": "norm"},
        {"pooling": "max"},
        {"skip": "concatenation"},
        {"literal": True},
        {"attentive": "last"},
    ],
)
def test_a_structure_that_the_graph_does_not_know_is_traced(change: dict[str, Any]):
    assert laid_out(TINY)
    assert replace(TINY, **change).build(SMALL).onnx_graph() is None
