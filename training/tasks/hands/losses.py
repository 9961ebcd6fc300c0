"""training.tasks.hands.losses."""

import torch
from jaxtyping import Float
from torch import Tensor

Futures = Float[Tensor, "batch modes future nodes 3"]


def mean_distance_mm(futures: Futures, true: Float[Tensor, "batch future nodes 3"], *_: Tensor) -> Tensor:
    """Mean distance over joints and frames of mode 0, in mm: the loss is the error that is reported.

    Where there are more modes, half the weight goes to the mode that is nearest in each window ("winner takes all"), so that the others
    become alternatives to mode 0 and not copies of it.
    """
    distance = 1000 * torch.linalg.vector_norm(futures - true.unsqueeze(1), dim=-1)  # (batch, modes, future, nodes)
    per_mode = distance.mean(dim=(2, 3))
    if per_mode.shape[1] == 1:
        return per_mode.mean()
    return 0.5 * per_mode[:, 0].mean() + 0.5 * per_mode.min(dim=1).values.mean()
