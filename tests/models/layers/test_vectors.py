"""Tests of layers on vector channels: they commute with rotation and reflection, and the projection is complete at any scale."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.contract.symmetry import random_rotation
from models.layers.vectors import VectorLinear, VectorReLU

METRE_SCALE = 0.03  # |k| for hands in metres, where |k|^2 is as small as the authors' epsilon, 1e-3


def vectors(channels: int = 6, nodes: int = 5, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(2, 3, channels, nodes, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("layer", [VectorLinear(6, 4), VectorReLU(6), VectorReLU(6, relative=False)], ids=repr)
def test_a_layer_commutes_with_rotation_and_reflection(layer: torch.nn.Module, mirror: int):
    layer, g = layer.double(), vectors()
    turn = mirror * torch.tensor(random_rotation(np.random.default_rng(0)))
    turned = torch.einsum("ij,bjcn->bicn", turn, g)
    torch.testing.assert_close(layer(turned), torch.einsum("ij,bjcn->bicn", turn, layer(g)), atol=1e-12, rtol=0)


def test_a_relu_on_each_axis_does_not_commute_with_rotation():
    g = vectors()
    turn = torch.tensor(random_rotation(np.random.default_rng(0)))
    turned = torch.einsum("ij,bjcn->bicn", turn, g)
    assert (turned.relu() - torch.einsum("ij,bjcn->bicn", turn, g.relu())).abs().max() > 0.1


def test_a_vector_linear_mixes_channels_and_has_no_bias():
    layer, g = VectorLinear(6, 4).double(), vectors()
    assert layer.bias is None
    torch.testing.assert_close(layer(g), torch.einsum("oc,bacn->baon", layer.weight, g), atol=1e-12, rtol=0)


def along_key(layer: VectorReLU, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return <q, k> / |k| before and <output, k> / |k| after the layer, for every vector."""
    q, k = layer.query(g), layer.key(g)
    size = k.norm(dim=1)
    return (q * k).sum(1) / size, (layer(g) * k).sum(1) / size


def test_the_relu_keeps_vectors_along_their_key_and_projects_others():
    layer, g = VectorReLU(6).double(), vectors()
    before, after = along_key(layer, g)
    points_along = before >= 0
    assert points_along.any()
    assert (~points_along).any()
    q = layer.query(g)
    along = points_along[:, None].expand_as(q)
    assert torch.equal(layer(g)[along], q[along])
    assert (after[~points_along].abs() <= 0.02 * before[~points_along].abs()).float().mean() > 0.95


@pytest.mark.parametrize("scale", [METRE_SCALE / 100, METRE_SCALE, 1.0, 100.0])
def test_the_relu_commutes_with_scaling(scale: float):
    layer, g = VectorReLU(6).double(), vectors()
    torch.testing.assert_close(layer(scale * g), scale * layer(g), atol=1e-4 * scale, rtol=0)


def test_the_authors_absolute_epsilon_leaves_the_projection_incomplete_at_metre_scale():
    remainder = {}
    for relative in (True, False):
        torch.manual_seed(0)
        layer = VectorReLU(6, relative=relative).double()
        before, after = along_key(layer, vectors(scale=METRE_SCALE))
        away = before < 0
        remainder[relative] = (after[away] / before[away]).median()
    assert remainder[True] < 0.01
    assert remainder[False] > 0.1


def test_zero_vectors_give_zero_and_a_finite_gradient():
    layer, g = VectorReLU(6).double(), torch.zeros(1, 3, 6, 2, dtype=torch.float64, requires_grad=True)
    y = layer(g)
    y.sum().backward()
    assert (y == 0).all()
    assert g.grad is not None
    assert g.grad.isfinite().all()
