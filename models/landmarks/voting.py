"""Heatmaps that vote: every point says where it believes a landmark to be, and is heard as much as the landmark's heatmap is high there."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Heatmaps = Float[Tensor, "batch landmarks points"]
PerLandmark = Float[Tensor, "batch landmarks"]
Answer = tuple[Heatmaps, Float[Tensor, "batch landmarks 3"], PerLandmark]  # heatmaps, landmarks (m), confidence


def heatmaps_and_weights(logits: Float[Tensor, "rows landmarks"], points: int) -> tuple[Heatmaps, Heatmaps]:
    """h = sigmoid(logits), and h over its sum over the points of the cloud, which is no 0 / 0 where no point is near a landmark;
    `points` is how many a cloud has.

    Were h = exp(-d^2 / 2 sigma^2), the weights would be the Gaussian that sums to 1: the Adaptive Wing loss on h and the cross-entropy on
    the weights have the same optimum.
    """
    logits = logits.unflatten(0, (-1, points)).transpose(1, 2)
    logarithm = logits.clamp_max(0) - torch.log(
        1 + torch.exp(-logits.abs())
    )  # the exporter makes of logsigmoid a log(sigmoid)
    return logits.sigmoid(), torch.softmax(logarithm, dim=2)


def moments(
    p: Heatmaps, points: Float[Tensor, "batch points 3"]
) -> tuple[Float[Tensor, "batch landmarks 3"], PerLandmark]:
    """Mean and variance of the points' positions under each landmark's weights, in float64: the variance is a small difference."""
    one, squares = torch.ones_like(points[..., :1]), points.square().sum(2, keepdim=True)
    sums = p.double() @ torch.cat([one, points, squares], dim=2).double()
    mean = sums[..., 1:4] / sums[..., :1]
    return mean, sums[..., 4] / sums[..., 0] - mean.square().sum(-1)


class Confidence(nn.Module):
    """How probable it is that a landmark is where it should be: logistic in what `evidence` there is, with a bias a landmark.

    Nothing here is trained with the network: the coefficients are fitted on validation scans when it is exported, and mean nothing before.
    """

    weights: Tensor
    bias: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([1.0, -1.0]))
        self.register_buffer("bias", torch.zeros(landmarks))

    def forward(self, heatmaps: Heatmaps, variance: PerLandmark) -> PerLandmark:
        return (evidence(heatmaps, variance) @ self.weights + self.bias).sigmoid()


def evidence(heatmaps: Heatmaps, variance: PerLandmark) -> Float[Tensor, "batch landmarks 2"]:
    """The log-odds of the highest point of each heatmap, and the logarithm of how far its weights are spread, in decimetres."""
    top = heatmaps.amax(2).clamp(1e-4, 1 - 1e-4)
    spread = variance.to(top).clamp_min(1e-4)  # a millimetre squared: no heatmap is that narrow
    return torch.stack([torch.log(top / (1 - top)), 0.5 * torch.log(spread)], dim=-1)
