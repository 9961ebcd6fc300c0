"""What training minimises."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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


def pose_distance_mm(
    poses: Float[Tensor, "batch frames joints 3"], true: Float[Tensor, "batch frames joints 3"], *_: Tensor
) -> Tensor:
    """Mean distance to the joints that are known (not NaN), in mm: MPJPE as a loss (Pavllo et al. 2019)."""
    known = true.isfinite().all(-1)
    distance = torch.linalg.vector_norm(poses - true.nan_to_num(), dim=-1)
    return 1000 * (distance * known).sum() / known.sum().clamp_min(1)


def seen_distance(
    poses: Float[Tensor, "batch future joints 2"], true: Float[Tensor, "batch future joints 3"], *_: Tensor
) -> Tensor:
    """Mean distance to the joints that are seen (third number 1), in hundredths of half a box: PCK@0.05 counts those below 10."""
    seen = true[..., 2] > 0
    distance = (poses - true[..., :2]).square().sum(-1).clamp_min(1e-12).sqrt()
    return 100 * (distance * seen).sum() / seen.sum().clamp_min(1)


def smoothed_cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Cross-entropy with a tenth of the weight spread over all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, true, label_smoothing=0.1)


def wrong_percent(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """How many in a hundred clips are taken for another class."""
    return 100 * (logits.argmax(-1) != true).float().mean()
