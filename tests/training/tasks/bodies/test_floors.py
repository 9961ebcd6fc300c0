"""Tests of baselines without a network: they reach the known figures of their data sets."""

from pathlib import Path

import numpy as np
import pytest

from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.floors import lifting_floor, predicted, recognition_floor, ridge
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.metrics import mpjpe_mm


@pytest.mark.parametrize(("hold_out", "floor"), [(False, 108.3), (True, 114.1)])
def test_single_frame_ridge_lifts_to_the_known_floor(data_folder: Path, hold_out: bool, floor: float):
    """Actors bd and bk are for training, dg too unless it is held out, and mm is for testing. The mean pose is about 310 mm off.

    The data's own page states 113.7 mm for every fourth frame.
    """
    batches = LiftData(("hdm05_11",), receptive=1, hold_out=hold_out).load(data_folder)
    assert lifting_floor(batches, "test", "hdm05_11").figures["MPJPE"] == pytest.approx(floor, abs=0.3)
    poses, true = (np.concatenate([clip.targets for clip in batches.clips(split)]) for split in ("train", "test"))
    assert mpjpe_mm(np.broadcast_to(poses.mean(axis=0), true.shape), true).mean() == pytest.approx(310, abs=5)


@pytest.mark.parametrize(
    ("data", "floor"),
    [
        (ActionData("penn_action", frames=20, hold_out=False), 91.1),
        (ActionData("nw_ucla", frames=20, hold_out=False), 58.2),
        (ActionData("nw_ucla", frames=20, hold_out=False, protocol="cross-subject"), 67.4),
        (ActionData("nw_ucla", frames=20, hold_out=False, turned=True), 73.3),
        (ActionData("hdm05_11", frames=20, hold_out=False), 95.5),
        (ActionData("jhmdb", frames=20, hold_out=False), 68.8),
    ],
    ids=lambda value: f"{value.source} {value.protocol} turned={value.turned}" if isinstance(value, ActionData) else "",
)
def test_ridge_on_twenty_frames_reaches_a_known_floor(data_folder: Path, data: ActionData, floor: float):
    """Floors are top-1 in per cent. Turning people to the front gains 15 points if the test camera has another position."""
    figures = recognition_floor(data.load(data_folder), "test").figures
    assert figures["top-1"] == pytest.approx(floor, abs=0.7)
    assert figures["top-5"] > figures["top-1"]


def test_ridge_equals_least_squares_with_an_added_row_for_each_weight():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(50, 3)).astype(np.float32)
    weights = ridge(x, y, 2.5)
    ones = np.concatenate([x, np.ones((50, 1))], axis=1)
    stacked = np.concatenate([ones, np.sqrt(2.5) * np.eye(7)]), np.concatenate([y, np.zeros((7, 3))])
    np.testing.assert_allclose(weights, np.linalg.lstsq(*stacked)[0], atol=1e-9)
    np.testing.assert_allclose(predicted(weights, x), ones @ weights, atol=1e-9)
