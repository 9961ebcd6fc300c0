"""The tensors of FaceLandmarks as a landmark network uses them: centred points, and a batch of clouds as one block of rows."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.contract.task import FaceLandmarks

Points = Float[Tensor, "batch points 3"]

SPACING = 0.07  # dm, the mean distance of neighbours among 1024 points of a face: the logarithm of a spacing is 0 there
DECIMETRES = 10.0  # metres to the unit inside networks, in which a face has size 1


class Level(NamedTuple):
    """The points of one level, in decimetres, and their neighbourhoods. Indices count rows through all clouds of a batch."""

    points: Points
    neighbours: Int[Tensor, "batch points k"]
    offsets: Float[Tensor, "batch points k 3"]  # from a point to its neighbours


class Between(NamedTuple):
    """The links from each point of a level to its nearest points on the next coarser level."""

    parents: Int[Tensor, "rows n"]
    squares: Float[Tensor, "rows n"]  # squared distances to the parents


def centred(points: Points) -> tuple[Points, Float[Tensor, "batch 1 3"]]:
    """Return the points about their mean, and the mean."""
    mean = points.mean(dim=1, keepdim=True)
    return points - mean, mean


def levels_of(
    task: FaceLandmarks,
    points: Points,
    neighbours: Int[Tensor, "batch of_all_levels k"],
    parents: Int[Tensor, "batch of_all_but_the_last n"],
    dtype: torch.dtype,
) -> tuple[list[Level], list[Between]]:
    """Return the levels and the links between them, from the tensors of the task, in the precision of the network.

    Differences of points are computed before the cast: float32 coordinates would leave five digits of a distance of a millimetre.
    """
    sizes = list(task.levels)
    levels, between = [], []
    for size, near in zip(sizes, neighbours.split(sizes, dim=1), strict=True):
        here = points[:, :size]
        rows = near + _first_rows(near, size)
        levels.append(Level(here, rows, _rows(here, rows) - here.unsqueeze(2)))
    for fine, coarse, near in zip(levels, levels[1:], parents.split(sizes[:-1], dim=1), strict=False):
        rows = near + _first_rows(near, coarse.points.shape[1])
        apart = _rows(coarse.points, rows) - fine.points.unsqueeze(2)
        between.append(Between(rows.flatten(0, 1), apart.square().sum(-1).flatten(0, 1).to(dtype)))
    return [Level(level.points.to(dtype), level.neighbours, level.offsets.to(dtype)) for level in levels], between


def _first_rows(indices: Int[Tensor, "batch points n"], size: int) -> Int[Tensor, "batch 1 1"]:
    """Return the index of the first row of each cloud."""
    return torch.arange(indices.shape[0], device=indices.device).view(-1, 1, 1) * size


def _rows(points: Points, rows: Int[Tensor, "batch fine n"]) -> Float[Tensor, "batch fine n 3"]:
    """Return the points at these rows of the batch."""
    return points.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
