"""Landmarks by voting: every point predicts the position of each landmark, weighted by the landmark's heatmap at that point."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.landmarks.cloud import DECIMETRES, Points
from models.landmarks.shape import ShapePrior
from models.skeletons.face import FACE68

LANDMARKS = len(FACE68.joints)
LEAST_DM = 1e-3  # a correction of a tenth of a millimetre or less says that votes and shape agree
QUARTER = 4  # the share of a scan's landmarks that tells how hard the scan is: one in four

Heatmaps = Float[Tensor, "batch landmarks points"]
PerLandmark = Float[Tensor, "batch landmarks"]
Answer = tuple[Heatmaps, Float[Tensor, "batch landmarks 3"], PerLandmark]  # heatmaps, landmarks (m), confidence


class VotingNetwork(nn.Module, ABC):
    """The last layers of every landmark network: votes, the shape prior and the confidence.

    Points weigh by their heatmap to the power `sharpness`: without votes, a faint background far away would move a landmark. `mirror` is
    the landmark that each one becomes in a mirror image, for a network that commutes with the mirror.
    """

    mirror: tuple[int, ...] | None = None

    def __init__(self, sharpness: float = 1.0) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.shape = ShapePrior(LANDMARKS)
        self.confidence = Confidence(LANDMARKS)

    @abstractmethod
    def offsets_of(self, votes: Float[Tensor, "batch landmarks width"]) -> Float[Tensor, "batch landmarks 3"]:
        """Return the offsets of landmarks, in decimetres; a linear map of the votes."""

    def answer(
        self,
        points: Points,
        centre: Float[Tensor, "batch 1 3"],
        logits: Float[Tensor, "rows landmarks"],
        votes: Float[Tensor, "rows width"],
    ) -> Answer:
        """Return heatmaps, landmarks in metres and confidences, from logits and votes of the points (decimetres about `centre`, in metres).

        A landmark is l = sum_i p_i (x_i + o_i), with p its heatmap over the heatmap's sum, corrected by the shape prior. The offset o_i is
        linear in the votes of point i, so the votes are averaged first, without a tensor of points x landmarks x 3. Without votes it is 0.
        """
        heatmaps, p = heatmaps_and_weights(logits, points.shape[1], self.sharpness)
        mean, variance = moments(p, points)
        if votes.shape[1]:
            mean = mean + self.offsets_of(p @ votes.unflatten(0, points.shape[:2]))
        voted = mean / DECIMETRES
        landmarks = self.shape(voted)
        return heatmaps, landmarks + centre, self.confidence(heatmaps, variance, corrections(voted, landmarks))


def heatmaps_and_weights(
    logits: Float[Tensor, "rows landmarks"], points: int, sharpness: float = 1.0
) -> tuple[Heatmaps, Heatmaps]:
    """Return the heatmaps h = sigmoid(logits), and h to the power `sharpness`, normalised to sum 1 over the `points` of each cloud.

    The weights are finite even if no point is near a landmark. For h = exp(-d^2 / 2 sigma^2) they are the Gaussian that sums to 1, so the
    Adaptive Wing loss on h and the cross-entropy on the weights have the same optimum.
    """
    logits = logits.unflatten(0, (-1, points)).transpose(1, 2)
    # log(sigmoid) in a stable form; the exporter would replace logsigmoid by an unstable one
    logarithm = logits.clamp_max(0) - torch.log(1 + torch.exp(-logits.abs()))
    return logits.sigmoid(), torch.softmax(logarithm if sharpness == 1.0 else sharpness * logarithm, dim=2)


def moments(
    p: Heatmaps, points: Float[Tensor, "batch points 3"]
) -> tuple[Float[Tensor, "batch landmarks 3"], PerLandmark]:
    """Return the mean and variance of the points under each landmark's weights, in float64, because the variance is a small difference."""
    one, squares = torch.ones_like(points[..., :1]), points.square().sum(2, keepdim=True)
    sums = p.double() @ torch.cat([one, points, squares], dim=2).double()
    mean = sums[..., 1:4] / sums[..., :1]
    return mean, sums[..., 4] / sums[..., 0] - mean.square().sum(-1)


class Confidence(nn.Module):
    """The probability that a landmark is correct: a logistic function of its `evidence`, with one bias a landmark, and of its scan.

    The log-odds l of a landmark become a l + b q + c + d m + e mean(m). Here q is the mean of the scan's lowest quarter of l: a scan on
    which some landmarks are unclear is a hard one for the others too. m is the logarithm of the distance by which the shape prior moves the
    landmark: where the votes make no plausible face, they are wrong. Both are lengths and maxima, which no rotation changes. The
    coefficients are not trained with the network. They are fitted on validation scans at export (`training.tasks.faces.confidence`), and
    have no meaning before.
    """

    weights: Tensor
    bias: Tensor
    scan: Tensor  # a, b, c
    moved: Tensor  # d, e

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([1.0, -1.0]))
        self.register_buffer("bias", torch.zeros(landmarks))
        self.register_buffer("scan", torch.tensor([1.0, 0.0, 0.0]), persistent=False)  # checkpoints do without it
        self.register_buffer("moved", torch.zeros(2), persistent=False)

    def forward(self, heatmaps: Heatmaps, variance: PerLandmark, moved: PerLandmark) -> PerLandmark:
        return self.of_odds(evidence(heatmaps, variance) @ self.weights + self.bias, moved)

    def of_odds(self, odds: PerLandmark, moved: PerLandmark) -> PerLandmark:
        """Return the confidences from the log-odds of the landmarks alone and `corrections`."""
        lowest = odds.topk(odds.shape[1] // QUARTER, dim=1, largest=False).values.mean(1, keepdim=True)
        odds = self.scan[0] * odds + self.scan[1] * lowest + self.scan[2]
        return (odds + self.moved[0] * moved + self.moved[1] * moved.mean(1, keepdim=True)).sigmoid()


def corrections(
    voted: Float[Tensor, "batch landmarks 3"], landmarks: Float[Tensor, "batch landmarks 3"]
) -> PerLandmark:
    """Return the logarithm of the distance from each voted landmark to the corrected one, in decimetres; both are in metres, float64.

    Distances below LEAST_DM are that.
    """
    squares = ((landmarks - voted) * DECIMETRES).square().sum(-1)
    return 0.5 * squares.clamp_min(LEAST_DM**2).log().to(torch.float32)


def evidence(heatmaps: Heatmaps, variance: PerLandmark) -> Float[Tensor, "batch landmarks 2"]:
    """Return the log-odds of each heatmap's maximum, and the logarithm of the standard deviation of its weights in decimetres."""
    top = heatmaps.amax(2).clamp(1e-4, 1 - 1e-4)
    spread = variance.to(top).clamp_min(1e-4)  # the square of a millimetre, narrower than any heatmap
    return torch.stack([torch.log(top / (1 - top)), 0.5 * torch.log(spread)], dim=-1)
