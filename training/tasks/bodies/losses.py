"""Losses of the three body tasks. Each takes the network's answer, the target, and the inputs, which it ignores."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

REST = 0.005  # half boxes: the motion of a person at rest within a second


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
    """Return the mean distance to the visible joints (third number 1), in hundredths of half a box; PCK@0.05 counts those of
    at most 10."""
    seen = true[..., 2] > 0
    distance = (poses - true[..., :2]).square().sum(-1).clamp_min(1e-12).sqrt()
    return 100 * (distance * seen).sum() / seen.sum().clamp_min(1)


def even_distance(
    poses: Float[Tensor, "batch future joints 2"],
    true: Float[Tensor, "batch future joints 3"],
    past: Float[Tensor, "batch past joints numbers"],
    *_: Tensor,
) -> Tensor:
    """Return a distance to which people at rest and the first steps contribute as well, in hundredths of half a box.

    Each step t counts in proportion to 1 / sqrt t. A tenth of half a box is added for an error as large as the motion: the mean distance
    of the truth from the last pose, plus REST.
    """
    seen = (true[..., 2] > 0) & (past[:, -1:].abs().sum(-1) > 0)
    count = seen.sum((1, 2)).clamp_min(1)

    def mean(offsets: Tensor, weights: Tensor) -> Tensor:
        return (offsets.square().sum(-1).clamp_min(1e-12).sqrt() * seen * weights).sum((1, 2)) / count

    steps = torch.arange(1, true.shape[1] + 1).to(poses).rsqrt()[:, None]
    error = mean(poses - true[..., :2], steps / steps.mean())
    moved = mean(true[..., :2] - past[:, -1:, :, :2], torch.ones_like(steps))
    return 100 * (error + 0.1 * error / (moved + REST)).mean()


def smoothed_cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the cross-entropy with a tenth of the weight spread evenly over all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, true, label_smoothing=0.1)


def cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the cross-entropy."""
    return F.cross_entropy(logits, true)


def wrong_percent(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the percentage of clips whose class is not the one of the highest logit."""
    return 100 * (logits.argmax(-1) != true).float().mean()
