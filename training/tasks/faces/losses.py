"""The losses of landmark networks: Adaptive Wing on heatmaps, cross-entropy to a Gaussian, distance of the landmarks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.contract.face_map import FaceMap
from models.landmarks.depth_unet import MapAnswer, pixels
from models.landmarks.voting import Answer, Heatmaps

Points = Float[Tensor, "batch points 3"]
Landmarks = Float[Tensor, "batch landmarks 3"]

OMEGA, THETA, EPSILON, ALPHA = 14.0, 0.5, 1.0, 2.1  # of Adaptive Wing
FAINTEST = 1e-30  # smaller values of a heatmap count as this, so that logarithms are finite


def squared_distances(
    landmarks: Float[Tensor, "batch landmarks axes"], points: Float[Tensor, "batch points axes"]
) -> Heatmaps:
    """Return |x_i - l|^2 in m^2 for every landmark l and point x_i."""
    return (points.unsqueeze(1) - landmarks.unsqueeze(2)).square().sum(-1)


def gaussian(squares: Heatmaps, sigma_m: float) -> Heatmaps:
    """Return the true heatmap exp(-d^2 / 2 sigma^2)."""
    return torch.exp(-0.5 * squares / sigma_m**2)


def adaptive_wing(heatmaps: Heatmaps, true: Heatmaps, emphasis: float = 10.0) -> Tensor:
    """Return the Adaptive Wing loss, Wang, Bo and Fuxin 2019 (arXiv:1904.07399), eq. 3; points with `true` >= 0.2 weigh 1 + emphasis."""
    difference = (heatmaps - true).abs()
    power = ALPHA - true
    ratio = THETA / EPSILON
    slope = OMEGA / (1 + ratio**power) * power * ratio ** (power - 1) / EPSILON  # A
    offset = THETA * slope - OMEGA * torch.log1p(ratio**power)  # C
    near = OMEGA * torch.log1p((difference / EPSILON) ** power)
    loss = torch.where(difference < THETA, near, slope * difference - offset)
    return (loss * (1 + emphasis * (true >= 0.2))).mean()


def cross_entropy(heatmaps: Heatmaps, squares: Heatmaps, sigma_m: float) -> Tensor:
    """Return the KL divergence in nats of the heatmap from the true Gaussian, both normalised to sum to 1 over the points.

    If the scan has a hole at a landmark, the true distribution is concentrated on the points nearest to it.
    """
    true = torch.log_softmax(-0.5 * squares / sigma_m**2, dim=2)
    logarithm = heatmaps.clamp_min(FAINTEST).log()
    predicted = logarithm - heatmaps.sum(2, keepdim=True).clamp_min(FAINTEST).log()
    return (true.exp() * (true - predicted)).sum(2).mean()


def mean_distance_mm(answer: Answer | MapAnswer, true: Landmarks, *_: Tensor) -> Tensor:
    """Return the distance of a landmark from its true position in metres, averaged over landmarks, in mm."""
    return 1000 * torch.linalg.vector_norm(answer[1] - true, dim=-1).mean()


@dataclass(frozen=True)
class LandmarkLoss:
    """A weighted sum of the three losses; `sigma_m` is the task's."""

    sigma_m: float
    distance: float = 1.0
    entropy: float = 1.0
    wing: float = 1.0

    def __call__(self, answer: Answer, true: Landmarks, points: Points, *_: Tensor) -> Tensor:
        """Return the loss of a network's answer; `true` are the landmarks, and `points` is the first input, in metres."""
        heatmaps = answer[0]
        squares = squared_distances(true.to(heatmaps), points.to(heatmaps))
        return (
            self.distance * mean_distance_mm(answer, true)
            + self.entropy * cross_entropy(heatmaps, squares, self.sigma_m)
            + self.wing * adaptive_wing(heatmaps, gaussian(squares, self.sigma_m))
        )


@dataclass(frozen=True)
class MapLoss:
    """A weighted sum of the distance and of the cross-entropy of heatmaps in the plane of the map; see `LandmarkLoss`."""

    task: FaceMap
    distance: float = 0.03
    entropy: float = 1.0

    def __call__(self, answer: MapAnswer, true: Landmarks, depth: Tensor, *_: Tensor) -> Tensor:
        """Return the loss of a network's answer; `true` are the landmarks in the camera's frame, in metres."""
        heatmaps = answer[0].flatten(2)
        points = pixels(depth[:, ::2, ::2], 2 * self.task.pitch_m).to(heatmaps)
        squares = squared_distances(true[..., :2].to(heatmaps), points[..., :2])
        return self.distance * mean_distance_mm(answer, true) + self.entropy * cross_entropy(
            heatmaps, squares, self.task.sigma_m
        )
