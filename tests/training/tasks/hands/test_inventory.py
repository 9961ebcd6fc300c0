"""Tests of the count of windows: it is that of the windows that training and measuring use."""

from pathlib import Path

from models.contract.task import HandForecast
from training.engine.run import Run
from training.tasks.hands.data import HandData
from training.tasks.hands.inventory import inventory


def test_the_inventory_counts_windows_and_recordings(tiny: Run[HandForecast, HandData], synthetic_data: Path):
    lines = inventory(synthetic_data, ("leap", "tzionas"), [tiny.data.window]).splitlines()
    assert lines[0] == "| source | split | window | one hand | two hands | recordings | shorter | slower | gaps |"
    assert lines[2] == "| leap | train | 6+6@30 | 29 | 49 | 2 | 0 | 0 | 0 |"  # 60 frames of two hands, 40 of one
    assert lines[7] == "| tzionas | test | 6+6@30 | 0 | 13 | 1 | 0 | 0 | 0 |"
    assert len(lines) == 8
    more = inventory(synthetic_data, ("leap",), [tiny.data.window], least=(3, 2)).splitlines()
    assert more[2] == "| leap | train | 6+6@30 | 36 | 56 | 2 | 0 | 0 | 0 |"  # three begin early, four end late
    assert more[3:] == lines[3:5]
