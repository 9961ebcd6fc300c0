"""Tests of errors of hand forecasts: they equal the loops that define them."""

import numpy as np
import pytest

from training.tasks.hands.metrics import (
    HORIZONS_MS,
    at_horizons,
    distances_mm,
    jitter_mm,
    seam_mm,
    squares_dm2,
)


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
    assert HORIZONS_MS == (33, 67, 100, 333, 500, 1000)
    near = {"33 ms": 1, "67 ms": 2, "100 ms": 3}
    assert at_horizons(np.arange(1.0, 31), 30) == near | {"333 ms": 10, "500 ms": 15, "1000 ms": 30}
    assert at_horizons(np.arange(1.0, 11), 30) == near | {"333 ms": 10}
    twice = {"33 ms": 2, "67 ms": 4, "100 ms": 6, "333 ms": 20, "500 ms": 30, "1000 ms": 60}
    assert at_horizons(np.arange(1.0, 61), 60) == twice
    assert at_horizons(np.arange(1.0, 91), 90)["67 ms"] == 6
    assert at_horizons(np.arange(1.0, 3), 2) == {"333 ms": 1, "500 ms": 1, "1000 ms": 2}


def test_jitter_is_the_second_difference_of_answers_to_consecutive_windows_at_each_frame(pair):
    forecast = np.concatenate(pair)
    follows = np.array([True, True, False, True, True])
    jitter = jitter_mm(forecast, follows)
    assert jitter is not None
    for t in range(4):
        triples = [
            sum((forecast[w - 1, t, j] - 2 * forecast[w, t, j] + forecast[w + 1, t, j]) ** 2) ** 0.5
            for w in (1, 4)
            for j in range(21)
        ]
        assert jitter[t] == pytest.approx(1000 * sum(triples) / 42)
    assert jitter_mm(forecast, np.array([True, False, True, False, True])) is None
    assert jitter_mm(forecast[:1], np.zeros(0, bool)) is None


def test_the_seam_is_the_change_of_the_step_from_past_to_forecast(pair):
    past, forecast = pair
    for w, jump in enumerate(seam_mm(past, forecast)):
        joints = [
            sum(((forecast[w, 0, j] - past[w, 3, j]) - (past[w, 3, j] - past[w, 2, j])) ** 2) ** 0.5 for j in range(21)
        ]
        assert jump == pytest.approx(1000 * sum(joints) / 21)
    assert seam_mm(past, 2 * past[:, -1:] - past[:, -2:-1]).max() < 1e-9
