"""Reference implementation of rotations of features of any degree, computed from the harmonics by least squares."""

import numpy as np
import torch
from torch import Tensor

from models.contract.symmetry import random_rotation
from models.layers.degrees import Channels
from models.layers.spherical import spherical_harmonics


def turn_of(seed: int = 0) -> Tensor:
    """Return a random rotation, (3, 3)."""
    return torch.from_numpy(random_rotation(np.random.default_rng(seed)))


def wigner_d(degree: int, turn: Tensor) -> Tensor:
    """Return the matrix D with Y(R x) = D Y(x)."""
    directions = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    directions = directions / directions.norm(dim=1, keepdim=True)
    before, after = spherical_harmonics(directions, degree)[-1], spherical_harmonics(directions @ turn.T, degree)[-1]
    return torch.linalg.lstsq(before, after).solution.T


def rows(f: Tensor, channels: Channels, turn: Tensor) -> Tensor:
    """Rotate rows of features."""
    blocks = [
        torch.kron(wigner_d(degree, turn), torch.eye(c, dtype=torch.float64)) for degree, c in enumerate(channels)
    ]
    return f @ torch.block_diag(*blocks).T.to(f)
