"""Tests of the loss of hand forecasters: it is the reported error; with several modes the nearest has half of the weight."""

import numpy as np
import pytest
import torch

from training.tasks.hands import metrics
from training.tasks.hands.losses import distances_mm, mean_distance_mm


def test_the_loss_of_one_mode_is_the_reported_error():
    generator = torch.Generator().manual_seed(0)
    futures, true = (torch.randn(shape, generator=generator) for shape in ((3, 1, 4, 21, 3), (3, 4, 21, 3)))
    reported = metrics.distances_mm(futures[:, 0].numpy(), true.numpy()).mean()
    assert mean_distance_mm(futures, true).item() == pytest.approx(float(reported), rel=1e-6)


def test_with_more_modes_half_the_weight_goes_to_the_nearest_of_each_window():
    true = torch.zeros(2, 4, 21, 3)
    off_mm = np.array([[10.0, 4.0, 30.0], [10.0, 20.0, 6.0]])  # (window, mode)
    futures = torch.zeros(2, 3, 4, 21, 3)
    futures[..., 0] = torch.tensor(off_mm / 1000, dtype=torch.float32)[:, :, None, None]
    assert mean_distance_mm(futures, true).item() == pytest.approx(0.5 * 10 + 0.5 * (4 + 6) / 2, rel=1e-5)


def test_a_mode_that_is_neither_first_nor_nearest_has_no_gradient():
    futures = torch.zeros(1, 3, 2, 21, 3)
    futures[:, 1], futures[:, 2] = 0.5, 2.0
    futures.requires_grad_()
    mean_distance_mm(futures, torch.ones(1, 2, 21, 3)).backward()
    assert futures.grad is not None
    assert [bool(futures.grad[0, mode].any()) for mode in range(3)] == [True, True, False]


def test_positions_that_do_not_exist_have_neither_a_loss_nor_a_gradient():
    generator = torch.Generator().manual_seed(0)
    futures, true = (torch.randn(shape, generator=generator) for shape in ((2, 3, 4, 21, 3), (2, 4, 21, 3)))
    complete = distances_mm(futures, true)
    true[1, 2:] = torch.nan
    true[0, :, 5] = torch.nan
    futures.requires_grad_()
    known = true.isfinite().all(dim=-1).unsqueeze(1).expand_as(complete)
    assert torch.equal(distances_mm(futures, true), torch.where(known, complete, 0.0))
    mean_distance_mm(futures, true).backward()
    assert futures.grad is not None
    assert futures.grad.isfinite().all()
    assert not futures.grad[~known].any()
    assert futures.grad[:, 0][known[:, 0]].any(dim=-1).all()
