"""What every landmark network does with the tensors of its task: centre the points, and address a batch of clouds as one block of rows."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.contract.task import FaceLandmarks

Points = Float[Tensor, "batch points 3"]


class Level(NamedTuple):
    """The points of one level, in the unit inside, and their neighbourhoods. Indices are of rows: the second cloud of a batch begins where
    the first ends."""

    points: Points
    neighbours: Int[Tensor, "batch points k"]
    offsets: Float[Tensor, "batch points k 3"]  # from a point to its neighbours


class Between(NamedTuple):
    """From each point of a level to the nearest of the level below it."""

    parents: Int[Tensor, "rows n"]
    squares: Float[Tensor, "rows n"]


def centred(points: Points) -> tuple[Points, Float[Tensor, "batch 1 3"]]:
    """Points about their mean, and the mean."""
    mean = points.mean(dim=1, keepdim=True)
    return points - mean, mean


def levels_of(
    task: FaceLandmarks,
    points: Points,
    neighbours: Int[Tensor, "batch of_all_levels k"],
    parents: Int[Tensor, "batch of_all_but_the_last n"],
    dtype: torch.dtype,
) -> tuple[list[Level], list[Between]]:
    """The levels and what is between them, from the tensors of the task, in the type that the network computes in.

    Differences of points are taken before they are cast: of neighbours a millimetre apart, coordinates in float32 would leave five digits.
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
    return torch.arange(indices.shape[0], device=indices.device).view(-1, 1, 1) * size


def _rows(points: Points, rows: Int[Tensor, "batch fine n"]) -> Float[Tensor, "batch fine n 3"]:
    return points.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
