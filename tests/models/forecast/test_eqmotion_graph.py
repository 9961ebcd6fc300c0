"""Tests of EqMotion's own graph: it answers as the network does, in every structure that it knows, and it is what an export writes."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from laws import hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.eqmotion import NODES, REFERENCE, STANDARD, EqMotion, EqMotionConfig
from models.forecast.eqmotion_graph import graph_of, laid_out, pair_rows, steps_of
from training.engine.export import NotTheNetwork, checked_graph, onnx_runner, runner, to_onnx

TASK = HandForecast(past=5, future=4, fps=30)
SMALL = replace(STANDARD, channels=4, hidden=6)
SAME_M = 1e-6
STRUCTURES: dict[str, EqMotionConfig] = {
    "standard": SMALL,
    "as shipped": replace(SMALL, centred_nonlinearity=True, activated_features=False),
    "one layer": replace(SMALL, layers=1),
    "three layers and categories": replace(SMALL, layers=3, categories=3),
    "an expert for every category": replace(SMALL, experts=4, temperature=0.5),
    "node tokens": replace(SMALL, tokens="node"),
    "no tokens": replace(SMALL, tokens="none", residual_features=False),
}


def network_of(config: EqMotionConfig, task: HandForecast = TASK) -> EqMotion:
    network = perturbed(config.build(task)).eval()
    assert isinstance(network, EqMotion)
    return network


def motion(nodes: int, batch: int = 1) -> dict[str, np.ndarray]:
    return {"past": hand_motion(TASK.past, nodes, batch=batch).astype(np.float32)}


@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("name", STRUCTURES)
def test_the_graph_answers_as_the_network_for_one_hand_and_two_alone_and_in_a_batch(name: str, modes: int):
    task = TASK.model_copy(update={"modes": modes})
    network = network_of(STRUCTURES[name], task)
    graph, slow = onnx_runner(graph_of(network)), runner(network, task)
    for nodes in (21, 42):
        for batch in (1, 3):
            inputs = motion(nodes, batch)
            assert np.abs(graph(inputs)["future"] - slow(inputs)["future"]).max() <= SAME_M


def test_an_export_writes_this_graph_and_refuses_it_if_it_is_not_the_networks(monkeypatch):
    network = network_of(SMALL)
    graph = checked_graph(network, motion(42), network.symmetries, "made-up")
    assert {node.name for node in onnx.load_from_string(graph).graph.node} == {
        node.name for node in onnx.load_from_string(graph_of(network)).graph.node
    }
    other = graph_of(network_of(SMALL, TASK.model_copy(update={"fps": 60.0})))
    monkeypatch.setattr(EqMotion, "onnx_graph", lambda self: other)
    with torch.no_grad():
        network.read_out.weight.mul_(1.1)
    with pytest.raises(NotTheNetwork, match="the ONNX graph of made-up differs from the network"):
        checked_graph(network, motion(42), network.symmetries, "made-up")


@pytest.mark.parametrize(
    "change",
    [{"dct": True}, {"place_features": True}, {"residual_output": False}, {"relative_epsilons": False}, {"experts": 0}],
)
def test_a_structure_that_the_graph_does_not_know_is_traced(change: dict[str, Any]):
    assert laid_out(SMALL)
    assert not laid_out(REFERENCE)
    network = network_of(replace(SMALL, layers=1, **change))
    assert network.onnx_graph() is None
    graph = onnx_runner(to_onnx(network, motion(42)))
    assert np.abs(graph(motion(21))["future"] - runner(network, TASK)(motion(21))["future"]).max() <= 1e-5


def test_the_graph_keeps_the_weights_by_name():
    network = network_of(SMALL)
    constants = {
        x.name: onnx.numpy_helper.to_array(x) for x in onnx.load_from_string(graph_of(network)).graph.initializer
    }
    unread = {name for name in network.state_dict() if name not in constants}
    assert {name.rsplit(".", 2)[0] for name in unread} == {"layers.1.pair_second", "layers.1.node"}
    for name, weight in network.state_dict().items():
        if name not in unread:
            np.testing.assert_array_equal(constants[name], weight.numpy())


@pytest.mark.parametrize("nodes", [21, 42])
def test_the_first_rows_are_the_pairs_of_the_first_nodes_each_once(nodes: int):
    first, second, of = pair_rows(NODES)
    rows = 1 + nodes * (nodes - 1) // 2
    assert {(i, j) for i, j in zip(first[1:rows], second[1:rows], strict=True)} == {
        (i, j) for j in range(nodes) for i in range(j)
    }
    assert of[:nodes, :nodes].max() == rows - 1
    assert (of == of.T).all()
    assert (of.diagonal() == 0).all()
    assert of.shape == (NODES, NODES)


def test_matrices_make_velocities_and_those_a_frame_before():
    x = torch.arange(10.0).reshape(2, 5).square()
    steps, before = steps_of(5)
    v = x @ steps
    assert torch.equal(v[:, 1:], x[:, 1:] - x[:, :-1])
    assert torch.equal(v[:, 0], v[:, 1])
    assert torch.equal(v @ before, torch.cat([v[:, :1], v[:, :-1]], dim=1))
