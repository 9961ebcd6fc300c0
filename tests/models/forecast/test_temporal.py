"""Tests of the temporal baseline: its size, and joints that do not see each other."""

import numpy as np
from laws import as_function, hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.temporal import TemporalConfig


def test_the_default_has_the_published_15k_weights_from_a_second_to_a_second():
    network = TemporalConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) == 14_900


def test_a_joint_does_not_see_the_others_beyond_their_centre():
    network, past = (
        perturbed(TemporalConfig(hidden=8).build(HandForecast(past=8, future=2, fps=30))),
        hand_motion(8, 21),
    )
    moved = past.copy()
    moved[:, :, 3, 0] += 0.1
    moved[:, :, 4, 0] -= 0.1
    before, after = (as_function(network)({"past": x.astype(np.float32)})["future"] for x in (past, moved))
    differs = np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-5
    assert np.flatnonzero(differs).tolist() == [3, 4]
