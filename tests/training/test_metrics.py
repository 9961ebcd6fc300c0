"""Metrics, against loops that say what they are."""

import numpy as np
import pytest

from training.engine.statistics import bootstrap_interval
from training.tasks.hands.metrics import HORIZONS_MS, at_horizons, distances_mm, squares_dm2


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 21, 3)), rng.normal(size=(3, 4, 21, 3))


def test_distances_are_the_mean_over_joints_in_millimetres(pair):
    forecast, true = pair
    got = distances_mm(forecast, true)
    for w in range(3):
        for t in range(4):
            joints = [sum((forecast[w, t, j] - true[w, t, j]) ** 2) ** 0.5 for j in range(21)]
            assert got[w, t] == pytest.approx(1000 * sum(joints) / 21)


def test_squares_are_the_mean_over_joints_of_the_squared_distance_in_square_decimetres(pair):
    forecast, true = pair
    got = squares_dm2(forecast, true)
    for w in range(3):
        for t in range(4):
            joints = [sum((10 * (forecast[w, t, j] - true[w, t, j])) ** 2) for j in range(21)]
            assert got[w, t] == pytest.approx(sum(joints) / 21)


def test_a_centimetre_off_is_ten_millimetres_and_a_hundredth_of_a_square_decimetre():
    true = np.zeros((1, 1, 42, 3))
    off = true + np.array([0.01, 0, 0])
    assert distances_mm(off, true).item() == pytest.approx(10)
    assert squares_dm2(off, true).item() == pytest.approx(0.01)


def test_horizons_are_those_that_the_forecast_reaches_at_the_nearest_frame():
    assert HORIZONS_MS == (100, 333, 500, 1000)
    assert at_horizons(np.arange(1.0, 31), 30) == {"100 ms": 3, "333 ms": 10, "500 ms": 15, "1000 ms": 30}
    assert at_horizons(np.arange(1.0, 11), 30) == {"100 ms": 3, "333 ms": 10}
    assert at_horizons(np.arange(1.0, 61), 60) == {"100 ms": 6, "333 ms": 20, "500 ms": 30, "1000 ms": 60}
    assert at_horizons(np.arange(1.0, 3), 2) == {"333 ms": 1, "500 ms": 1, "1000 ms": 2}


def slow_bootstrap(errors: np.ndarray, recording_of: np.ndarray, draws: int) -> tuple[float, float]:
    rng = np.random.default_rng(7)
    groups = [errors[recording_of == r] for r in np.unique(recording_of)]
    means = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]).mean() for _ in range(draws)
    ]
    return tuple(np.percentile(means, (2.5, 97.5)))


def test_the_interval_is_that_of_drawing_whole_recordings_again():
    rng = np.random.default_rng(0)
    recording_of = np.repeat(np.arange(12) * 3, rng.integers(5, 40, size=12))  # numbers need not be consecutive
    errors = 20 + 5 * np.sin(recording_of) + rng.normal(size=len(recording_of))
    low, high = bootstrap_interval(errors, recording_of) or pytest.fail("no interval")
    slow = slow_bootstrap(errors, recording_of, draws=3000)
    assert low < errors.mean() < high
    assert (low, high) == pytest.approx(slow, abs=0.25 * (high - low))
    assert bootstrap_interval(errors, recording_of) == (low, high)


def test_windows_that_repeat_one_another_make_the_interval_no_narrower():
    recording_of, errors = np.arange(8), np.random.default_rng(0).normal(20, 5, size=8)
    once = bootstrap_interval(errors, recording_of)
    often = bootstrap_interval(np.repeat(errors, 50), np.repeat(recording_of, 50))
    by_window = bootstrap_interval(np.repeat(errors, 50), np.arange(400))
    assert once is not None
    assert often == pytest.approx(once)
    assert by_window is not None
    assert by_window[1] - by_window[0] < 0.3 * (once[1] - once[0])


def test_one_recording_alone_has_no_interval():
    assert bootstrap_interval(np.arange(5.0), np.zeros(5, int)) is None
