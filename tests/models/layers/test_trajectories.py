"""Tests of trajectories: units, the mean, and the read-out's beginning."""

import torch

from models.layers.trajectories import ReadOut, norms, poses, trajectories, velocities


def test_a_metre_a_second_is_two_and_a_half_decimetres_in_a_quarter_of_a_second():
    past = torch.zeros(1, 6, 21, 3)
    past[..., 1] = (torch.arange(6) / 50.0)[:, None]
    x, _ = trajectories(past)
    torch.testing.assert_close(norms(velocities(x, 50)), torch.full((1, 21, 6), 2.5))


def test_poses_undo_trajectories():
    past = torch.randn(2, 4, 21, 3) + 5
    x, mean = trajectories(past)
    torch.testing.assert_close(x.mean(dim=(2, 3)), torch.zeros(2, 3), atol=1e-4, rtol=0)
    last = x[:, :, -1:]
    moved = (x - last).unsqueeze(2)  # as a mode that repeats the past
    torch.testing.assert_close(poses(moved, last, mean), past.unsqueeze(1))


def test_a_read_out_begins_at_zero_and_its_further_modes_near_it():
    answers = ReadOut(5, modes=3, future=4)(torch.randn(2, 3, 5, 21))
    assert answers.shape == (2, 3, 3, 4, 21)
    assert not answers[:, :, 0].any()
    assert 0 < answers[:, :, 1:].abs().mean() < 0.02
