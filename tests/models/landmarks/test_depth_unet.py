"""Tests of landmark networks on depth maps: the laws of their groups, negative controls, graphs and learning."""

from typing import Any

import numpy as np
import pytest
import torch
from laws import DOUBLE_M, MAP, MAP_LAWS, SINGLE_M, Law, perturbed

from models.contract.symmetry import Tensors, violation
from models.contract.task import check_inputs, check_outputs, moves
from models.layers.freezing import frozen
from training.engine.export import Run, onnx_runner, runner, to_onnx
from training.tasks.faces.losses import MapLoss

pytestmark = pytest.mark.long(40)

every_law = pytest.mark.parametrize("law", MAP_LAWS.values(), ids=MAP_LAWS)
SYMMETRIES = ("quarter-turn", "map-mirror")
VISIBLE_M = 1e-4


def network_of(name: str) -> Any:
    torch.manual_seed(0)
    return perturbed(MAP_LAWS[name].build(), by=0.1)


def maps(dtype: type = np.float32, batch: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    depth = 0.02 * rng.normal(size=(batch, MAP.size, MAP.size))
    return {"depth": depth.astype(dtype), "seen": rng.random(depth.shape).astype(dtype)}


def breaks(run: Run, symmetry: str, inputs: Tensors) -> float:
    return violation(run, symmetry, inputs, moves=moves(MAP), trials=3)


@every_law
def test_a_network_claims_and_keeps_the_symmetries_in_the_table(law: Law):
    torch.manual_seed(0)
    network = perturbed(law.build(), by=0.1)
    assert network.symmetries == law.keeps
    for symmetry in law.keeps:
        assert breaks(runner(network.float(), MAP), symmetry, maps()) <= law.single_m
        assert breaks(runner(network.double(), MAP), symmetry, maps(np.float64)) <= DOUBLE_M


@every_law
def test_a_network_violates_the_symmetries_that_it_does_not_claim(law: Law):
    torch.manual_seed(0)
    run = runner(perturbed(law.build(), by=0.1), MAP)
    for symmetry in set(SYMMETRIES) - set(law.keeps):
        assert breaks(run, symmetry, maps()) > VISIBLE_M


@pytest.mark.parametrize("name", MAP_LAWS)
def test_answers_have_the_shapes_of_the_task_and_vary_over_the_map(name: str):
    answer = runner(network_of(name), MAP)(maps())
    check_inputs(MAP, maps(), name)
    check_outputs(MAP, answer, name)
    assert answer["heatmaps"].std(axis=(2, 3)).min() > 0
    assert np.ptp(answer["landmarks"], axis=1).min() > VISIBLE_M


def test_landmarks_follow_the_depth_and_heatmaps_do_not():
    network, inputs = network_of("depth u-net, quarter turns").double(), maps(np.float64)
    straight = runner(network, MAP)(inputs)
    moved = runner(network, MAP)({**inputs, "depth": inputs["depth"] + 0.3})
    np.testing.assert_allclose(moved["landmarks"], straight["landmarks"] + [0, 0, 0.3], atol=1e-9)
    np.testing.assert_allclose(moved["heatmaps"], straight["heatmaps"], atol=1e-9)


@pytest.mark.parametrize("name", ["depth u-net, eighths of a turn", "depth u-net, quarter turns and mirror"])
def test_a_graph_gives_the_answers_of_its_network_and_keeps_its_symmetries(name: str):
    network = network_of(name)
    graph = onnx_runner(to_onnx(frozen(network), maps(batch=1)))
    for batch in (1, 3):
        expected = runner(network, MAP)(maps(batch=batch))
        for output, answer in graph(maps(batch=batch)).items():
            assert np.abs(answer - expected[output]).max() <= SINGLE_M
    for symmetry in network.symmetries:
        assert breaks(graph, symmetry, maps()) <= SINGLE_M


def test_networks_of_larger_groups_are_as_wide_and_have_fewer_weights():
    weights = [
        sum(p.numel() for p in network_of(f"depth u-net, {name}").parameters())
        for name in ("plain", "mirror", "quarter turns", "quarter turns and mirror")
    ]
    assert weights == sorted(weights, reverse=True)


def test_the_loss_falls_in_a_few_steps():
    network, inputs = network_of("depth u-net, eighths of a turn").train(), maps()
    tensors = [torch.from_numpy(x) for x in inputs.values()]
    target = 0.03 * torch.randn(2, 68, 3, generator=torch.Generator().manual_seed(0)).double()
    loss, optimiser = MapLoss(MAP), torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        value = loss(network(*tensors), target, *tensors)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.95 * losses[0]
