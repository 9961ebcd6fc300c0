"""Tests of ATT: nodes see each other only through the middle of each frame."""

import numpy as np
from laws import TASK, as_function, hand_motion, perturbed

from models.forecast.att import ATTConfig


def test_nodes_see_each_other_only_through_the_middle_of_the_frame():
    network, past = perturbed(ATTConfig(hidden=8, layers=2).build(TASK)).double(), hand_motion(TASK.past, 42)
    changed = past.copy()
    changed[:, 4, 7] += 0.01
    changed[:, 4, 9] -= 0.01
    before, after = (as_function(network)({"past": x})["future"] for x in (past, changed))
    differs = np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-9
    assert np.flatnonzero(differs).tolist() == [7, 9]


def test_the_order_of_frames_matters():
    network, past = perturbed(ATTConfig(hidden=8, layers=1).build(TASK)).double(), hand_motion(TASK.past, 21)
    changed = past.copy()
    changed[:, [2, 5]] = changed[:, [5, 2]]
    before, after = (as_function(network)({"past": x})["future"] for x in (past, changed))
    assert np.abs(after - before).max() > 1e-5
