"""Filters as forecasts: a Kalman filter of constant velocity, and double exponential smoothing (LaViola 2003).

Both are linear in the past and repeat a pose at rest, so each is a matrix for `LinearForecast`. Each answers with a smoothed pose and a
smoothed velocity instead of the last pose and the last step, which carry all of the tracker's noise.
"""

import numpy as np
from jaxtyping import Float

from models.contract.task import HandForecast
from models.forecast.linear import Matrix


def kalman(task: HandForecast, ratio: float) -> Matrix:
    """Return the matrix of a Kalman filter whose state is the position and the velocity of a coordinate.

    The velocity is a random walk. `ratio` is the variance of its steps from frame to frame, in units a frame, over the variance of a
    measured position. A ratio of 0 fits a line to the whole past, and a large one repeats the last step. The prior is diffuse: the first
    two frames alone give the first state. Gains vary over the window. Raises ValueError if `ratio` is negative.
    """
    if ratio < 0:
        raise ValueError(f"expected a ratio of variances of at least 0, got {ratio}")
    step, noise = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([0.0, ratio])
    frames = np.eye(task.past)
    state = np.stack([frames[1], frames[1] - frames[0]])  # as weights of the frames
    covariance = np.array([[1.0, 1.0], [1.0, 2.0 + ratio]])  # of the state's error, in variances of the measurement
    for frame in frames[2:]:
        state, covariance = step @ state, step @ covariance @ step.T + noise
        gain = covariance[:, 0] / (covariance[0, 0] + 1)
        state = state + np.outer(gain, frame - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
    return _extrapolated(task, state)


def double_exponential(task: HandForecast, alpha: float) -> Matrix:
    """Return the matrix of double exponential smoothing (LaViola 2003, "Double exponential smoothing: an alternative to Kalman
    filter-based predictive tracking").

    S = alpha x + (1 - alpha) S, S' = alpha S + (1 - alpha) S', both from the first frame on; the pose is 2 S - S' and the velocity
    alpha / (1 - alpha) (S - S'). Raises ValueError unless 0 < `alpha` < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"expected 0 < alpha < 1, got {alpha}")
    frames = np.eye(task.past)
    once = twice = frames[0]
    for frame in frames[1:]:
        once = alpha * frame + (1 - alpha) * once
        twice = alpha * once + (1 - alpha) * twice
    return _extrapolated(task, np.stack([2 * once - twice, alpha / (1 - alpha) * (once - twice)]))


def _extrapolated(task: HandForecast, state: Float[np.ndarray, "2 past"]) -> Matrix:
    """Return the matrix of position + t velocity for t = 1, 2, ...; the last column is 0, because x_T - x_T is."""
    matrix = state[0] + np.arange(1, task.future + 1)[:, None] * state[1]
    matrix[:, -1] = 0
    return matrix
