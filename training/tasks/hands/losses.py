"""The loss of hand forecasters, which is the error that is reported."""

import torch
from jaxtyping import Float
from torch import Tensor

Futures = Float[Tensor, "batch modes future nodes 3"]


def mean_distance_mm(futures: Futures, true: Float[Tensor, "batch future nodes 3"], *_: Tensor) -> Tensor:
    """Return the distance of mode 0 from the true positions in metres, averaged over joints, frames and windows, in mm.

    With several modes, half the weight goes to the nearest mode of each window ("winner takes all"), so that the others become
    alternatives to mode 0 rather than copies of it.
    """
    distance = 1000 * torch.linalg.vector_norm(futures - true.unsqueeze(1), dim=-1)  # (batch, modes, future, nodes)
    per_mode = distance.mean(dim=(2, 3))
    if per_mode.shape[1] == 1:
        return per_mode.mean()
    return 0.5 * per_mode[:, 0].mean() + 0.5 * per_mode.min(dim=1).values.mean()
