"""Forecasts linear in time, y_t = x_T + sum_s A_ts (x_s - x_T): hold, constant and damped velocity, and ridge regression.

One matrix A (future x past), the same for every joint and axis, so all of them are exactly equivariant. What a network must beat.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast

Matrix = Float[np.ndarray, "future past"]


class LinearForecast(nn.Module):
    """y_t = x_T + sum_s A_ts (x_s - x_T), metres in and out."""

    symmetries = ("translation", "rotation", "mirror-swap")
    matrix: Tensor

    def __init__(self, task: HandForecast, matrix: Matrix) -> None:
        super().__init__()
        if matrix.shape != (task.future, task.past):
            raise ValueError(f"a linear forecast wants a matrix of ({task.future}, {task.past}), not {matrix.shape}")
        self.task = task
        self.register_buffer("matrix", torch.tensor(matrix, dtype=torch.float32))

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        last = past[:, -1:]
        moved = self.matrix @ (past - last).flatten(2)
        return (last + moved.unflatten(2, past.shape[2:])).unsqueeze(1).expand(-1, self.task.modes, -1, -1, -1)


def hold(task: HandForecast) -> Matrix:
    """The last pose, for ever."""
    return np.zeros((task.future, task.past))


def constant_velocity(task: HandForecast) -> Matrix:
    """The last step, repeated."""
    return damped_velocity(task, 1.0)


def damped_velocity(task: HandForecast, decay: float) -> Matrix:
    """The last step, each next one `decay` times the one before: y_t = x_T + v (decay + ... + decay^t)."""
    matrix = hold(task)
    matrix[:, -2] = -np.cumsum(decay ** np.arange(1, task.future + 1))
    return matrix


def ridge(
    past: Float[np.ndarray, "windows past nodes 3"],
    future: Float[np.ndarray, "windows future nodes 3"],
    strength: float,
) -> Matrix:
    """The matrix of least squared error on these windows, every future frame by itself, in float64.

    `strength` is relative: it multiplies the mean diagonal of the normal equations. The last column stays 0, since x_T - x_T is.
    """
    x = _columns(past[:, :-1] - past[:, -1:])
    y = _columns(future - past[:, -1:])
    normal = x @ x.T
    normal += strength * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.concatenate([np.linalg.solve(normal, x @ y.T).T, np.zeros((len(y), 1))], axis=1)


def _columns(frames: Float[np.ndarray, "windows frames nodes 3"]) -> Float[np.ndarray, "frames coordinates"]:
    return np.moveaxis(frames, 1, 0).reshape(frames.shape[1], -1).astype(np.float64)
