"""Tests that every hand forecaster and its ONNX graph keep the symmetries that they claim, and that the checker detects violations."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from laws import (
    ALL,
    DOUBLE_M,
    LAWS,
    SINGLE_M,
    TASK,
    Law,
    as_function,
    hand_inputs,
    hand_motion,
    missing_from_tables,
    networks,
    networks_of,
    perturbed,
)
from torch import nn

from models.contract.symmetry import Tensors, largest_difference, violation
from models.contract.task import moves
from training.engine.export import Run, onnx_runner, to_onnx

pytestmark = pytest.mark.long(40)

TRIALS = 3
BROKEN_M = 1e-3  # a visible violation: a millimetre

every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
both_sizes = pytest.mark.parametrize("nodes", [21, 42])


def network_of(law: Law) -> Any:
    torch.manual_seed(0)
    return perturbed(law.build())


def single(inputs: Tensors) -> dict[str, np.ndarray]:
    return {name: x.astype(np.float32) for name, x in inputs.items()}


# --- the table ---


def test_every_network_is_in_the_table_of_laws():
    assert len(list(networks())) >= 2
    assert missing_from_tables(networks()) == set()


def test_a_network_that_is_not_in_the_table_is_detected():
    class Unlisted(nn.Module):
        def __init__(self, task: object) -> None:
            super().__init__()

    class Claiming(nn.Module):
        symmetries = ("rotation",)

    class Layer(nn.Module):
        pass

    module = types.ModuleType("models.forecast.unlisted")
    for cls in (Unlisted, Claiming, Layer):
        cls.__module__ = module.__name__
        setattr(module, cls.__name__, cls)
    names = missing_from_tables(networks_of(vars(module), module.__name__))
    assert {name.rpartition(".")[2] for name in names} == {"Unlisted", "Claiming"}


@every_law
def test_a_network_claims_the_symmetries_in_the_table(law: Law):
    assert law.build().symmetries == law.keeps


# --- the laws, on networks ---


@both_sizes
@every_law
def test_a_network_keeps_its_symmetries_in_single_precision_up_to_ten_metres_away(law: Law, nodes: int):
    network = network_of(law)
    inputs, how = single(hand_inputs(network.task, nodes)), moves(network.task)
    for symmetry in law.keeps:
        assert violation(as_function(network), symmetry, inputs, moves=how, trials=TRIALS) <= law.single_m


@both_sizes
@every_law
def test_a_network_keeps_its_symmetries_to_rounding_in_double_precision(law: Law, nodes: int):
    network = network_of(law).double()
    inputs, how = hand_inputs(network.task, nodes, batch=1), moves(network.task)
    for symmetry in law.keeps:
        assert violation(as_function(network), symmetry, inputs, moves=how, trials=TRIALS) <= DOUBLE_M


@both_sizes
@every_law
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(law: Law, nodes: int):
    network = network_of(law)
    inputs = single(hand_inputs(network.task, nodes, batch=3))
    inputs["past"][1] *= 3
    inputs["past"][2, :] = inputs["past"][2, :1]
    together = as_function(network)(inputs)
    for i in range(3):
        alone = as_function(network)({name: x[i : i + 1] for name, x in inputs.items()})
        assert largest_difference({name: x[i : i + 1] for name, x in together.items()}, alone) <= SINGLE_M


@every_law
def test_only_networks_without_tokens_commute_with_permutations_of_nodes(law: Law):
    network = network_of(law).double()
    inputs, order = hand_inputs(network.task, 42), np.random.default_rng(0).permutation(42)
    permuted = {name: x[:, :, order] for name, x in inputs.items()}
    straight, shuffled = (as_function(network)(x)["future"] for x in (inputs, permuted))
    apart = np.abs(shuffled - straight[..., order, :]).max()
    assert apart <= DOUBLE_M if law.any_order else apart > 1e-4


def test_perturbed_networks_forecast_motion():
    for name, law in LAWS.items():
        if name.startswith(("eqmotion", "hand means")):
            network = network_of(law)
            inputs = single(hand_inputs(network.task, 42))
            moved = as_function(network)(inputs)["future"] - inputs["past"][:, None, -1:]
            assert np.abs(moved).mean() > BROKEN_M, name


# --- the laws, on graphs ---


@pytest.fixture(scope="session", params=["eqmotion standard", "eqmotion reference", "hand means, masked, with spread"])
def exported(request: pytest.FixtureRequest) -> tuple[Law, Any, Run]:
    """Return a law, its perturbed network and a runner of that network's ONNX graph."""
    law = LAWS[request.param]
    network = network_of(law)
    return law, network, onnx_runner(to_onnx(network, single(hand_inputs(network.task, 42, batch=1))))


