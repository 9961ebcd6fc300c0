"""Tests of the forecasters whose joints share nothing but their common centre."""

import numpy as np
import pytest
from laws import as_function, hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.gwnet import GWNetConfig
from models.forecast.temporal import TemporalConfig

APART = {
    "gwnet": GWNetConfig(channels=4, skip=6, end=6),
    "temporal": TemporalConfig(hidden=8),
}


@pytest.mark.parametrize("config", APART.values(), ids=APART)
def test_a_joint_does_not_see_the_others_beyond_their_centre(config: GWNetConfig | TemporalConfig):
    network, past = perturbed(config.build(HandForecast(past=8, future=2, fps=30))), hand_motion(8, 21)
    moved = past.copy()
    moved[:, :, 3, 0] += 0.1
    moved[:, :, 4, 0] -= 0.1
    before, after = (as_function(network)({"past": x.astype(np.float32)})["future"] for x in (past, moved))
    differs = np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-5
    assert np.flatnonzero(differs).tolist() == [3, 4]
