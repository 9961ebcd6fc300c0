"""Tests of the losses of bodies: they equal the reported metrics, and unknown joints have no gradient."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.pose.velocity_forecaster import DECAY
from training.tasks.bodies.losses import (
    LEAST,
    REST,
    pose_distance_mm,
    relative_distance,
    seen_distance,
    smoothed_cross_entropy,
    wrong_percent,
)
from training.tasks.bodies.metrics import mpjpe_mm, top_k


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


def test_the_loss_of_lifting_is_protocol_1():
    poses, true = noise(5, 3, 17, 3), noise(5, 3, 17, 3, seed=1)
    reported = mpjpe_mm(poses.flatten(0, 1).numpy(), true.flatten(0, 1).numpy()).mean()
    assert pose_distance_mm(poses, true).item() == pytest.approx(float(reported), rel=1e-5)


def test_unknown_joints_do_not_count_and_have_no_gradient():
    poses, true = noise(5, 3, 17, 3).requires_grad_(), noise(5, 3, 17, 3, seed=1)
    others = [joint for joint in range(17) if joint != 10]
    alone = pose_distance_mm(poses.detach()[:, :, others], true[:, :, others])
    true[:, :, 10] = math.nan
    true[0, 0, 3, 1] = math.nan  # one number of one joint is enough
    pose_distance_mm(poses, true).backward()
    assert torch.isfinite(gradient(poses)).all()
    assert not gradient(poses)[:, :, 10].any()
    assert not gradient(poses)[0, 0, 3].any()
    assert gradient(poses)[:, :, others][1:].ne(0).all()
    true[0, 0, 3] = poses.detach()[0, 0, 3] + torch.tensor([0.003, 0.004, 0.0])
    known = 15 * 16
    error_with, without = pose_distance_mm(poses, true).item(), alone.item()
    assert error_with != pytest.approx(without, rel=1e-6)
    true[0, 0, 3] = math.nan
    assert pose_distance_mm(poses, true).item() == pytest.approx((error_with * known - 5) / (known - 1), rel=1e-4)


def test_the_loss_is_0_if_no_pose_is_known():
    assert pose_distance_mm(noise(2, 1, 17, 3), torch.full((2, 1, 17, 3), math.nan)) == 0
    assert seen_distance(noise(2, 1, 13, 2), torch.zeros(2, 1, 13, 3)) == 0


def test_the_loss_of_forecasting_is_the_mean_distance_to_visible_joints_in_hundredths():
    poses, true = noise(4, 16, 13, 2), noise(4, 16, 13, 3, seed=1)
    true[..., 2] = (true[..., 2] > 0).float()
    slow = [
        100 * math.dist(pose.tolist(), point[:2].tolist())
        for pose, point in zip(poses.reshape(-1, 2), true.reshape(-1, 3), strict=True)
        if point[2] == 1
    ]
    assert 100 < len(slow) < 4 * 16 * 13
    assert seen_distance(poses, true).item() == pytest.approx(np.mean(slow), rel=1e-5)


def test_invisible_joints_have_no_gradient_and_exact_ones_a_finite_gradient():
    poses, true = noise(2, 3, 13, 2).requires_grad_(), torch.ones(2, 3, 13, 3)
    true[..., :2] = poses.detach()
    true[:, :, 4, :2] += 0.5
    true[:, :, 5, :2] += 0.5
    true[:, :, 5, 2] = 0
    loss = seen_distance(poses, true)
    loss.backward()
    assert torch.isfinite(gradient(poses)).all()
    has_gradient = gradient(poses).abs().sum(-1) > 1e-6
    assert has_gradient.all(0).all(0).tolist() == [joint == 4 for joint in range(13)]
    assert loss.item() == pytest.approx(100 * 0.5 * math.sqrt(2) / 12, rel=1e-4)


def test_label_smoothing_spreads_a_tenth_over_all_classes():
    logits, true = noise(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    log = logits.log_softmax(-1)
    slow = [-(0.9 * row[label] + 0.1 * row.mean()) for row, label in zip(log, true, strict=True)]
    assert smoothed_cross_entropy(logits, true).item() == pytest.approx(float(torch.stack(slow).mean()), rel=1e-5)
    certain = torch.nn.functional.one_hot(true, 5).float()
    assert smoothed_cross_entropy(1000 * certain, true) > smoothed_cross_entropy(3 * certain, true)


def test_wrong_percent_is_the_complement_of_top_1():
    logits, true = noise(40, 7), torch.arange(40) % 7
    assert wrong_percent(logits, true).item() == pytest.approx(100 * (1 - top_k(logits.numpy(), true.numpy())))
    assert wrong_percent(torch.eye(7), torch.arange(7)) == 0
    assert wrong_percent(torch.eye(7), (torch.arange(7) + 1) % 7) == 100


def test_losses_accept_the_inputs_and_ignore_them():
    shown = noise(2, 5, 13, 2)
    poses, true = noise(2, 1, 13, 2), torch.ones(2, 1, 13, 3)
    assert seen_distance(poses, true, shown, shown) == seen_distance(poses, true)
    spatial = noise(2, 1, 17, 3)
    assert pose_distance_mm(spatial, spatial + 1, shown) == pose_distance_mm(spatial, spatial + 1)
    logits, label = noise(2, 3), torch.tensor([0, 1])
    for loss in (smoothed_cross_entropy, wrong_percent):
        assert loss(logits, label, shown) == loss(logits, label)


def test_the_relative_loss_weighs_early_steps_people_at_rest_and_what_a_damped_velocity_misses():
    past = torch.ones(1, 3, 13, 3)
    true = torch.ones(1, 4, 13, 3)
    weights = np.arange(1, 5) ** -0.5 / np.mean(np.arange(1, 5) ** -0.5)
    gains = np.cumsum(DECAY ** np.arange(1, 5))

    def loss(error: np.ndarray, past: Tensor = past, true: Tensor = true) -> float:
        poses = true[..., :2].clone()
        poses[..., 0] += torch.from_numpy(error).float()[:, None]
        return relative_distance(poses, true, past).item()

    def expected(error: np.ndarray, moved: float, floor: np.ndarray) -> float:
        distance = np.mean(weights * error)
        return float(100 * (distance + 0.1 * distance / (moved + REST) + 0.6 * np.mean(error / (floor + LEAST))))

    swinging, moving = past.clone(), true.clone()
    swinging[:, 1, :, 1] = 0.8  # the last step is 0.2, and the person stops
    moving[..., 1] += 0.5
    for step in range(4):
        error = 0.1 * np.eye(4)[step]
        assert loss(error) == pytest.approx(expected(error, 0, np.zeros(4)), rel=1e-2)
        assert loss(error, swinging) == pytest.approx(expected(error, 0, 0.2 * gains), rel=1e-2)
        assert loss(error, past, moving) == pytest.approx(expected(error, 0.5, np.full(4, 0.5)), rel=1e-2)
        assert loss(error, swinging, moving) == pytest.approx(expected(error, 0.5, np.abs(0.2 * gains - 0.5)), rel=1e-2)


def test_the_relative_loss_counts_joints_that_are_seen_and_a_velocity_between_seen_places():
    past, true = noise(2, 3, 13, 3), noise(2, 4, 13, 3, seed=1).abs()
    poses = noise(2, 4, 13, 2, seed=2)
    others = [joint for joint in range(13) if joint != 5]
    alone = relative_distance(poses[:, :, others], true[:, :, others], past[:, :, others]).item()
    hidden, unseen = true.clone(), past.clone()
    hidden[:, :, 5, 2] = 0
    unseen[:, 2, 5] = 0
    assert relative_distance(poses, hidden, past).item() == pytest.approx(alone, rel=1e-5)
    assert relative_distance(poses, true, unseen).item() == pytest.approx(alone, rel=1e-5)
    still, end = torch.ones(2, 3, 13, 3), torch.ones(2, 4, 13, 3)
    gap = still.clone()
    gap[:, 1, 5] = 0
    assert relative_distance(poses, end, gap) == relative_distance(poses, end, still)
