"""Tests of filters as forecasts, against filters that run step by step over the frames."""

import numpy as np
import pytest
from laws import as_function, hand_motion

from models.contract.task import HandForecast
from models.forecast.filters import double_exponential, kalman
from models.forecast.linear import LinearForecast, constant_velocity

TASK = HandForecast(past=9, future=5, fps=30)


def answer(matrix: np.ndarray, past: np.ndarray, task: HandForecast = TASK) -> np.ndarray:
    return as_function(LinearForecast(task, matrix).double())({"past": past})["future"][:, 0]


@pytest.fixture
def past() -> np.ndarray:
    noise = np.random.default_rng(0).normal(scale=0.002, size=(2, TASK.past, 42, 3))
    return hand_motion(TASK.past, 42) + noise


def filtered(past: np.ndarray, ratio: float, future: int) -> np.ndarray:
    """Filter each coordinate with a prior variance of 1e7 in place of an infinite one."""
    step, seen = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    answers = np.empty((len(past), future, *past.shape[2:]))
    for where in np.ndindex(len(past), *past.shape[2:]):
        state, covariance = np.zeros((2, 1)), 1e7 * np.eye(2)
        for t, measured in enumerate(past[where[0], :, where[1], where[2]]):
            if t > 0:
                state, covariance = step @ state, step @ covariance @ step.T + np.diag([0.0, ratio])
            surprise = measured - seen @ state
            gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + 1)
            keep = np.eye(2) - gain @ seen
            state, covariance = state + gain @ surprise, keep @ covariance @ keep.T + gain @ gain.T
        for t in range(future):
            state = step @ state
            answers[where[0], t, where[1], where[2]] = state[0, 0]
    return answers


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 10.0])
def test_the_kalman_forecast_is_that_of_a_filter_run_frame_by_frame(past: np.ndarray, ratio: float):
    some = past[:1, :, :4]
    np.testing.assert_allclose(answer(kalman(TASK, ratio), some), filtered(some, ratio, TASK.future), atol=1e-6)


def test_without_noise_of_the_motion_the_kalman_forecast_continues_the_line_of_least_squares(past: np.ndarray):
    coordinates = past.swapaxes(0, 1).reshape(TASK.past, -1)
    slope, intercept = np.polyfit(np.arange(TASK.past), coordinates, 1)
    expected = intercept + slope * np.arange(TASK.past, TASK.past + TASK.future)[:, None]
    np.testing.assert_allclose(
        answer(kalman(TASK, 0), past).swapaxes(0, 1).reshape(TASK.future, -1), expected, atol=1e-6
    )


def test_with_much_noise_of_the_motion_the_kalman_forecast_repeats_the_last_step(past: np.ndarray):
    np.testing.assert_allclose(answer(kalman(TASK, 1e9), past), answer(constant_velocity(TASK), past), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_double_exponential_smoothing_is_that_of_smoothers_run_frame_by_frame(past: np.ndarray, alpha: float):
    once = twice = past[:, 0]
    for t in range(1, TASK.past):
        once = alpha * past[:, t] + (1 - alpha) * once
        twice = alpha * once + (1 - alpha) * twice
    forecasts = answer(double_exponential(TASK, alpha), past)
    for t in range(1, TASK.future + 1):
        expected = (2 + alpha * t / (1 - alpha)) * once - (
            1 + alpha * t / (1 - alpha)
        ) * twice  # LaViola's eq. for time t
        np.testing.assert_allclose(forecasts[:, t - 1], expected, atol=1e-6)


@pytest.mark.parametrize("matrix", [kalman(TASK, 0.1), kalman(TASK, 0), double_exponential(TASK, 0.99)])
def test_a_filter_of_little_memory_or_a_kalman_filter_continues_a_constant_velocity(matrix: np.ndarray):
    line = np.arange(TASK.past)[None, :, None, None] * np.ones((1, 1, 21, 3)) * 0.01
    np.testing.assert_allclose(answer(matrix, line), answer(constant_velocity(TASK), line), atol=1e-3)


def test_two_frames_give_constant_velocity():
    task = HandForecast(past=2, future=3, fps=30)
    past = hand_motion(2, 21)
    expected = answer(constant_velocity(task), past, task)
    np.testing.assert_allclose(answer(kalman(task, 0.1), past, task), expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, 0.0, 1.0])
def test_a_smoothing_constant_outside_of_0_to_1_is_refused(alpha: float):
    with pytest.raises(ValueError, match=f"expected 0 < alpha < 1, got {alpha}"):
        double_exponential(TASK, alpha)


def test_a_negative_ratio_of_variances_is_refused():
    with pytest.raises(ValueError, match="a ratio of variances of at least 0, got -1"):
        kalman(TASK, -1)
