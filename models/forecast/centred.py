"""The ends of forecasters that keep translations alone: poses in decimetres about the centre of the last one, and back to metres.

The centre is the mean of the last pose's joints, which is added back to the answer. A network with `residual` answers with the last pose
plus its output, and its read-out begins at zero, so that an untrained network repeats the last pose. Without `residual` the output is the
pose itself about the centre. Networks with weights a node are built for two hands. They see one hand as two equal ones, and the first 21
nodes of their output are its answer.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.eqmotion import DECIMETRES, NODES

Past = Float[Tensor, "batch past nodes 3"]
Future = Float[Tensor, "batch modes future nodes 3"]


def centred(past: Past) -> tuple[Past, Float[Tensor, "batch 1 1 3"]]:
    """Return poses in decimetres about the centre of the last one, and that centre in metres."""
    centre = past[:, -1:].mean(dim=2, keepdim=True)
    return (past - centre) * DECIMETRES, centre


def answered(y: Future, x: Past, centre: Float[Tensor, "batch 1 1 3"], *, residual: bool) -> Future:
    """Return the forecast in metres for an output y in decimetres; `x` and `centre` are from `centred`."""
    if residual:
        y = y + x[:, -1:].unsqueeze(1)
    return y / DECIMETRES + centre.unsqueeze(1)


def both_hands(x: Past) -> Float[Tensor, "batch past 42 3"]:
    """Return two hands as they are, and one hand as two equal ones; free of a branch on the number of nodes, which a graph leaves free."""
    return torch.cat([x, x], dim=2)[:, :, :NODES]


def by_node(x: Past) -> Float[Tensor, "batch nodes coordinates"]:
    """Return the coordinates of a node over all frames as one row, frame by frame."""
    return x.transpose(1, 2).flatten(2)


def by_frame(y: Float[Tensor, "batch nodes coordinates"], task: HandForecast) -> Future:
    """Return rows of modes x future x 3 coordinates, one a node, as poses."""
    return y.unflatten(2, (task.modes, task.future, 3)).permute(0, 2, 3, 1, 4)


def begin_at_zero(read_out: nn.Linear | nn.Conv2d, modes: int) -> None:
    """Set the weights of mode 0 to zero and those of the others close to it; the outputs are in the order of modes."""
    first = len(read_out.weight) // modes
    with torch.no_grad():
        for weights in (read_out.weight, read_out.bias):
            if weights is not None:
                weights[:first] = 0
                weights[first:] *= 0.01
