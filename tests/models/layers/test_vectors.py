"""Vector channels: what mixes and bends them commutes with rotation and reflection, and the projection is complete."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.contract.symmetry import random_rotation
from models.layers.vectors import VectorLinear, VectorReLU

METRE_SCALE = 0.03  # |k| of hands in metres: |k|^2 is 1e-3, as in the authors' code


def vectors(channels: int = 6, nodes: int = 5, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(2, 3, channels, nodes, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("layer", [VectorLinear(6, 4), VectorReLU(6), VectorReLU(6, relative=False)], ids=repr)
def test_vectors_turn_with_their_input(layer: torch.nn.Module, mirror: int):
    layer, g = layer.double(), vectors()
    turn = mirror * torch.tensor(random_rotation(np.random.default_rng(0)))
    turned = torch.einsum("ij,bjcn->bicn", turn, g)
    torch.testing.assert_close(layer(turned), torch.einsum("ij,bjcn->bicn", turn, layer(g)), atol=1e-12, rtol=0)


def test_a_relu_on_each_axis_would_not():
    g = vectors()
    turn = torch.tensor(random_rotation(np.random.default_rng(0)))
    turned = torch.einsum("ij,bjcn->bicn", turn, g)
    assert (turned.relu() - torch.einsum("ij,bjcn->bicn", turn, g.relu())).abs().max() > 0.1


def test_a_vector_linear_mixes_channels_and_has_no_bias():
    layer, g = VectorLinear(6, 4).double(), vectors()
    assert layer.bias is None
    torch.testing.assert_close(layer(g), torch.einsum("oc,bacn->baon", layer.weight, g), atol=1e-12, rtol=0)


def along_key(layer: VectorReLU, g: Tensor) -> tuple[Tensor, Tensor]:
    """<q, k> / |k| before and <output, k> / |k| after, for every vector."""
    q, k = layer.query(g), layer.key(g)
    size = k.norm(dim=1)
    return (q * k).sum(1) / size, (layer(g) * k).sum(1) / size


def test_a_vector_that_points_along_its_key_is_kept_and_any_other_loses_that_part():
    layer, g = VectorReLU(6).double(), vectors()
    before, after = along_key(layer, g)
    points_along = before >= 0
    assert points_along.any()
    assert (~points_along).any()
    q = layer.query(g)
    kept = points_along[:, None].expand_as(q)
    assert torch.equal(layer(g)[kept], q[kept])
    assert (after[~points_along].abs() <= 0.02 * before[~points_along].abs()).float().mean() > 0.95


@pytest.mark.parametrize("scale", [METRE_SCALE / 100, METRE_SCALE, 1.0, 100.0])
def test_the_projection_is_as_complete_at_any_scale(scale: float):
    layer, g = VectorReLU(6).double(), vectors()
    torch.testing.assert_close(layer(scale * g), scale * layer(g), atol=1e-4 * scale, rtol=0)


def test_the_absolute_epsilon_of_the_authors_leaves_the_projection_undone_at_metre_scale():
    left = {}
    for relative in (True, False):
        torch.manual_seed(0)
        layer = VectorReLU(6, relative=relative).double()
        before, after = along_key(layer, vectors(scale=METRE_SCALE))
        away = before < 0
        left[relative] = (after[away] / before[away]).median()
    assert left[True] < 0.01
    assert left[False] > 0.1


def test_a_still_node_gives_zero_and_a_finite_gradient():
    layer, g = VectorReLU(6).double(), torch.zeros(1, 3, 6, 2, dtype=torch.float64, requires_grad=True)
    y = layer(g)
    y.sum().backward()
    assert (y == 0).all()
    assert g.grad is not None
    assert g.grad.isfinite().all()
