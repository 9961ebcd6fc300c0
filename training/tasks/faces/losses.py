"""What landmark networks are trained to: Adaptive Wing on heatmaps, cross-entropy to a Gaussian, distance of the landmarks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.landmarks.voting import Answer, Heatmaps

Points = Float[Tensor, "batch points 3"]
Landmarks = Float[Tensor, "batch landmarks 3"]

OMEGA, THETA, EPSILON, ALPHA = 14.0, 0.5, 1.0, 2.1  # of Adaptive Wing
FAINTEST = 1e-30  # a heatmap below this is as good as 0, and its logarithm is finite


def squared_distances(landmarks: Landmarks, points: Points) -> Heatmaps:
    """|x_i - l|^2 in m^2, of every landmark and point."""
    return (points.unsqueeze(1) - landmarks.unsqueeze(2)).square().sum(-1)


def gaussian(squares: Heatmaps, sigma_m: float) -> Heatmaps:
    """The heatmap that is wanted: exp(-d^2 / 2 sigma^2)."""
    return torch.exp(-0.5 * squares / sigma_m**2)


def adaptive_wing(heatmaps: Heatmaps, wanted: Heatmaps, emphasis: float = 10.0) -> Tensor:
    """Adaptive Wing, Wang, Bo and Fuxin 2019 (arXiv:1904.07399), eq. 3; where `wanted` is at least 0.2 it counts 1 + emphasis times."""
    apart = (heatmaps - wanted).abs()
    power = ALPHA - wanted
    ratio = THETA / EPSILON
    slope = OMEGA / (1 + ratio**power) * power * ratio ** (power - 1) / EPSILON  # A
    offset = THETA * slope - OMEGA * torch.log1p(ratio**power)  # C
    loss = torch.where(apart < THETA, OMEGA * torch.log1p((apart / EPSILON) ** power), slope * apart - offset)
    return (loss * (1 + emphasis * (wanted >= 0.2))).mean()


def cross_entropy(heatmaps: Heatmaps, squares: Heatmaps, sigma_m: float) -> Tensor:
    """Of the Gaussian that sums to 1 over the points and the heatmap over its sum, in nats above the least there can be (KL divergence).

    A landmark that no point is near, since the scan has a hole there, is wanted at the points nearest to it.
    """
    wanted = torch.log_softmax(-0.5 * squares / sigma_m**2, dim=2)
    logarithm = heatmaps.clamp_min(FAINTEST).log()
    given = logarithm - heatmaps.sum(2, keepdim=True).clamp_min(FAINTEST).log()
    return (wanted.exp() * (wanted - given)).sum(2).mean()


def mean_distance_mm(answer: Answer, wanted: Landmarks, *_: Tensor) -> Tensor:
    """Mean over landmarks of the distance from the true place, in mm."""
    return 1000 * torch.linalg.vector_norm(answer[1] - wanted, dim=-1).mean()


@dataclass(frozen=True)
class LandmarkLoss:
    """The three together, each with its weight; `sigma_m` is the task's."""

    sigma_m: float
    distance: float = 1.0
    entropy: float = 1.0
    wing: float = 1.0

    def __call__(self, answer: Answer, wanted: Landmarks, points: Points, *_: Tensor) -> Tensor:
        """Of what a network answers, the true landmarks (m), and of its inputs the points that the heatmaps are of."""
        heatmaps = answer[0]
        squares = squared_distances(wanted.to(heatmaps), points.to(heatmaps))
        return (
            self.distance * mean_distance_mm(answer, wanted)
            + self.entropy * cross_entropy(heatmaps, squares, self.sigma_m)
            + self.wing * adaptive_wing(heatmaps, gaussian(squares, self.sigma_m))
        )
