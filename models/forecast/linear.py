"""Forecasts linear in time, y_t = x_T + sum_s A_ts (x_s - x_T): hold, constant and damped velocity, and ridge regression.

They share one matrix A (future x past) for every joint and axis, so they are exactly equivariant. They are the baselines of every network.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast

Matrix = Float[np.ndarray, "future past"]


class LinearForecast(nn.Module):
    """y_t = x_T + sum_s A_ts (x_s - x_T), in metres. Raises ValueError for a matrix of another shape than (future, past)."""

    symmetries = ("translation", "rotation", "mirror-swap")
    matrix: Tensor

    def __init__(self, task: HandForecast, matrix: Matrix) -> None:
        super().__init__()
        if matrix.shape != (task.future, task.past):
            raise ValueError(f"expected a matrix of shape ({task.future}, {task.past}), got {matrix.shape}")
        self.task = task
        self.register_buffer("matrix", torch.tensor(matrix, dtype=torch.float32))

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return the same future poses for every mode, in metres."""
        last = past[:, -1:]
        moved = self.matrix @ (past - last).flatten(2)
        return (last + moved.unflatten(2, past.shape[2:])).unsqueeze(1).expand(-1, self.task.modes, -1, -1, -1)


def hold(task: HandForecast) -> Matrix:
    """Return the matrix that repeats the last pose."""
    return np.zeros((task.future, task.past))


def constant_velocity(task: HandForecast) -> Matrix:
    """Return the matrix that repeats the last step."""
    return damped_velocity(task, 1.0)


def damped_velocity(task: HandForecast, decay: float) -> Matrix:
    """Return the matrix in which every step is `decay` times the one before: y_t = x_T + v (decay + ... + decay^t)."""
    matrix = hold(task)
    matrix[:, -2] = -np.cumsum(decay ** np.arange(1, task.future + 1))
    return matrix


def ridge(
    past: Float[np.ndarray, "windows past nodes 3"],
    future: Float[np.ndarray, "windows future nodes 3"],
    strength: float,
) -> Matrix:
    """Return the matrix with the least squared error on these windows, fitted for each future frame in float64.

    `strength` is the ridge penalty relative to the mean diagonal of the normal equations. The last column is 0, because x_T - x_T is.
    """
    x = _columns(past[:, :-1] - past[:, -1:])
    y = _columns(future - past[:, -1:])
    normal = x @ x.T
    normal += strength * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.concatenate([np.linalg.solve(normal, x @ y.T).T, np.zeros((len(y), 1))], axis=1)


def _columns(frames: Float[np.ndarray, "windows frames nodes 3"]) -> Float[np.ndarray, "frames coordinates"]:
    """Return all coordinates of each frame as a row, in float64."""
    return np.moveaxis(frames, 1, 0).reshape(frames.shape[1], -1).astype(np.float64)
