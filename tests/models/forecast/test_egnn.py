"""Tests of EGNN: equality with the equations in a loop over pairs."""

import torch
from laws import perturbed
from torch import Tensor

from models.contract.task import HandForecast
from models.forecast.egnn import EGNN, EGNNConfig, EGNNLayer
from models.layers.trajectories import UNIT_S

TASK = HandForecast(past=5, future=3, fps=30)


def layer_in_a_loop(layer: EGNNLayer, h: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return h (nodes, D) and x (nodes, 3) after a layer: equations 3 to 7 of the paper."""
    messages, first = layer.messages, layer.messages.first
    nodes, new_h, new_x = len(h), h.clone(), x.clone()
    for i in range(nodes):
        received = torch.zeros_like(h[i])
        for j in range(nodes):
            if j == i:
                continue
            square = (x[i] - x[j]).square().sum()
            m = first.of_i(h[i]) + first.of_j(h[j]) + first.of_distance.weight.flatten() * square
            m = messages.second(m[None, :, None, None])
            new_x[i] += (x[i] - x[j]) * messages.gains(m).flatten() / (nodes - 1)
            received += m.flatten()
        new_x[i] += layer.of_velocity(h[i]) * v[i]
        if layer.node is not None:
            new_h[i] += layer.node(torch.cat([h[i], received]))
    return new_h, new_x


def network_in_a_loop(network: EGNN, past: Tensor) -> Tensor:
    """Return the future (future, nodes, 3) of one clip (past, nodes, 3)."""
    steps = past.diff(dim=0) * 10 * TASK.fps * UNIT_S
    steps = torch.cat([steps[:1], steps])
    x = last = past[-1] * 10
    h = network.embed(steps.norm(dim=2).T)
    vectors = [steps[-1]]
    for layer in network.layers:
        h, x = layer_in_a_loop(layer, h, x, steps[-1])  # pyright: ignore[reportArgumentType] - a ModuleList's item
        vectors.append(x - last)
    return (last + torch.einsum("tc,cni->tni", network.read_out.weight, torch.stack(vectors))) / 10


def test_the_network_equals_its_equations_in_a_loop_over_pairs():
    network: EGNN = perturbed(EGNNConfig(hidden=6).build(TASK), by=0.3).double()  # pyright: ignore[reportAssignmentType] - perturbed() returns its argument
    past = 0.1 * torch.randn(1, TASK.past, 21, 3, dtype=torch.float64)
    with torch.no_grad():
        answer, expected = network(past)[0, 0], network_in_a_loop(network, past[0])
    assert (expected - past[0, -1]).abs().max() > 1e-2
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)