@both_sizes
@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_gives_the_answers_of_its_network(exported: tuple[Law, Any, Run], nodes: int, batch: int):
    _, network, graph = exported
    inputs = single(hand_inputs(network.task, nodes, batch=batch, seed=batch))
    answers = graph(inputs)
    assert answers["future"].shape == (batch, network.task.modes, TASK.future, nodes, 3)
    assert largest_difference(answers, as_function(network)(inputs)) <= SINGLE_M


@both_sizes
def test_a_graph_keeps_the_symmetries_of_its_network(exported: tuple[Law, Any, Run], nodes: int):
    law, network, graph = exported
    inputs, how = single(hand_inputs(network.task, nodes)), moves(network.task)
    for symmetry in law.keeps:
        assert violation(graph, symmetry, inputs, moves=how, trials=TRIALS) <= law.single_m


def test_the_answer_of_a_graph_does_not_depend_on_the_rest_of_the_batch(exported: tuple[Law, Any, Run]):
    _, network, graph = exported
    inputs = single(hand_inputs(network.task, 42, batch=3))
    together = graph(inputs)
    for i in range(3):
        alone = graph({name: x[i : i + 1] for name, x in inputs.items()})
        assert largest_difference({name: x[i : i + 1] for name, x in together.items()}, alone) <= 1e-6


# --- the checker, on functions that break the laws ---


def constant_velocity(past: np.ndarray) -> np.ndarray:
    return (2 * past[:, -1] - past[:, -2])[:, None]


def absolute_coordinates(past: np.ndarray) -> np.ndarray:
    return 0.9 * past[:, -1:]


def axis_by_axis(past: np.ndarray) -> np.ndarray:
    return past[:, -1:] + np.maximum(past[:, -1:] - past[:, -2:-1], 0)


def handed(past: np.ndarray) -> np.ndarray:
    """Move the last pose along a cross product, whose direction a mirror reverses."""
    one, two = past[:, -1:] - past[:, :1], past[:, -1:] - past[:, -3:-2]
    return past[:, -1:] + 100 * np.cross(one, two)


def gain_a_node(past: np.ndarray) -> np.ndarray:
    """Scale the velocity of each node by its own gain, so that the left and right hands differ."""
    gain = np.linspace(0, 2, past.shape[2])[:, None]
    return past[:, -1:] + gain * (past[:, -1:] - past[:, -2:-1])


def gain_a_joint(past: np.ndarray) -> np.ndarray:
    """Scale the velocity of each joint by its own gain, equal in both hands."""
    gain = np.tile(np.linspace(0, 2, 21), past.shape[2] // 21)[:, None]
    return past[:, -1:] + gain * (past[:, -1:] - past[:, -2:-1])


BREAKS: dict[Callable[[np.ndarray], np.ndarray], set[str]] = {
    constant_velocity: set(),
    gain_a_joint: set(),
    absolute_coordinates: {"translation"},
    axis_by_axis: {"rotation", "mirror-swap"},
    handed: {"mirror-swap"},
    gain_a_node: {"mirror-swap"},
}


@pytest.mark.parametrize("function", BREAKS, ids=lambda f: f.__name__)
def test_the_checker_reports_exactly_the_symmetries_that_a_function_breaks(function):
    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        return {"future": function(inputs["past"])}

    past = hand_motion(10, 42)
    for symmetry in ALL:
        apart = violation(run, symmetry, {"past": past}, trials=TRIALS)
        assert apart > BROKEN_M if symmetry in BREAKS[function] else apart <= DOUBLE_M, symmetry


def test_a_network_with_tokens_by_node_breaks_the_mirror_swap_and_does_not_claim_it():
    network = network_of(LAWS["eqmotion, tokens by node"]).double()
    past = hand_motion(TASK.past, 42)
    assert "mirror-swap" not in network.symmetries
    assert violation(as_function(network), "mirror-swap", {"past": past}, trials=TRIALS) > BROKEN_M


def test_a_function_that_answers_nan_breaks_every_law():
    past = {"past": hand_motion(TASK.past, 21)}
    for symmetry in ALL:
        apart = violation(lambda inputs: {"future": np.full_like(inputs["past"], np.nan)}, symmetry, past, trials=2)
        assert not apart <= BROKEN_M
