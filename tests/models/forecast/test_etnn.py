"""Tests of ETNN: the past beyond the last velocity, and nodes alone."""

import numpy as np
from laws import TASK, as_function, hand_motion, perturbed

from models.forecast.etnn import ETNNConfig


def test_nodes_do_not_see_each_other_but_their_whole_past():
    network, past = perturbed(ETNNConfig().build(TASK)).double(), hand_motion(TASK.past, 42)
    changed = past.copy()
    changed[:, 2, 7] += 0.01
    before, after = (as_function(network)({"past": x})["future"] for x in (past, changed))
    differs = np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-9
    assert np.flatnonzero(differs).tolist() == [7]


def test_nodes_leave_the_line_of_their_last_velocity():
    network, past = perturbed(ETNNConfig().build(TASK), by=0.1).double(), hand_motion(TASK.past, 21)
    moved = as_function(network)({"past": past})["future"][:, 0] - past[:, -1:]
    step = past[:, -1:] - past[:, -2:-1]
    aside = np.linalg.norm(np.cross(moved, np.broadcast_to(step, moved.shape)), axis=-1)
    assert (aside / np.linalg.norm(moved, axis=-1) / np.linalg.norm(step, axis=-1)).max() > 0.1
