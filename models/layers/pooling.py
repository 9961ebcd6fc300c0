"""Pooling and upsampling between the levels of a U-Net on points.

Points are in the order of farthest point sampling. Each level is a prefix of the finer one and therefore a farthest point sample itself, so
nothing is sampled here. Features are rows of several degrees (models/layers/degrees.py). A batch of clouds is one block of rows, cloud
after cloud.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.degrees import Channels, Rows, norms, pack, split

Reduction = Literal["mean", "sum", "max"]

MEETING = 1e-8  # the lower bound of squared distances, in the square of the positions' unit


class Pooling3D(nn.Module):
    """Pooling of each kept point with its neighbours on the finer level, by their mean, sum or maximum.

    The maximum of a channel of vectors is the longest vector: a maximum of each component would not commute with rotation.
    """

    def __init__(self, channels: Channels, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.channels, self.reduction = channels, reduction

    def forward(self, f: Rows, neighbours: Int[Tensor, "batch points k"], kept: int) -> Float[Tensor, "pooled width"]:
        """Pool onto the first `kept` points of each cloud; `neighbours` are indices of rows of `f`."""
        batch, points, k = neighbours.shape
        own = f.unflatten(0, (batch, points))[:, :kept].flatten(0, 1)
        chosen = neighbours[:, :kept].flatten()
        others = f.index_select(0, chosen).unflatten(0, (batch * kept, k))
        if self.reduction == "max":
            return self._longest(torch.cat([own.unsqueeze(1), others], dim=1))
        total = own + others.sum(1)
        return total / (k + 1) if self.reduction == "mean" else total

    def _longest(self, f: Float[Tensor, "pooled k width"]) -> Float[Tensor, "pooled width"]:
        pooled, k = f.shape[:2]
        scalars, *others = split(f.flatten(0, 1), self.channels)
        longest = [scalars.unflatten(0, (pooled, k)).amax(1)]
        for part in others:
            winner = norms(part).unflatten(0, (pooled, k)).argmax(1)  # (pooled, channel)
            indices = winner[:, None, None].expand(-1, 1, part.shape[1], -1)
            longest.append(part.unflatten(0, (pooled, k)).gather(1, indices)[:, 0])
        return pack(longest)


class Upsampling3D(nn.Module):
    """Interpolation from the nearest points of the coarser level, weighted by 1 / distance^power (PointNet++, arXiv:1706.02413: 2)."""

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def forward(
        self,
        f: Float[Tensor, "pooled width"],
        parents: Int[Tensor, "points n"],
        squares: Float[Tensor, "points n"],
    ) -> Float[Tensor, "points width"]:
        """Interpolate from the rows `parents` of `f` at the squared distances `squares`; at distance 0 a parent decides alone."""
        points, n = parents.shape
        squares = squares.clamp_min(MEETING)  # clamped, because the exporter drops so small an epsilon
        weights = 1 / (squares if self.power == 2.0 else squares ** (0.5 * self.power))
        weights = weights / weights.sum(1, keepdim=True)
        gathered = f.index_select(0, parents.flatten()).unflatten(0, (points, n))
        return (weights.unsqueeze(1) @ gathered).squeeze(1)
