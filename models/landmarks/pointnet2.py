"""PointNet++, Qi, Yi, Su and Guibas 2017 (arXiv:1706.02413), in a small form: what a plain network makes of the same task.

It reads coordinates as numbers, so it knows a face only in the poses it was shown: it keeps translation, since the cloud is centred, and
learns rotation from augmentation, if at all. Differences from the paper: groups are the nearest neighbours of the task instead of balls,
LayerNorm stands for BatchNorm, so that an answer does not depend on the batch, and heatmaps vote and landmarks correct each
other as in SE3UNet.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.cloud import Level, Points, centred, levels_of
from models.landmarks.shape import ShapePrior
from models.landmarks.voting import Answer, Confidence, heatmaps_and_weights, moments
from models.layers.pooling import Upsampling3D
from models.skeletons.face import FACE68

DECIMETRES = 10.0  # metres to the unit inside, in which a face has size 1
REACH = 5.0  # offsets to neighbours are tenths of it
LANDMARKS = len(FACE68.joints)


@dataclass(frozen=True)
class PointNet2Config:
    """Channels at each level of the task, and of the head."""

    channels: tuple[int, ...] = (48, 96, 160)
    hidden: int = 96

    def build(self, task: FaceLandmarks) -> "PointNet2":
        return PointNet2(task, self)


class PointNet2(nn.Module):
    """A cloud to 68 heatmaps and 68 points."""

    symmetries = ("translation",)

    def __init__(self, task: FaceLandmarks, config: PointNet2Config = PointNet2Config()) -> None:
        super().__init__()
        if len(config.channels) != len(task.levels):
            raise ValueError(f"channels are wanted for {len(task.levels)} levels, not for {len(config.channels)}")
        self.task, self.config = task, config
        levels = config.channels
        self.down = nn.ModuleList(SetAbstraction(c, o) for c, o in zip((3, *levels[:-1]), levels, strict=True))
        self.upsample = Upsampling3D()
        wide = (*levels[:-1], 2 * levels[-1])  # the last level also hears the maximum of the whole cloud
        self.up = nn.ModuleList(
            pointwise(skip + below, skip) for skip, below in zip(levels, (*levels[1:-1], wide[-1]), strict=False)
        )
        self.hidden = pointwise(levels[0], config.hidden)
        self.logits = nn.Linear(config.hidden, LANDMARKS)
        self.offsets = nn.Parameter(0.01 * torch.randn(LANDMARKS, 3, config.hidden))
        self.shape = ShapePrior(LANDMARKS)
        self.confidence = Confidence(LANDMARKS)
        nn.init.constant_(self.logits.bias, -4.0)  # a point is far from most landmarks

    def forward(
        self,
        points: Points,
        neighbours: Int[Tensor, "batch of_all_levels k"],
        parents: Int[Tensor, "batch of_all_but_the_last n"],
    ) -> Answer:
        """Of points (m) in the order of their sampling; the indices are those of the task."""
        batch = points.shape[0]
        points, centre = centred(points)
        levels, between = levels_of(self.task, points * DECIMETRES, neighbours, parents, self.offsets.dtype)
        points = levels[0].points
        f = levels[0].points.flatten(0, 1)
        kept = []
        for level, (abstraction, above) in enumerate(zip(self.down, (levels[0], *levels), strict=False)):
            f = abstraction(f, above, self.task.levels[level])
            kept.append(f)
        whole = f.unflatten(0, (batch, -1)).amax(1, keepdim=True).expand(-1, self.task.levels[-1], -1)
        f = torch.cat([f, whole.flatten(0, 1)], dim=1)
        for level in reversed(range(len(self.up))):
            f = self.up[level](torch.cat([kept[level], self.upsample(f, *between[level])], dim=1))
        hidden = self.hidden(f)
        heatmaps, p = heatmaps_and_weights(self.logits(hidden), self.task.levels[0])
        mean, variance = moments(p, points)
        heard = p @ hidden.unflatten(0, (batch, -1))
        offsets = (self.offsets @ heard.unsqueeze(-1)).squeeze(-1)
        landmarks = self.shape((mean + offsets) / DECIMETRES)
        return heatmaps, landmarks + centre, self.confidence(heatmaps, variance)


class SetAbstraction(nn.Module):
    """max_j MLP([f_j, x_j - x_i]) over the neighbours, in the level above, of the points that are kept.

    The first layer is evaluated as W1 f_j + W2 (x_j - x_i), a product a point instead of one an edge.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.of_f = nn.Linear(channels, out)
        self.of_offset = nn.Linear(3, out, bias=False)
        self.second = nn.Linear(out, out)
        self.own = nn.Linear(channels, out)
        self.after = nn.Sequential(nn.LayerNorm(out), nn.SiLU())

    def forward(self, f: Float[Tensor, "rows channels"], above: Level, kept: int) -> Float[Tensor, "pooled out"]:
        batch, points, k = above.neighbours.shape
        chosen = above.neighbours[:, :kept]
        f_j = self.of_f(f).index_select(0, chosen.flatten()).unflatten(0, (batch, kept, k))
        heard = self.second(nn.functional.silu(f_j + self.of_offset(REACH * above.offsets[:, :kept]))).amax(2)
        own = self.own(f).unflatten(0, (batch, points))[:, :kept]
        return self.after(heard + own).flatten(0, 1)


def pointwise(channels: int, out: int) -> nn.Sequential:
    """Two layers on each point by itself."""
    return nn.Sequential(nn.Linear(channels, out), nn.LayerNorm(out), nn.SiLU(), nn.Linear(out, out), nn.SiLU())
