"""Tests that hold for every forecaster: its ONNX graph and TorchScript answer as it does, gradients reach every weight, untrained answers.

A network of models/forecast has a row in NETWORKS, of a size that exports in a second or two.
"""

import io
from typing import Any

import numpy as np
import pytest
import torch
from laws import as_function, hand_motion, perturbed
from torch import nn

from models.contract.task import HandForecast
from models.forecast.att import ATTConfig
from models.forecast.egnn import EGNNConfig
from models.forecast.enn import ENNConfig
from models.forecast.estgcn import ESTGCNConfig
from models.forecast.etnn import ETNNConfig
from models.forecast.gat import GATConfig
from models.forecast.gcn import GCNConfig
from models.forecast.gmn import GMNConfig
from models.forecast.gwnet import GWNetConfig
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, damped_velocity
from models.forecast.lstm import LSTMConfig
from models.forecast.ltd import LTDConfig
from models.forecast.simlpe import SiMLPeConfig
from models.forecast.temporal import TemporalConfig
from training.engine.export import Run, onnx_runner, runner, to_onnx, to_torchscript

# torch deprecates TorchScript; a bundle can have it beside the graph
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

TASK = HandForecast(past=5, future=4, fps=30)
MODES = TASK.model_copy(update={"modes": 3})
ROUNDING_M = 1e-5


class DampedVelocityConfig:
    """The config of a forecast without weights, which is built as a network is."""

    def build(self, task: HandForecast) -> nn.Module:
        return LinearForecast(task, damped_velocity(task, 0.8))


NETWORKS: dict[str, Any] = {
    "damped velocity": DampedVelocityConfig(),
    "gwnet": GWNetConfig(channels=4, skip=6, end=6, blocks=2),
    "temporal": TemporalConfig(hidden=6, layers=1),
    "gcn": GCNConfig(hidden=6, layers=1),
    "gat": GATConfig(hidden=6, layers=1, attentions=1),
    "lstm": LSTMConfig(hidden=6),
    "simlpe": SiMLPeConfig(blocks=2, residual=False),
    "ltd": LTDConfig(hidden=6, blocks=1, residual=False),
    "enn": ENNConfig(hidden=4),
    "etnn": ETNNConfig(channels=4, hidden=6, layers=1),
    "egnn": EGNNConfig(hidden=4),
    "estgcn": ESTGCNConfig(hidden=4, layers=1),
    "att": ATTConfig(hidden=4, layers=1),
    "hand means": HandMeansConfig(channels=4, hidden=6, layers=1, products=2),
    # One export of GMN takes ten seconds; this graph contains those of GMN without memory and with a memory of vectors.
    "lstm_inv": GMNConfig(hidden=4, layers=1, memory="invariants"),
}
RESIDUAL: dict[str, Any] = {
    "gwnet": GWNetConfig(channels=4, skip=6, end=6, blocks=2, residual=True),
    "temporal": TemporalConfig(hidden=6, layers=1, residual=True),
    "gcn": GCNConfig(hidden=6, layers=1, residual=True),
    "gat": GATConfig(hidden=6, layers=1, attentions=1, residual=True),
    "lstm": LSTMConfig(hidden=6, residual=True),
    "simlpe": SiMLPeConfig(blocks=2),
    "ltd": LTDConfig(hidden=6, blocks=1),
}


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return perturbed(NETWORKS[name].build(TASK))


def assert_equal_at_all_sizes(network: nn.Module, graph: Run) -> None:
    for nodes in (21, 42):
        for batch in (1, 3):
            past = hand_motion(TASK.past, nodes, batch=batch, seed=batch).astype(np.float32)
            answers = graph({"past": past})["future"]
            assert answers.shape == (batch, 1, TASK.future, nodes, 3)
            assert np.abs(answers - as_function(network)({"past": past})["future"]).max() <= ROUNDING_M


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_answers_as_its_network_for_one_hand_and_two_alone_and_in_a_batch(name: str):
    network = network_of(name)
    graph = to_onnx(network, {"past": hand_motion(TASK.past, 42, batch=1).astype(np.float32)})
    assert_equal_at_all_sizes(network, onnx_runner(graph))


@pytest.mark.parametrize("name", NETWORKS)
def test_torchscript_answers_as_its_network_for_one_hand_and_two_alone_and_in_a_batch(name: str):
    network = network_of(name)
    script = to_torchscript(network, {"past": hand_motion(TASK.past, 42, batch=1).astype(np.float32)})
    assert_equal_at_all_sizes(network, runner(torch.jit.load(io.BytesIO(script)), TASK))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "damped velocity"])
def test_the_gradient_reaches_every_weight(name: str):
    network = network_of(name)
    past = torch.tensor(hand_motion(TASK.past, 42), dtype=torch.float32)
    network(past).square().sum().backward()
    without = [weights for weights, x in network.named_parameters() if x.grad is None or not x.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("name", RESIDUAL)
def test_an_untrained_network_with_a_residual_repeats_the_last_pose_and_its_modes_nearly_do(name: str):
    network, past = RESIDUAL[name].build(MODES).eval(), hand_motion(TASK.past, 42).astype(np.float32)
    moved = np.abs(as_function(network)({"past": past})["future"] - past[:, None, -1:])
    assert moved[:, 0].max() <= 1e-6
    assert 1e-6 < moved[:, 1:].mean() < 0.02
    assert not np.allclose(moved[:, 1], moved[:, 2], atol=1e-6)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_residual_adds_the_last_pose_to_the_same_output(name: str):
    past = hand_motion(TASK.past, 42).astype(np.float32)
    with_it, without = RESIDUAL[name].build(TASK), NETWORKS[name].build(TASK)
    with_it.load_state_dict(without.state_dict())
    answers, absolute = (as_function(network.eval())({"past": past})["future"] for network in (with_it, without))
    last = past[:, -1:] - past[:, -1:].mean(axis=2, keepdims=True)
    np.testing.assert_allclose(answers, absolute + last[:, None], atol=1e-5)
