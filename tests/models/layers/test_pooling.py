"""Tests of pooling and upsampling between levels: equivariance, reductions, interpolation, and separate clouds in a batch."""

import pytest
import torch
from torch import Tensor
from turns import rows, turn_of

from models.layers.degrees import split, width
from models.layers.pooling import Pooling3D, Upsampling3D

CHANNELS = (3, 2, 2)
BATCH, POINTS, NEAR, COARSE = 2, 9, 4, 5
every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "max"])


@pytest.fixture
def f() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH * POINTS, width(CHANNELS), dtype=torch.float64, generator=generator)


@pytest.fixture
def neighbours() -> Tensor:
    """Return random neighbours of each point, in the same cloud."""
    chosen = torch.randint(POINTS, (BATCH, POINTS, NEAR), generator=torch.Generator().manual_seed(1))
    return chosen + torch.arange(BATCH).view(-1, 1, 1) * POINTS


@every_reduction
def test_pooling_commutes_with_rotation(reduction, f: Tensor, neighbours: Tensor):
    pool, turn = Pooling3D(CHANNELS, reduction), turn_of()
    turned = pool(rows(f, CHANNELS, turn), neighbours, COARSE)
    torch.testing.assert_close(turned, rows(pool(f, neighbours, COARSE), CHANNELS, turn), atol=1e-12, rtol=0)


def test_a_maximum_over_each_component_does_not_commute_with_rotation(f: Tensor):
    turn = turn_of()
    straight, turned = f.amax(0, keepdim=True), rows(f, CHANNELS, turn).amax(0, keepdim=True)
    assert (turned - rows(straight, CHANNELS, turn)).abs().max() > 0.1


@every_reduction
def test_pooling_reduces_each_point_with_its_neighbours(reduction, f: Tensor, neighbours: Tensor):
    pooled = Pooling3D(CHANNELS, reduction)(f, neighbours, COARSE)
    assert pooled.shape == (BATCH * COARSE, width(CHANNELS))
    for cloud in range(BATCH):
        for point in range(COARSE):
            group = f[[cloud * POINTS + point, *neighbours[cloud, point].tolist()]]
            actual = pooled[cloud * COARSE + point]
            if reduction != "max":
                expected = group.mean(0) if reduction == "mean" else group.sum(0)
                torch.testing.assert_close(actual, expected)
                continue
            for part, longest in zip(split(group, CHANNELS), split(actual[None], CHANNELS), strict=True):
                for channel in range(part.shape[2]):
                    vectors = part[:, :, channel]
                    best = vectors[:, 0].argmax() if part.shape[1] == 1 else vectors.norm(dim=1).argmax()
                    torch.testing.assert_close(longest[0, :, channel], vectors[best])


def test_upsampling_weights_parents_by_inverse_squared_distance():
    f = torch.tensor([[1.0], [2.0], [4.0]])
    parents, squares = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[1.0, 4.0], [0.0, 9.0]])
    expected = torch.tensor(
        [[(1 * 1 + 2 / 4) / (1 + 1 / 4)], [4.0]]
    )  # a point at distance 0 from a parent takes its value
    torch.testing.assert_close(Upsampling3D()(f, parents, squares), expected, atol=1e-6, rtol=0)


def test_upsampling_from_coincident_parents_is_their_plain_mean():
    up = Upsampling3D()(torch.tensor([[1.0], [3.0]]), torch.tensor([[0, 1]]), torch.zeros(1, 2))
    torch.testing.assert_close(up, torch.tensor([[2.0]]))


def test_upsampling_weighs_by_any_power_of_the_inverse_distance():
    squares = torch.tensor([[1.0, 16.0]])  # distances 1 and 4
    f, parents = torch.tensor([[0.0], [5.0]]), torch.tensor([[0, 1]])
    for power, expected in ((1.0, 5 * 0.25 / 1.25), (3.0, 5 / 64 / (1 + 1 / 64))):
        torch.testing.assert_close(Upsampling3D(power)(f, parents, squares), torch.tensor([[expected]]))
