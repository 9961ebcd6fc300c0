"""Tests of layers on pairs against slow reference implementations: norms, sums in loops, one linear map on a concatenation."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.layers.pairs import (
    MEETING,
    PairLinear,
    PairMap,
    distances,
    pair_perceptron,
    sum_over_others,
    towards,
)

assert_equal = partial(torch.testing.assert_close, atol=1e-12, rtol=1e-12)


@pytest.fixture
def g() -> Tensor:
    """Return random vectors (batch 2, 3, channels 4, nodes 5)."""
    return torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def f() -> Tensor:
    """Return random scalars of pairs (batch 2, channels 4, 5, 5)."""
    return torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def plain_differences(g: Tensor) -> Tensor:
    """Return G_i - G_j as (batch, 3, channels, i, j)."""
    return g[:, :, :, :, None] - g[:, :, :, None, :]


def plain_distances(g: Tensor) -> Tensor:
    return plain_differences(g).square().sum(1).clamp_min(MEETING**2).sqrt()


def plain_towards(f: Tensor, g: Tensor) -> Tensor:
    return (f[:, None] * plain_differences(g)).sum(4)


def test_distances_are_the_norms_of_differences_in_each_channel(g: Tensor):
    channels_first = g.permute(0, 2, 3, 1)  # (batch, channels, nodes, 3)
    expected = torch.cdist(channels_first, channels_first, compute_mode="donot_use_mm_for_euclid_dist")
    apart = ~torch.eye(5, dtype=torch.bool)
    assert_equal(distances(g)[..., apart], expected[..., apart])
    assert (distances(g)[..., ~apart] == MEETING).all()


def test_distances_are_the_same_with_and_without_a_gradient(g: Tensor):
    tracked = distances(g.clone().requires_grad_())
    assert tracked.requires_grad
    assert torch.equal(tracked.detach(), distances(g))
    with torch.no_grad():
        assert torch.equal(distances(g.clone().requires_grad_()), distances(g))


def gradient(function: Callable[[Tensor], Tensor], g: Tensor, weight: Tensor) -> Tensor:
    leaf = g.clone().requires_grad_()
    (function(leaf) * weight).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def test_the_gradient_of_distances_matches_the_plain_formula(g: Tensor, f: Tensor):
    assert_equal(gradient(distances, g, f), gradient(plain_distances, g, f))


def test_the_gradient_of_distances_matches_finite_differences(g: Tensor):
    assert torch.autograd.gradcheck(distances, (g.requires_grad_(),))


def test_a_gradient_of_one_node_of_a_pair_alone_is_wrong(g: Tensor, f: Tensor):
    d = distances(g)
    one_sided = towards(torch.where(d > MEETING, f / d, 0.0), g)
    assert (one_sided - gradient(plain_distances, g, f)).abs().max() > 0.1


def test_coincident_nodes_have_a_finite_distance_and_no_gradient(f: Tensor):
    g = torch.ones(2, 3, 4, 5, dtype=torch.float64)
    assert (distances(g) == MEETING).all()
    assert (gradient(distances, g, f) == 0).all()


def test_towards_is_the_sum_over_pairs_of_weighted_differences(g: Tensor, f: Tensor):
    assert_equal(towards(f, g), plain_towards(f, g))
    looped = torch.zeros_like(g)
    for i in range(5):
        for j in range(5):
            looped[:, :, :, i] += f[:, None, :, i, j] * (g[:, :, :, i] - g[:, :, :, j])
    assert_equal(towards(f, g), looped)


def test_towards_is_differentiable_in_both(g: Tensor, f: Tensor):
    assert torch.autograd.gradcheck(towards, (f.requires_grad_(), g.requires_grad_()))


def test_a_sum_over_others_excludes_the_node_itself(f: Tensor):
    masked = f * (1 - torch.eye(5, dtype=torch.float64))
    assert_equal(sum_over_others(f), masked.sum(3).transpose(1, 2))
    assert (sum_over_others(torch.ones(1, 2, 5, 5)) == 4).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_pair_map_is_a_linear_map_of_the_channels_also_in_an_export(f: Tensor, bias: bool, monkeypatch):
    layer = PairMap(4, 6, bias=bias).double()
    expected = F.linear(f.permute(0, 2, 3, 1), layer.weight[:, :, 0, 0], layer.bias).permute(0, 3, 1, 2)
    assert_equal(layer(f), expected)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert_equal(layer(f), expected)


def test_a_pair_linear_is_one_linear_map_on_the_concatenated_features(f: Tensor):
    layer = PairLinear(3, 4, 6).double()
    h = torch.randn(2, 5, 3, dtype=torch.float64)
    pairs = torch.cat([h[:, :, None].expand(2, 5, 5, 3), h[:, None].expand(2, 5, 5, 3), f.permute(0, 2, 3, 1)], dim=-1)
    matrix = torch.cat([layer.of_i.weight, layer.of_j.weight, layer.of_distance.weight[:, :, 0, 0]], dim=1)
    expected = F.linear(pairs, matrix, layer.of_i.bias).permute(0, 3, 1, 2)
    assert_equal(layer(h, f), expected)


def test_a_pair_linear_has_the_parameter_count_and_initial_range_of_one_map():
    torch.manual_seed(0)
    layer, single = PairLinear(32, 32, 64), torch.nn.Linear(96, 64)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in single.parameters())
    bound = single.weight.abs().max()
    for parameter in layer.parameters():
        assert 0.8 * bound < parameter.abs().max() < 1.05 * bound


def test_a_pair_perceptron_is_two_maps_with_silu_after_both(f: Tensor):
    layer = pair_perceptron(4, 8, 3).double()
    assert_equal(layer(f), F.silu(layer[2](F.silu(layer[0](f)))))
