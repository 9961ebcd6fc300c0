"""A small PointNet++, Qi, Yi, Su and Guibas 2017 (arXiv:1706.02413): the plain network to compare the equivariant one with.

It processes coordinates as plain numbers. It commutes with translation, because the cloud is centred, but can learn rotation only from
augmentation. Differences from the paper: groups are the nearest neighbours of the task instead of balls; LayerNorm replaces BatchNorm, so
that an answer does not depend on the rest of the batch; points vote, and a shape prior corrects the landmarks, as in SE3UNet.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.cloud import DECIMETRES, Level, Points, centred, levels_of
from models.landmarks.voting import LANDMARKS, Answer, VotingNetwork
from models.layers.pooling import Upsampling3D

REACH = 5.0  # scales offsets to neighbours, tenths of a decimetre, to size 1


@dataclass(frozen=True)
class PointNet2Config:
    """Channels of each level of the task and of the head."""

    channels: tuple[int, ...] = (48, 96, 160)
    hidden: int = 96

    def build(self, task: FaceLandmarks) -> "PointNet2":
        """Build the network for a task. Raises ValueError unless `channels` has an entry for each level."""
        return PointNet2(task, self)


class PointNet2(VotingNetwork):
    """A network from a cloud to 68 heatmaps and 68 landmarks. Raises ValueError unless `channels` has an entry for each level."""

    symmetries = ("translation",)

    def __init__(self, task: FaceLandmarks, config: PointNet2Config = PointNet2Config()) -> None:
        super().__init__()
        if len(config.channels) != len(task.levels):
            raise ValueError(f"expected channels for {len(task.levels)} levels, got {len(config.channels)}")
        self.task, self.config = task, config
        levels = config.channels
        self.down = nn.ModuleList(SetAbstraction(c, o) for c, o in zip((3, *levels[:-1]), levels, strict=True))
        self.upsample = Upsampling3D()
        wide = (*levels[:-1], 2 * levels[-1])  # the last level also has the maximum over the whole cloud
        self.up = nn.ModuleList(
            pointwise(skip + below, skip) for skip, below in zip(levels, (*levels[1:-1], wide[-1]), strict=False)
        )
        self.hidden = pointwise(levels[0], config.hidden)
        self.logits = nn.Linear(config.hidden, LANDMARKS)
        self.offsets = nn.Parameter(0.01 * torch.randn(LANDMARKS, 3, config.hidden))
        nn.init.constant_(self.logits.bias, -4.0)  # a point is far from most landmarks

    def forward(
        self,
        points: Points,
        neighbours: Int[Tensor, "batch of_all_levels k"],
        parents: Int[Tensor, "batch of_all_but_the_last n"],
    ) -> Answer:
        """Return heatmaps, landmarks in metres and confidences of clouds in metres; the inputs are those of FaceLandmarks."""
        batch = points.shape[0]
        points, centre = centred(points)
        levels, between = levels_of(self.task, points * DECIMETRES, neighbours, parents, self.offsets.dtype)
        f = levels[0].points.flatten(0, 1)
        skips = []
        for level, (abstraction, above) in enumerate(zip(self.down, (levels[0], *levels), strict=False)):
            f = abstraction(f, above, self.task.levels[level])
            skips.append(f)
        pooled = f.unflatten(0, (batch, -1)).amax(1, keepdim=True).expand(-1, self.task.levels[-1], -1)
        f = torch.cat([f, pooled.flatten(0, 1)], dim=1)
        for level in reversed(range(len(self.up))):
            f = self.up[level](torch.cat([skips[level], self.upsample(f, *between[level])], dim=1))
        hidden = self.hidden(f)
        return self.answer(levels[0].points, centre, self.logits(hidden), hidden)

    def offsets_of(self, votes: Float[Tensor, "batch landmarks width"]) -> Float[Tensor, "batch landmarks 3"]:
        """Return each landmark's linear map of the averaged hidden features."""
        return (self.offsets @ votes.unsqueeze(-1)).squeeze(-1)


class SetAbstraction(nn.Module):
    """max_j MLP([f_j, x_j - x_i]) over the neighbours j, on the finer level, of each kept point i.

    The first layer is evaluated as W1 f_j + W2 (x_j - x_i), with one product a point instead of one an edge.
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
        message = self.second(nn.functional.silu(f_j + self.of_offset(REACH * above.offsets[:, :kept]))).amax(2)
        own = self.own(f).unflatten(0, (batch, points))[:, :kept]
        return self.after(message + own).flatten(0, 1)


def pointwise(channels: int, out: int) -> nn.Sequential:
    """Return a perceptron of two layers on single points."""
    return nn.Sequential(nn.Linear(channels, out), nn.LayerNorm(out), nn.SiLU(), nn.Linear(out, out), nn.SiLU())
