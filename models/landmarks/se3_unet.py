"""SE(3)-UNet for landmarks on point clouds, after M. Ferraretto: SE(3)-Transformer blocks in a U-Net of farthest point samples.

The features of a point are scalars, vectors and optionally tensors of degree 2. The answer commutes with rotations and translations of the
cloud up to rounding. It deliberately does not commute with reflections. A face is nearly its own mirror image, so such a network would give
a left landmark and its right counterpart the same heatmap. Differences from the reference:

- Nothing absolute enters. A point has its offsets from the centroid and from the mean of its neighbours, and functions of distances.
- The head uses scalars and norms, which are invariant. The reference uses the coordinates of a vector, which are not.
- All scalars and vectors of a level pass between blocks. The reference passes one vector.
- Pooling is a mean of neighbours, and the skip connection carries the features before it. Lengths are relative to the cloud; the
  reference's are relative to the batch, so that its answers depend on the rest of the batch.
- Points vote: a landmark is the mean of the positions that points predict, weighted by its heatmap. A shape prior then corrects all 68.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.cloud import DECIMETRES, SPACING, Between, Level, Points, centred, levels_of
from models.landmarks.se3_unet_graph import graph_of, laid_out
from models.landmarks.voting import LANDMARKS, Answer, VotingNetwork
from models.layers.degrees import (
    NONLINEARITIES,
    Channels,
    DegreeLinear,
    DegreeNorm,
    Nonlinearity,
    Rows,
    invariants,
    norms,
    pack,
    split,
)
from models.layers.pooling import Pooling3D, Reduction, Upsampling3D
from models.layers.tensor_field import Attention, Edges, LiteralAttention, edges

SCALARS_IN, VECTORS_IN = 5, 2

LATER = {
    "fingerprint": "changed"
}  # of a field younger than trained networks: at its default it does not count, so their results are found again


@dataclass(frozen=True)
class SE3UNetConfig:
    """Sizes and options. `channels` has, for each level of the task, the numbers of channels of degree 0, 1 and optionally 2.

    `literal` evaluates every layer by the paper's formula, as a reference implementation. The defaults take about 26 ms of one core in ONNX
    Runtime. 6 radial functions take 30 ms, harmonics to degree 2 take 35 ms, the literal form 2000 ms (python -m benchmarks.landmarks).
    """

    channels: tuple[Channels, ...] = ((12, 8), (20, 12), (28, 20))
    layers: int = 2  # attention layers in a block; each level has a block on the way down, and one on the way up
    functions: int = 4  # radial functions of the values
    key_functions: int = 2  # of the keys
    harmonics: int = (
        1  # the largest degree of the kernels' harmonics; beyond twice the features' degree there are no paths
    )
    hidden: int = 64  # of the head
    votes: int = field(  # vectors of the head; without any, a landmark is the mean of the points under its heatmap
        default=16, metadata={"least": 0}
    )
    handed: bool = True
    attentive: bool | Literal["last"] = (
        False  # attentive self-interaction: in every layer, in the last one of all, or nowhere
    )
    nonlinearity: Nonlinearity = "gate"
    pooling: Reduction = "mean"
    literal: bool = False
    skip: Literal["sum", "concatenation"] = field(default="sum", metadata=LATER)  # of the two ways to a level
    distance_power: float = field(default=2.0, metadata=LATER)  # of the inverse distances in upsampling
    sharpness: float = field(default=1.0, metadata=LATER)  # the power of the heatmaps under which landmarks are means

    def build(self, task: FaceLandmarks) -> "SE3UNet":
        """Build the network for a task. Raises ValueError unless `channels` has an entry for each level."""
        return SE3UNet(task, self)


class SE3UNet(VotingNetwork):
    """A network from a cloud to 68 invariant heatmaps and 68 equivariant landmarks.

    Raises ValueError unless `channels` has an entry for each level.
    """

    # without `handed` it would commute with reflections too, and confuse left and right
    symmetries = ("translation", "rotation")

    def __init__(self, task: FaceLandmarks, config: SE3UNetConfig = SE3UNetConfig()) -> None:
        super().__init__(config.sharpness)
        if len(config.channels) != len(task.levels):
            raise ValueError(f"expected channels for {len(task.levels)} levels, got {len(config.channels)}")
        self.task, self.config = task, config
        levels = config.channels
        into: list[Channels] = [(SCALARS_IN, VECTORS_IN), *levels[:-1]]
        self.down = nn.ModuleList(Block(before, after, config) for before, after in zip(into, levels, strict=True))
        self.pool = nn.ModuleList(Pooling3D(channels, config.pooling) for channels in levels[:-1])
        self.upsample = Upsampling3D(config.distance_power)
        self.widths = nn.ModuleList(DegreeLinear(low, high) for high, low in pairwise(levels))
        both = 2 if config.skip == "concatenation" else 1
        self.up = nn.ModuleList(
            Block(tuple(both * c for c in channels), channels, config, last=not level)
            for level, channels in enumerate(levels[:-1])
        )
        self.head = Head(levels[0], config)

    def forward(
        self,
        points: Points,
        neighbours: Int[Tensor, "batch of_all_levels k"],
        parents: Int[Tensor, "batch of_all_but_the_last n"],
    ) -> Answer:
        """Return heatmaps, landmarks in metres and confidences of clouds in metres; the inputs are those of FaceLandmarks."""
        points, centre = self.centre(points)
        levels, between = levels_of(self.task, points * DECIMETRES, neighbours, parents, self.head.logits.weight.dtype)
        graphs = [self.graph(level) for level in levels]
        f = self.features(levels[0], graphs[0][1])
        logits, votes = self.head(self.body(f, levels, between, [graph for graph, _ in graphs]))
        return self.answer(levels[0].points, centre, logits, votes)

    def onnx_graph(self) -> bytes | None:
        """Return the graph that is laid out for ONNX Runtime, or None for a structure that is traced."""
        return graph_of(self) if laid_out(self.config) else None

    def centre(self, points: Points) -> tuple[Points, Float[Tensor, "batch 1 3"]]:
        """Return the points about their mean, and the mean."""
        return centred(points)

    def graph(self, level: Level) -> tuple[Edges, Float[Tensor, "batch points k"]]:
        """Return the edges of a level and their lengths."""
        c = self.config
        return edges(level.offsets, level.neighbours.flatten(0, 1), c.functions, c.key_functions, c.harmonics)

    def features(self, level: Level, length: Float[Tensor, "batch points k"]) -> Rows:
        """Return the input features of points: functions of distances, the offset from the centroid, and the neighbours' mean offset."""
        spacing = length.mean(dim=(1, 2), keepdim=True)
        bend = level.offsets.mean(dim=2) / spacing  # points to the side to which the surface bends
        near = length.mean(dim=2, keepdim=True) / spacing
        scalars = [
            torch.ones_like(near),
            near,
            torch.log(spacing / SPACING).expand_as(near),
            norms(level.points.flatten(0, 1).unsqueeze(2)).view_as(near),
            norms(bend.flatten(0, 1).unsqueeze(2)).view_as(near),
        ]
        vectors = torch.stack([level.points, bend], dim=-1).flatten(2)
        return torch.cat([*scalars, vectors], dim=-1).flatten(0, 1)

    def body(
        self, f: Rows, levels: list[Level], between: list[Between], graphs: list[Edges]
    ) -> Float[Tensor, "nodes out"]:
        """Return features of the first level's points, after all levels on the way down and on the way up."""
        skips: list[Rows] = []
        for level, block in enumerate(self.down):
            if level:
                f = self.pool[level - 1](f, levels[level - 1].neighbours, self.task.levels[level])
            f = block(f, graphs[level])
            skips.append(f)
        for level in reversed(range(len(self.up))):
            f = self.widths[level](self.upsample(f, *between[level]))
            f = self.up[level](self._joined(skips[level], f, self.config.channels[level]), graphs[level])
        return f

    def _joined(self, skip: Rows, f: Rows, channels: Channels) -> Float[Tensor, "nodes wider"]:
        """Return the features of the way down and those from below, added or side by side in every degree."""
        if self.config.skip == "sum":
            return skip + f
        both = zip(split(skip, channels), split(f, channels), strict=True)
        return pack([torch.cat(parts, dim=2) for parts in both])

    def offsets_of(self, votes: Float[Tensor, "batch landmarks width"]) -> Float[Tensor, "batch landmarks 3"]:
        """Return each landmark's combination of the voting vectors."""
        return (votes.unflatten(2, (3, -1)) * self.head.offsets.unsqueeze(1)).sum(-1)


