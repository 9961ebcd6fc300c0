"""Tests that forecasters of skeletons of one's own, and their graphs, keep the symmetries that they claim."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from laws import ALL, DOUBLE_M, MASKED, SINGLE_M, TASK, as_function, hand_inputs, perturbed
from own_skeletons import SKELETONS

from models.contract.symmetry import violation
from models.contract.task import HandForecast, moves
from models.forecast.eqmotion import STANDARD, EqMotionConfig
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, damped_velocity
from models.skeletons.own import OwnSkeleton
from training.engine.export import onnx_runner, to_onnx

TRIALS = 3
BROKEN_M = 10 * SINGLE_M  # of a small read-out: ten times what rounding may do
SMALL = HandMeansConfig(channels=8, hidden=12, products=4, layers=1)
NETWORKS: dict[str, tuple[HandForecast, Callable[[HandForecast], Any]]] = {
    "hand means": (TASK, SMALL.build),
    "hand means, masked": (MASKED, SMALL.build),
    "eqmotion": (TASK, STANDARD.build),
    "eqmotion, traced": (TASK, EqMotionConfig(dct=True).build),
    "damped velocity": (TASK, lambda task: LinearForecast(task, damped_velocity(task, 0.8))),
}


def built(network: str, skeleton: OwnSkeleton) -> Any:
    torch.manual_seed(0)
    task, build = NETWORKS[network]
    return perturbed(build(task.on(skeleton)))


@pytest.mark.parametrize("bodies", [1, 2])
@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_of_any_skeleton_keeps_its_symmetries(network: str, skeleton: OwnSkeleton, bodies: int):
    one = built(network, skeleton).double()
    inputs = hand_inputs(one.task, bodies * len(skeleton.joints), batch=1)
    for symmetry in ALL:
        assert violation(as_function(one), symmetry, inputs, moves=moves(one.task), trials=TRIALS) <= DOUBLE_M


@pytest.mark.parametrize(  # tracing takes seconds; EqMotion draws its own graph
    ("network", "skeleton"),
    [
        ("hand means, masked", "tail"),
        ("hand means, masked", "puppet"),
        ("eqmotion", "sixteen"),
        ("eqmotion", "tail"),
        ("eqmotion", "puppet"),
        ("eqmotion, traced", "puppet"),
    ],
)
def test_its_graph_is_the_network_and_keeps_them_too(network: str, skeleton: str):
    one = built(network, SKELETONS[skeleton])
    example = hand_inputs(one.task, 2 * len(SKELETONS[skeleton].joints), batch=1)
    graph = onnx_runner(to_onnx(one, {name: x.astype(np.float32) for name, x in example.items()}))
    for bodies in (1, 2):
        inputs = hand_inputs(one.task, bodies * len(SKELETONS[skeleton].joints))
        inputs = {name: x.astype(np.float32) for name, x in inputs.items()}
        for name, expected in as_function(one)(inputs).items():
            np.testing.assert_allclose(graph(inputs)[name], expected, atol=1e-5)
        for symmetry in ALL:
            assert violation(graph, symmetry, inputs, moves=moves(one.task), trials=TRIALS) <= SINGLE_M


def test_a_network_that_tells_left_from_right_breaks_the_mirror_of_a_body_with_two_sides():
    puppet = SKELETONS["puppet"]
    one_sided = puppet.model_copy(update={"mirror": ()})
    for network in ("hand means", "eqmotion"):
        one = built(network, one_sided)
        inputs = hand_inputs(one.double().task, len(puppet.joints))
        assert violation(as_function(one), "mirror-swap", inputs, moves=moves(one.task)) <= DOUBLE_M
        assert violation(as_function(one), "mirror-swap", inputs, moves=moves(one.task.on(puppet))) > BROKEN_M


def test_bodies_of_the_forecast_change_places_with_those_of_the_past():
    one = built("eqmotion", SKELETONS["tail"]).double()
    past = hand_inputs(one.task, 14)["past"]
    swap = [*range(7, 14), *range(7)]
    answer, swapped = (as_function(one)({"past": x})["future"] for x in (past, past[:, :, swap]))
    np.testing.assert_allclose(swapped, answer[..., swap, :], atol=DOUBLE_M)
