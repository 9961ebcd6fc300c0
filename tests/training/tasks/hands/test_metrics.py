"""Tests of errors of hand forecasts: they equal the loops that define them."""

import numpy as np
import pytest

from training.tasks.hands.metrics import HORIZONS_MS, at_horizons, distances_mm, squares_dm2


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 21, 3)), rng.normal(size=(3, 4, 21, 3))


def test_distances_are_the_mean_over_joints_in_millimetres(pair):
    forecast, true = pair
    errors = distances_mm(forecast, true)
    for w in range(3):
        for t in range(4):
            joints = [sum((forecast[w, t, j] - true[w, t, j]) ** 2) ** 0.5 for j in range(21)]
            assert errors[w, t] == pytest.approx(1000 * sum(joints) / 21)


def test_squares_are_the_mean_over_joints_of_the_squared_distance_in_square_decimetres(pair):
    forecast, true = pair
    errors = squares_dm2(forecast, true)
    for w in range(3):
        for t in range(4):
            joints = [sum((10 * (forecast[w, t, j] - true[w, t, j])) ** 2) for j in range(21)]
            assert errors[w, t] == pytest.approx(sum(joints) / 21)


def test_a_centimetre_off_is_ten_millimetres_and_a_hundredth_of_a_square_decimetre():
    true = np.zeros((1, 1, 42, 3))
    off = true + np.array([0.01, 0, 0])
    assert distances_mm(off, true).item() == pytest.approx(10)
    assert squares_dm2(off, true).item() == pytest.approx(0.01)


def test_the_error_at_a_horizon_is_that_of_the_nearest_frame():
    assert HORIZONS_MS == (100, 333, 500, 1000)
    assert at_horizons(np.arange(1.0, 31), 30) == {"100 ms": 3, "333 ms": 10, "500 ms": 15, "1000 ms": 30}
    assert at_horizons(np.arange(1.0, 11), 30) == {"100 ms": 3, "333 ms": 10}
    assert at_horizons(np.arange(1.0, 61), 60) == {"100 ms": 6, "333 ms": 20, "500 ms": 30, "1000 ms": 60}
    assert at_horizons(np.arange(1.0, 3), 2) == {"333 ms": 1, "500 ms": 1, "1000 ms": 2}
