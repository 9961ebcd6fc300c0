"""Tests of the temporal baseline: its size."""

from models.contract.task import HandForecast
from models.forecast.temporal import TemporalConfig


def test_the_default_has_the_published_15k_weights_from_a_second_to_a_second():
    network = TemporalConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) == 14_900
