"""Losses of the three body tasks. Each takes the network's answer, the target, and the inputs, which it ignores."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.pose.velocity_forecaster import DECAY

REST = 0.005  # half boxes: the motion of a person at rest within a second
LEAST = 2e-4  # half boxes: a tenth of a pixel for a person of 1000 pixels


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


def relative_distance(
    poses: Float[Tensor, "batch future joints 2"],
    true: Float[Tensor, "batch future joints 3"],
    past: Float[Tensor, "batch past joints numbers"],
    *_: Tensor,
) -> Tensor:
    """Return a distance to which people at rest and the first steps contribute as well, in hundredths of half a box.

    It is the sum of three means over steps. The first is of the distance, where step t counts in proportion to 1 / sqrt t. The second is a
    tenth of half a box for a distance as large as the motion: the mean distance of the truth from the last pose, plus REST. The third is
    six tenths for a distance as large as that of the damped velocity which an untrained network is, at the same step, plus LEAST.
    """
    last, before = past[:, -1:], past[:, -2:-1]
    seen = (true[..., 2] > 0) & (last.abs().sum(-1) > 0)
    moving = seen & (before.abs().sum(-1) > 0)
    steps = torch.arange(1, true.shape[1] + 1).to(poses)
    gains = (DECAY**steps).cumsum(0)[:, None, None]
    damped = last[..., :2] + gains * (last - before)[..., :2]
    error, moved, floor = (
        _distances(answer, true[..., :2], counted)
        for answer, counted in ((poses, seen), (last[..., :2], seen), (damped, moving))
    )
    weighted = (error * steps.rsqrt() / steps.rsqrt().mean()).mean(1)
    return 100 * (weighted + 0.1 * weighted / (moved.mean(1) + REST) + 0.6 * (error / (floor + LEAST)).mean(1)).mean()


def _distances(
    poses: Float[Tensor, "batch _ joints 2"],
    true: Float[Tensor, "batch steps joints 2"],
    counted: Bool[Tensor, "batch steps joints"],
) -> Float[Tensor, "batch steps"]:
    """Return the mean distance over the joints that count; 0 if none does."""
    distance = (poses - true).square().sum(-1).clamp_min(1e-12).sqrt()
    return (distance * counted).sum(2) / counted.sum(2).clamp_min(1)


def smoothed_cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the cross-entropy with a tenth of the weight spread evenly over all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, true, label_smoothing=0.1)


def cross_entropy(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the cross-entropy."""
    return F.cross_entropy(logits, true)


def wrong_percent(logits: Float[Tensor, "batch classes"], true: Int[Tensor, " batch"], *_: Tensor) -> Tensor:
    """Return the percentage of clips whose class is not the one of the highest logit."""
    return 100 * (logits.argmax(-1) != true).float().mean()
