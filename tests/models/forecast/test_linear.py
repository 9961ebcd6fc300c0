"""Tests of forecasts that are linear in time, against loops as reference implementations."""

import numpy as np
import pytest
from laws import as_function, hand_motion

from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold, ridge

TASK = HandForecast(past=6, future=5, fps=30)


def answer(matrix: np.ndarray, past: np.ndarray, task: HandForecast = TASK) -> np.ndarray:
    return as_function(LinearForecast(task, matrix).double())({"past": past})["future"]


@pytest.fixture
def past() -> np.ndarray:
    return hand_motion(TASK.past, 42)


def test_hold_repeats_the_last_pose(past: np.ndarray):
    assert np.array_equal(answer(hold(TASK), past), np.repeat(past[:, None, -1:], TASK.future, axis=2))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_damped_velocity_multiplies_each_step_by_the_decay(past: np.ndarray, decay: float):
    pose, step, expected = past[:, -1], past[:, -1] - past[:, -2], []
    for _ in range(TASK.future):
        step = decay * step
        pose = pose + step
        expected.append(pose)
    actual = answer(damped_velocity(TASK, decay), past)
    np.testing.assert_allclose(actual[:, 0], np.stack(expected, axis=1), atol=1e-6)


def test_constant_velocity_repeats_the_last_step(past: np.ndarray):
    actual = answer(constant_velocity(TASK), past)
    for t in range(TASK.future):
        np.testing.assert_allclose(actual[:, 0, t], past[:, -1] + (t + 1) * (past[:, -1] - past[:, -2]), atol=1e-6)


def test_every_mode_is_the_same_forecast(past: np.ndarray):
    task = TASK.model_copy(update={"modes": 3})
    actual = answer(damped_velocity(task, 0.9), past, task)
    assert actual.shape == (2, 3, 5, 42, 3)
    assert all(np.array_equal(actual[:, 0], actual[:, mode]) for mode in (1, 2))


def test_a_matrix_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"a matrix of shape \(5, 6\), got \(6, 5\)"):
        LinearForecast(TASK, hold(TASK).T)


def windows(seed: int = 0) -> np.ndarray:
    return hand_motion(TASK.past, 21, batch=12, seed=seed) + np.random.default_rng(seed).normal(
        scale=0.01, size=(12, TASK.past, 21, 3)
    )


def test_ridge_recovers_a_linear_law_from_exact_data():
    law = np.random.default_rng(1).normal(scale=0.3, size=(TASK.future, TASK.past))
    law[:, -1] = 0
    past = windows()
    future = past[:, -1:] + np.einsum("ts,wsnc->wtnc", law, past - past[:, -1:])
    np.testing.assert_allclose(ridge(past, future, strength=1e-12), law, atol=1e-6)


def test_ridge_matches_least_squares_on_augmented_samples_for_each_frame():
    clip = hand_motion(TASK.past + TASK.future, 21, batch=4) + np.random.default_rng(0).normal(
        scale=0.01, size=(4, 11, 21, 3)
    )
    past, future = clip[:, :6], clip[:, 6:]
    matrix = ridge(past, future, strength=0.1)
    rows = (past - past[:, -1:])[:, :-1].transpose(0, 2, 3, 1).reshape(-1, 5)  # one sample in each row
    penalty = 0.1 * np.trace(rows.T @ rows) / 5
    for t in range(TASK.future):
        target = (future[:, t] - past[:, -1]).reshape(-1)
        augmented = np.concatenate([rows, np.sqrt(penalty) * np.eye(5)])  # ridge as least squares with penalty rows
        expected = np.linalg.lstsq(augmented, np.concatenate([target, np.zeros(5)]))[0]
        np.testing.assert_allclose(matrix[t, :-1], expected, atol=1e-10)
    assert (matrix[:, -1] == 0).all()


def test_a_stronger_penalty_shrinks_the_weights():
    clip = hand_motion(11, 21, batch=4)
    sizes = [np.abs(ridge(clip[:, :6], clip[:, 6:], strength)).sum() for strength in (1e-4, 1e-1, 1e2)]
    assert sizes[0] > sizes[1] > sizes[2]
