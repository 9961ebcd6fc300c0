"""Tests of landmark losses: they equal their formulas and are smallest at the true heatmap."""

import math

import pytest
import torch
from torch import Tensor

from training.tasks.faces.losses import (
    LandmarkLoss,
    adaptive_wing,
    cross_entropy,
    gaussian,
    mean_distance_mm,
    squared_distances,
)

SIGMA_M = 0.0095
SURE = torch.ones(2, 4)


@pytest.fixture
def scan() -> tuple[Tensor, Tensor]:
    """Return points (2, 50, 3) and landmarks (2, 4, 3) of the size of a face, in metres."""
    generator = torch.Generator().manual_seed(0)
    return 0.03 * torch.randn(2, 50, 3, generator=generator), 0.03 * torch.randn(2, 4, 3, generator=generator)


def test_heatmaps_are_gaussians_of_the_distance(scan: tuple[Tensor, Tensor]):
    points, landmarks = scan
    heatmaps = gaussian(squared_distances(landmarks, points), SIGMA_M)
    d = float((points[1, 7] - landmarks[1, 2]).norm())
    assert heatmaps[1, 2, 7] == pytest.approx(math.exp(-(d**2) / (2 * SIGMA_M**2)), rel=1e-4)


@pytest.mark.parametrize(("predicted", "true"), [(0.3, 0.1), (0.1, 0.9), (0.9, 0.95), (0.0, 1.0)])
def test_adaptive_wing_equals_the_formula_of_the_paper(predicted: float, true: float):
    omega, theta, eps, alpha = 14, 0.5, 1, 2.1
    a = omega / (1 + (theta / eps) ** (alpha - true)) * (alpha - true) * (theta / eps) ** (alpha - true - 1) / eps
    c = theta * a - omega * math.log(1 + (theta / eps) ** (alpha - true))
    d = abs(predicted - true)
    formula = omega * math.log(1 + (d / eps) ** (alpha - true)) if d < theta else a * d - c
    loss = adaptive_wing(torch.full((1, 1, 1), predicted), torch.full((1, 1, 1), true), emphasis=10)
    assert float(loss) == pytest.approx(formula * (11 if true >= 0.2 else 1), rel=1e-4)


def test_adaptive_wing_and_its_gradient_are_0_where_heatmaps_agree():
    heatmaps = torch.rand(1, 2, 9, requires_grad=True)
    loss = adaptive_wing(heatmaps, heatmaps.detach())
    loss.backward()
    assert float(loss.detach()) == 0
    assert heatmaps.grad is not None
    assert (heatmaps.grad == 0).all()


def test_both_heatmap_losses_are_smallest_at_the_true_heatmap(scan: tuple[Tensor, Tensor]):
    points, landmarks = scan
    squares = squared_distances(landmarks, points)
    right = gaussian(squares, SIGMA_M)
    for other in (right**0.5, right.roll(1, dims=2), torch.full_like(right, 0.5)):
        assert adaptive_wing(right, right) < adaptive_wing(other, right)
        assert cross_entropy(right, squares, SIGMA_M) < cross_entropy(other, squares, SIGMA_M)
    assert abs(float(cross_entropy(right, squares, SIGMA_M))) < 1e-4


def test_the_cross_entropy_does_not_depend_on_the_height_of_a_heatmap(scan: tuple[Tensor, Tensor]):
    squares = squared_distances(scan[1], scan[0])
    heatmaps = torch.rand(2, 4, 50, generator=torch.Generator().manual_seed(0))
    full, faint = cross_entropy(heatmaps, squares, SIGMA_M), cross_entropy(0.01 * heatmaps, squares, SIGMA_M)
    torch.testing.assert_close(full, faint, atol=1e-4, rtol=1e-4)


def test_losses_are_finite_for_a_landmark_in_a_hole_and_a_heatmap_of_zeros(scan: tuple[Tensor, Tensor]):
    points, landmarks = scan
    heatmaps = torch.zeros(2, 4, 50, requires_grad=True)
    loss = LandmarkLoss(SIGMA_M)((heatmaps, landmarks, SURE), landmarks + 10, points)
    loss.backward()
    assert loss.isfinite()
    assert heatmaps.grad is not None
    assert heatmaps.grad.isfinite().all()


def test_the_loss_is_the_weighted_sum_of_its_parts_in_millimetres(scan: tuple[Tensor, Tensor]):
    points, landmarks = scan
    predicted = landmarks + torch.tensor([0.0, 0.003, 0.004])
    heatmaps = torch.full((2, 4, 50), 0.3)
    answer = heatmaps, predicted, SURE
    assert float(mean_distance_mm(answer, landmarks)) == pytest.approx(5, rel=1e-4)
    squares = squared_distances(landmarks, points)
    parts = [5.0, cross_entropy(heatmaps, squares, SIGMA_M), adaptive_wing(heatmaps, gaussian(squares, SIGMA_M))]
    weights = (2.0, 3.0, 5.0)
    loss = LandmarkLoss(SIGMA_M, *weights)(answer, landmarks, points)
    assert float(loss) == pytest.approx(sum(w * float(part) for w, part in zip(weights, parts, strict=True)), rel=1e-4)
