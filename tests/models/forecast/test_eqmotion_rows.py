"""Tests that EqMotion on rows of pairs equals EqMotion on all ordered pairs, in its answers and in its gradients."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from laws import TASK, hand_motion, perturbed
from torch import Tensor, nn

from models.forecast.eqmotion import REFERENCE, STANDARD, EqMotionConfig, Layer, Reasoning, mean
from models.layers.pairs import distances, sum_over_others, towards

SMALL = replace(STANDARD, channels=6, hidden=5)
CONFIGS = {
    "standard": SMALL,
    "reference": replace(REFERENCE, channels=4, hidden=6),
    "no experts": replace(SMALL, experts=0),
    "three experts, three layers": replace(SMALL, experts=3, layers=3),
    "no residual features": replace(SMALL, residual_features=False),
}


def reasoning(self: Reasoning, h: Tensor, gv: Tensor, order: object) -> Tensor:
    """Return what Reasoning does, evaluated for every ordered pair."""
    d = self.distance(distances(gv))
    m = F.silu(self.edge_second(F.silu(self.edge_first(h, d))))
    h = self.node(torch.cat([h, sum_over_others(m)], dim=-1))
    first = self.category_first(h, d)
    if self.same_hand is not None:
        hand = torch.arange(h.shape[1]) // self.joints
        first = first + self.same_hand[:, None, None] * (hand[:, None] == hand)
    return torch.softmax(F.silu(self.category_second(F.silu(first))) / self.temperature, dim=1)


def layer(self: Layer, g: Tensor, v: Tensor, h: Tensor, c: Tensor, order: object, last: bool) -> tuple[Tensor, Tensor]:
    """Return what Layer does, evaluated for every ordered pair, with the messages of the last layer."""
    first = F.silu(self.pair_first(h, distances(g))).chunk(len(self.pair_second), dim=1)
    m, *experts = (F.silu(second(x)) for second, x in zip(self.pair_second, first, strict=True))
    f = torch.zeros_like(m[:, :1]).expand(-1, g.shape[2], -1, -1)
    for k, expert in enumerate(experts):
        f = f + expert * c[..., k].unsqueeze(1)
    gate = F.silu(self.gate(h)).transpose(1, 2).unsqueeze(1)
    g = g + gate * (g - mean(g)) + towards(self.factor(f), g) + self.velocity(v)
    g = self.nonlinearity(g - mean(g)) + mean(g) if self.centred else self.nonlinearity(g)
    update = self.node(torch.cat([h, sum_over_others(m)], dim=-1))
    return g, h + update if self.residual_features else update


def answer_and_gradients(network: nn.Module, past: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the forecast, and the gradients of a weighted sum of it by parameter, with that of the past."""
    past = past.clone().requires_grad_()
    future = network(past)
    parameters = {"past": past, **dict(network.named_parameters())}
    weights = torch.linspace(-1, 1, future.numel(), dtype=future.dtype).view(future.shape)
    gradients = torch.autograd.grad((weights * future).sum(), list(parameters.values()), materialize_grads=True)
    return future, dict(zip(parameters, gradients, strict=True))


@pytest.mark.parametrize("nodes", [21, 42])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_rows_of_pairs_give_the_answers_and_gradients_of_all_ordered_pairs(config: EqMotionConfig, nodes, monkeypatch):
    torch.manual_seed(0)
    network = perturbed(config.build(TASK)).double()
    past = torch.tensor(hand_motion(TASK.past, nodes))
    future, gradients = answer_and_gradients(network, past)
    monkeypatch.setattr(Reasoning, "forward", reasoning)
    monkeypatch.setattr(Layer, "forward", layer)
    expected, of_all = answer_and_gradients(network, past)
    torch.testing.assert_close(future, expected, atol=1e-9, rtol=0)
    for name, gradient in of_all.items():
        torch.testing.assert_close(
            gradients[name], gradient, atol=1e-9 * float(gradient.abs().max()), rtol=1e-9, msg=name
        )
    assert gradients["past"].any()


def test_nodes_in_one_place_have_finite_gradients_of_zero_from_their_distance(monkeypatch):
    network = perturbed(SMALL.build(TASK)).double()
    past = torch.tensor(hand_motion(TASK.past, 21))
    past[:, :, 1] = past[:, :, 0]
    _, gradients = answer_and_gradients(network, past)
    monkeypatch.setattr(Reasoning, "forward", reasoning)
    monkeypatch.setattr(Layer, "forward", layer)
    _, expected = answer_and_gradients(network, past)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    torch.testing.assert_close(gradients["past"], expected["past"], atol=1e-9, rtol=1e-9)