class Block(nn.Module):
    """Attention layers f + nonlinearity(attention(norm(f))); the first has no residual if it changes the channels.

    The `last` block of a network ends with attentive self-interaction if the network's `attentive` is "last".
    """

    def __init__(self, channels: Channels, out: Channels, config: SE3UNetConfig, *, last: bool = False) -> None:
        super().__init__()
        attention = LiteralAttention if config.literal else Attention
        into = [channels] + [out] * (config.layers - 1)
        self.norms = nn.ModuleList(DegreeNorm(before) for before in into)
        self.attentions = nn.ModuleList(
            attention(
                before,
                out,
                functions=config.functions,
                key_functions=config.key_functions,
                degree=config.harmonics,
                handed=config.handed,
                attentive=last and layer == config.layers - 1 if config.attentive == "last" else config.attentive,
            )
            for layer, before in enumerate(into)
        )
        self.bends = nn.ModuleList(NONLINEARITIES[config.nonlinearity](out) for _ in into)
        self.channels, self.out = channels, out

    def forward(self, f: Rows, graph: Edges) -> Float[Tensor, "nodes out"]:
        for norm, attention, nonlinearity in zip(self.norms, self.attentions, self.bends, strict=True):
            y = nonlinearity(attention(norm(f), graph))
            f = f + y if y.shape == f.shape else y
        return f


class Head(nn.Module):
    """The head: logits of heatmaps from a point's scalars and norms, and voting vectors from its vectors, gated by the hidden layer."""

    def __init__(self, channels: Channels, config: SE3UNetConfig) -> None:
        super().__init__()
        self.channels = channels
        self.norm = DegreeNorm(channels)
        self.hidden = nn.Linear(sum(channels), config.hidden)
        self.logits = nn.Linear(config.hidden, LANDMARKS)
        self.votes = config.votes
        if config.votes:
            self.gates = nn.Linear(config.hidden, config.votes)
            self.mix = nn.Linear(channels[1], config.votes, bias=False)
            self.offsets = nn.Parameter(0.1 * torch.randn(LANDMARKS, config.votes))  # in decimetres
        nn.init.constant_(self.logits.bias, -4.0)  # a point is far from most landmarks

    def forward(self, f: Rows) -> tuple[Float[Tensor, "nodes landmarks"], Float[Tensor, "nodes vote_width"]]:
        f = self.norm(f)
        hidden = F.silu(self.hidden(invariants(f, self.channels)))
        if not self.votes:
            return self.logits(hidden), hidden[:, :0]
        votes = self.mix(split(f, self.channels)[1]) * self.gates(hidden).sigmoid().unsqueeze(1)
        return self.logits(hidden), votes.flatten(1)
