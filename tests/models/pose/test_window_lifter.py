"""Tests of the lifter of windows: the size in the picture does not matter, windows are those of a loop, and it begins as a linear map."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.contract.task import PoseLift
from models.pose.ends import pairs
from models.pose.window_lifter import WindowLifter, WindowLifterConfig

TASK = PoseLift(receptive=9, confidence=True)


def network(task: PoseLift = TASK) -> WindowLifter:
    torch.manual_seed(0)
    lifter = WindowLifterConfig(pairs(32)).build(task).eval()
    with torch.no_grad():
        for parameter in lifter.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return lifter


def keypoints(frames: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, frames, 17, 3, generator=generator) - 0.5
    points[..., 2] = 1
    points[:, 3:6, 4] = 0  # missing for some frames
    points[1, :, 9] = 0  # missing throughout
    return points


def middle_of(points: Tensor) -> Tensor:
    """Return points moved so that their middle is at the origin, over all frames of the window."""
    seen = points[..., 2:] > 0
    middle = (points[..., :2] * seen).sum((1, 2), keepdim=True) / seen.sum((1, 2), keepdim=True)
    return torch.cat([(points[..., :2] - middle) * seen, points[..., 2:]], -1)


def test_a_person_of_another_size_in_the_middle_of_the_picture_has_the_same_poses():
    points = torch.ones(2, 9, 17, 3)
    points[..., :2] = middle_of(torch.cat([torch.rand(2, 9, 17, 2), torch.ones(2, 9, 17, 1)], -1))[..., :2]
    small = points.clone()
    small[..., :2] *= 0.3
    lifter = network()
    with torch.no_grad():
        torch.testing.assert_close(lifter(small), lifter(points), atol=2e-6, rtol=1e-5)
        moved = points + torch.tensor([0.4, 0.2, 0])
        assert (lifter(moved) - lifter(points)).abs().max() > 1e-3  # the place in the picture does matter


def test_a_confidence_counts_as_seen_if_it_is_above_0_and_what_is_missing_has_no_effect():
    lifter, points = network(), keypoints()
    unsure, other = points.clone(), points.clone()
    unsure[..., 2] *= 0.4
    other[:, 3:6, 4, :2] = 0.9
    with torch.no_grad():
        torch.testing.assert_close(lifter(unsure), lifter(points))
        torch.testing.assert_close(lifter(other), lifter(points))


def test_every_pose_is_that_of_its_window_alone():
    lifter, points = network(), keypoints(15)
    with torch.no_grad():
        together = lifter(points)
        alone = torch.cat([lifter(points[:, t : t + 9]) for t in range(7)], 1)
    assert together.shape == (2, 7, 17, 3)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[:, :, 0] == 0).all()


def test_an_untrained_network_is_linear_in_its_windows():
    lifter = WindowLifterConfig(pairs(32)).build(TASK).eval()
    with torch.no_grad():
        expected = lifter.leave(lifter.linear(lifter.enter(lifter.windows(keypoints()))))
        torch.testing.assert_close(lifter(keypoints()), expected - expected[:, :, :1])


@pytest.mark.parametrize("seen", [0, 1])
def test_a_window_with_no_joint_or_with_one_has_finite_poses(seen: int):
    points = torch.zeros(1, 9, 17, 3)
    points[:, :, :seen] = torch.tensor([0.3, 0.1, 1.0])
    points[:, 4, :seen, 0] += 0.2
    with torch.no_grad():
        assert np.isfinite(network()(points).numpy()).all()
