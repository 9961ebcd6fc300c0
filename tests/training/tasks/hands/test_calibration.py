"""Tests of the calibration of hand forecasters: the law's own errors are covered as stated, and the nearest mode is found."""

import numpy as np
import pytest
import torch
from torch import nn

from training.tasks.hands.calibration import calibration, fit, quantile


class Stated(nn.Module):
    """Forecasts of zero, with two modes 30 mm further along x and y, and one deviation."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, past: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        future = torch.zeros(len(past), 3, 20, 21, 3)
        future[:, 1, ..., 0] = future[:, 2, ..., 1] = 0.03
        return future, torch.full((len(past), 20, 21), self.std), torch.tensor([0.2, 0.7, 0.1]).expand(len(past), 3)


def exponential(windows: int, b: float) -> np.ndarray:
    """Return errors with the density exp(-r / b) over space, (windows, 20, 21, 3)."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(windows, 20, 21, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return (rng.gamma(3, b, size=(windows, 20, 21, 1)) * direction).astype(np.float32)


def test_errors_of_the_stated_size_are_covered_as_stated_and_larger_ones_less():
    past, true = np.zeros((70, 4, 21, 3), np.float32), exponential(70, 0.01)
    right, half = (calibration(Stated(std), past, true).covered for std in (0.02, 0.01))
    assert right["68 %"] == pytest.approx(0.68, abs=0.01)
    assert right["95 %"] == pytest.approx(0.95, abs=0.01)
    assert half["68 %"] < 0.5


def test_the_nearest_mode_is_counted_and_the_likeliest_one_is_that_of_the_highest_probability():
    past, true = np.zeros((3, 4, 21, 3), np.float32), np.zeros((3, 20, 21, 3), np.float32)
    true[0, ..., 0] = true[1, ..., 1] = 0.03
    found = calibration(Stated(0.02), past, true)
    assert found.first_mm == pytest.approx(20)
    assert found.nearest_mm == pytest.approx(0, abs=1e-6)
    assert found.likeliest_mm == pytest.approx((0 + 30 * 2**0.5 + 30) / 3)


def miscalibrated(frames: np.ndarray) -> nn.Module:
    """Return forecasts that state a quarter of the deviation at some frames."""
    network = Stated(0.02)
    right = network.forward

    def forward(past: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        future, std, weights = right(past, seen)
        return future, std * torch.from_numpy(np.where(frames, 0.25, 1.0)).float()[:, None], weights

    network.forward = forward
    return network


def test_a_correction_makes_a_miscalibrated_network_cover_as_much_as_it_says_on_other_windows():
    past, true = np.zeros((140, 4, 21, 3), np.float32), exponential(140, 0.01)
    true[::7] *= 4  # a heavier tail than the density has
    network = miscalibrated(np.arange(20) < 8)
    groups = [(past[:70], true[:70])]
    found = fit(network, groups)
    assert found.factors[:8] == pytest.approx(4 * found.factors[8:].mean(), rel=0.1)
    before, after = (calibration(network, past[70:], true[70:], *one).covered for one in ((), (found,)))
    assert abs(before["68 %"] - 0.68) > 0.05
    assert before["95 %"] < 0.9
    assert after["68 %"] == pytest.approx(0.68, abs=0.015)
    assert after["95 %"] == pytest.approx(0.95, abs=0.01)
    assert fit(network, groups).deviations == found.deviations


def test_each_group_has_the_same_weight_in_a_correction():
    past = np.zeros((50, 4, 21, 3), np.float32)
    small, large = exponential(50, 0.005), exponential(50, 0.02)
    even, many = (
        fit(Stated(0.02), [(past, small), (np.tile(past, (n, 1, 1, 1)), np.tile(large, (n, 1, 1, 1)))]) for n in (1, 3)
    )
    np.testing.assert_allclose(many.factors, even.factors, rtol=5e-3)  # the next value, where rounding breaks a tie


def test_a_weighted_quantile_counts_a_value_by_its_weight():
    x = np.array([3.0, 1.0, 2.0])
    assert quantile(x, np.ones(3), 0.5) == 2
    assert quantile(x, np.array([8.0, 1.0, 1.0]), 0.5) == 3
