"""Losses of the three body tasks. Each takes the network's answer, the target, and the inputs, which it ignores."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def pose_distance_mm(
    poses: Float[Tensor, "batch frames joints 3"], true: Float[Tensor, "batch frames joints 3"], *_: Tensor
) -> Tensor:
    """Return the mean distance to the known joints (those not NaN) in mm: MPJPE as a loss (Pavllo et al. 2019)."""
    known = true.isfinite().all(-1)
    distance = torch.linalg.vector_norm(poses - true.nan_to_num(), dim=-1)
    return 1000 * (distance * known).sum() / known.sum().clamp_min(1)


def seen_distance(
    poses: Float[Tensor, "batch future joints 2"], true: Float[Tensor, "batch future joints 3"], *_: Tensor
) -> Tensor:
    """Return the mean distance to the visible joints (third number 1), in hundredths of half a box; PCK@0.05 counts those below 10."""
    seen = true[..., 2] > 0
    distance = (poses - true[..., :2]).square().sum(-1).clamp_min(1e-12).sqrt()
    return 100 * (distance * seen).sum() / seen.sum().clamp_min(1)


def smoothed_cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the cross-entropy with a tenth of the weight spread evenly over all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, true, label_smoothing=0.1)


def wrong_percent(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the percentage of clips whose class is not the one of the highest logit."""
    return 100 * (logits.argmax(-1) != true).float().mean()
