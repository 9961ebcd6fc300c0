"""Tests of ENN: directions, and gains that depend on a node's own speeds alone."""

import numpy as np
from laws import TASK, as_function, hand_motion, perturbed

from models.forecast.enn import ENNConfig


def test_every_node_moves_along_its_last_velocity():
    network, past = perturbed(ENNConfig().build(TASK)).double(), hand_motion(TASK.past, 21)
    moved = as_function(network)({"past": past})["future"][:, 0] - past[:, -1:]
    step = past[:, -1:] - past[:, -2:-1]
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(np.cross(moved, np.broadcast_to(step, moved.shape)), 0, atol=1e-12)


def test_nodes_do_not_see_each_other():
    network, past = perturbed(ENNConfig().build(TASK)).double(), hand_motion(TASK.past, 42)
    changed = past.copy()
    changed[:, :, 7] = changed[:, ::-1, 7] * 2
    before, after = (as_function(network)({"past": x})["future"] for x in (past, changed))
    differs = np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-9
    assert np.flatnonzero(differs).tolist() == [7]
