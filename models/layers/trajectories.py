"""Trajectories of nodes as vectors (batch, 3, frames, nodes) in decimetres, their velocities and norms, and the way back to poses.

Forecasters share these ends. Positions are taken from the mean of the clip, so that rounding does not depend on the place of the origin.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.layers.vectors import VectorLinear

Vectors = Float[Tensor, "batch 3 C nodes"]

DECIMETRES = 10.0  # metres to the unit inside, in which a hand has size 1
UNIT_S = 0.25  # the unit of time inside, in seconds: in it hands move about their own size


def trajectories(
    past: Float[Tensor, "batch past nodes 3"],
) -> tuple[Float[Tensor, "batch 3 past nodes"], Float[Tensor, "batch 3 1 1"]]:
    """Return positions in decimetres about the mean of each clip's frames and nodes, and this mean."""
    x = past.permute(0, 3, 1, 2) * DECIMETRES
    mean = x.mean(dim=(2, 3), keepdim=True)
    return x - mean, mean


def velocities(x: Float[Tensor, "batch 3 past nodes"], fps: float) -> Float[Tensor, "batch 3 past nodes"]:
    """Return backward differences in decimetres per UNIT_S; the first frame repeats the second's."""
    v = (x[:, :, 1:] - x[:, :, :-1]) * (fps * UNIT_S)
    return torch.cat([v[:, :, :1], v], dim=2)


def norms(g: Vectors) -> Float[Tensor, "batch nodes C"]:
    """Return the length of every vector, nodes before channels; the bound of 1e-6 keeps gradients finite."""
    return g.square().sum(1).clamp_min(1e-12).sqrt().transpose(1, 2)


class ReadOut(VectorLinear):
    """A learned combination of vector channels for each future frame and mode, the same for each node, added to the last pose.

    It begins at zero, so that an untrained network repeats the last pose. Further modes begin at small random combinations.
    """

    def __init__(self, channels: int, modes: int, future: int) -> None:
        super().__init__(channels, modes * future)
        self.shape = (modes, future)
        with torch.no_grad():
            self.weight[:future] = 0
            self.weight[future:] *= 0.01

    def forward(self, input: Vectors) -> Float[Tensor, "batch 3 modes future nodes"]:
        return super().forward(input).unflatten(2, self.shape)


def poses(
    moved: Float[Tensor, "batch 3 modes future nodes"],
    last: Float[Tensor, "batch 3 1 nodes"],
    mean: Float[Tensor, "batch 3 1 1"],
) -> Float[Tensor, "batch modes future nodes 3"]:
    """Return poses in metres: the last pose and the mean, plus displacements in decimetres."""
    return (moved + (last + mean).unsqueeze(2)).permute(0, 2, 3, 4, 1) / DECIMETRES
