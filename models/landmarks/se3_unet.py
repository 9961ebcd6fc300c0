"""SE(3)-Unet for landmarks on point clouds, after M. Ferraretto's: SE(3)-Transformer blocks in a U-Net of farthest point samples.

A feature is scalars, vectors and, if asked for, rank-2 tensors at a point; the answer turns and moves with the cloud to rounding. It is
not the same for the mirror image, on purpose: a face is nearly its own mirror image, and a network that cannot tell the two apart gives
a left landmark and the right one opposite the same heatmap. Where ours differs from the reference, and why:

- nothing absolute enters: a point has its offset from the centroid and from the mean of its neighbours, and numbers made of distances;
- the head reads scalars and norms, which do not turn; the reference reads the coordinates of a vector;
- as many scalars and vectors as a level has pass between blocks, not one vector;
- pooling is a mean of neighbours, the skip connection carries what was before it, and lengths are relative to the cloud, not the batch;
- heatmaps vote: a landmark is the mean, weighted by the heatmap, of where each point says that it is; the 68 then correct each other.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.cloud import Between, Level, Points, centred, levels_of
from models.landmarks.shape import ShapePrior
from models.landmarks.voting import Answer, Confidence, heatmaps_and_weights, moments
from models.layers.degrees import (
    NONLINEARITIES,
    Channels,
    DegreeLinear,
    DegreeNorm,
    Nonlinearity,
    Rows,
    invariants,
    norms,
    split,
)
from models.layers.pooling import Pooling3D, Reduction, Upsampling3D
from models.layers.tensor_field import Attention, Edges, LiteralAttention, edges
from models.skeletons.face import FACE68

DECIMETRES = 10.0  # metres to the unit inside, in which a face has size 1
SPACING = 0.07  # dm: the mean distance of neighbours in 1024 points of a face, about which its logarithm is taken
LANDMARKS = len(FACE68.joints)
SCALARS_IN, VECTORS_IN = 5, 2


@dataclass(frozen=True)
class SE3UNetConfig:
    """Sizes and options. `channels` are, for each level of the task, how many of degree 0, 1 and maybe 2.

    `literal` evaluates every layer by the formula of the paper, to compare with; degrees 0 and 1 and `harmonics` 1 are what is fast.
    These sizes answer in some 26 ms of one core in ONNX Runtime; 6 radial functions take 30, harmonics to 2 take 35, the literal form 2000.
    """

    channels: tuple[Channels, ...] = ((12, 8), (20, 12), (28, 20))
    layers: int = 2  # attention layers a block; there is a block a level on the way down and on the way up
    functions: int = 4  # radial functions of the values
    key_functions: int = 2  # of the keys
    harmonics: int = (
        1  # the largest degree of the kernels' harmonics; 2 * the largest degree of the features is all there is
    )
    hidden: int = 64  # of the head
    votes: int = 16  # vectors of the head
    handed: bool = True
    attentive: bool = False
    nonlinearity: Nonlinearity = "gate"
    pooling: Reduction = "mean"
    literal: bool = False

    def build(self, task: FaceLandmarks) -> "SE3UNet":
        return SE3UNet(task, self)


class SE3UNet(nn.Module):
    """A cloud to 68 heatmaps, which stay as they are when it is turned and moved, and 68 points, which turn and move with it."""

    symmetries = (
        "translation",
        "rotation",
    )  # without `handed` it would keep reflections too, and so be of no use on faces

    def __init__(self, task: FaceLandmarks, config: SE3UNetConfig = SE3UNetConfig()) -> None:
        super().__init__()
        if len(config.channels) != len(task.levels):
            raise ValueError(f"channels are wanted for {len(task.levels)} levels, not for {len(config.channels)}")
        self.task, self.config = task, config
        levels = config.channels
        into: list[Channels] = [(SCALARS_IN, VECTORS_IN), *levels[:-1]]
        self.down = nn.ModuleList(Block(before, after, config) for before, after in zip(into, levels, strict=True))
        self.pool = nn.ModuleList(Pooling3D(channels, config.pooling) for channels in levels[:-1])
        self.upsample = Upsampling3D()
        self.widths = nn.ModuleList(DegreeLinear(low, high) for high, low in pairwise(levels))
        self.up = nn.ModuleList(Block(channels, channels, config) for channels in levels[:-1])
        self.head = Head(levels[0], config)
        self.shape = ShapePrior(LANDMARKS)
        self.confidence = Confidence(LANDMARKS)

    def forward(
        self,
        points: Points,
        neighbours: Int[Tensor, "batch of_all_levels k"],
        parents: Int[Tensor, "batch of_all_but_the_last n"],
    ) -> Answer:
        """Of points (m) in the order of their sampling; the indices are those of the task."""
        points, centre = self.centre(points)
        levels, between = levels_of(self.task, points * DECIMETRES, neighbours, parents, self.head.offsets.dtype)
        graphs = [self.graph(level) for level in levels]
        f = self.features(levels[0], graphs[0][1])
        logits, votes = self.head(self.body(f, levels, between, [graph for graph, _ in graphs]))
        return self.decode(levels[0].points, centre, logits, votes)

    def centre(self, points: Points) -> tuple[Points, Float[Tensor, "batch 1 3"]]:
        return centred(points)

    def graph(self, level: Level) -> tuple[Edges, Float[Tensor, "batch points k"]]:
        c = self.config
        return edges(level.offsets, level.neighbours.flatten(0, 1), c.functions, c.key_functions, c.harmonics)

    def features(self, level: Level, length: Float[Tensor, "batch points k"]) -> Rows:
        """What is known of a point: scalars of distances; its offset from the centroid, and from itself to its neighbours' mean."""
        spacing = length.mean(dim=(1, 2), keepdim=True)
        hollow = level.offsets.mean(dim=2) / spacing  # points to the side to which the surface bends
        near = length.mean(dim=2, keepdim=True) / spacing
        scalars = [
            torch.ones_like(near),
            near,
            torch.log(spacing / SPACING).expand_as(near),
            norms(level.points.flatten(0, 1).unsqueeze(2)).view_as(near),
            norms(hollow.flatten(0, 1).unsqueeze(2)).view_as(near),
        ]
        vectors = torch.stack([level.points, hollow], dim=-1).flatten(2)
        return torch.cat([*scalars, vectors], dim=-1).flatten(0, 1)

    def body(
        self, f: Rows, levels: list[Level], between: list[Between], graphs: list[Edges]
    ) -> Float[Tensor, "nodes out"]:
        """Down through the levels and up again; every point of the first comes out with what its whole surroundings told it."""
        kept: list[Rows] = []
        for level, block in enumerate(self.down):
            if level:
                f = self.pool[level - 1](f, levels[level - 1].neighbours, self.task.levels[level])
            f = block(f, graphs[level])
            kept.append(f)
        for level in reversed(range(len(self.up))):
            f = self.widths[level](self.upsample(f, *between[level]))
            f = self.up[level](kept[level] + f, graphs[level])
        return f

    def decode(
        self,
        points: Points,
        centre: Float[Tensor, "batch 1 3"],
        logits: Float[Tensor, "rows landmarks"],
        votes: Float[Tensor, "rows 3 votes"],
    ) -> Answer:
        """Heatmaps, and l = sum_i p_i (x_i + o_i) with p the heatmap over its sum; the offsets o are linear in the votes, so they are
        averaged first and no tensor of points x landmarks x 3 is made."""
        batch, count = points.shape[:2]
        heatmaps, p = heatmaps_and_weights(logits, count)
        mean, variance = moments(p, points)
        heard = (p @ votes.flatten(1).unflatten(0, (batch, count))).unflatten(2, (3, -1))
        offsets = (heard * self.head.offsets.unsqueeze(1)).sum(-1)
        landmarks = self.shape((mean + offsets) / DECIMETRES)
        return heatmaps, landmarks + centre, self.confidence(heatmaps, variance)


class Block(nn.Module):
    """Attention layers, each f + bend(attention(norm(f))); the first changes the channels."""

    def __init__(self, channels: Channels, out: Channels, config: SE3UNetConfig) -> None:
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
                attentive=config.attentive,
            )
            for before in into
        )
        self.bends = nn.ModuleList(NONLINEARITIES[config.nonlinearity](out) for _ in into)
        self.channels, self.out = channels, out

    def forward(self, f: Rows, graph: Edges) -> Float[Tensor, "nodes out"]:
        for norm, attention, bend in zip(self.norms, self.attentions, self.bends, strict=True):
            y = bend(attention(norm(f), graph))
            f = f + y if y.shape == f.shape else y
        return f


class Head(nn.Module):
    """Logits of the heatmaps from a point's scalars and norms; vectors to vote with from its vectors, gated by the same hidden layer."""

    def __init__(self, channels: Channels, config: SE3UNetConfig) -> None:
        super().__init__()
        self.channels = channels
        self.norm = DegreeNorm(channels)
        self.hidden = nn.Linear(sum(channels), config.hidden)
        self.logits = nn.Linear(config.hidden, LANDMARKS)
        self.gates = nn.Linear(config.hidden, config.votes)
        self.mix = nn.Linear(channels[1], config.votes, bias=False)
        self.offsets = nn.Parameter(0.1 * torch.randn(LANDMARKS, config.votes))  # in decimetres
        nn.init.constant_(self.logits.bias, -4.0)  # a point is far from most landmarks

    def forward(self, f: Rows) -> tuple[Float[Tensor, "nodes landmarks"], Float[Tensor, "nodes 3 votes"]]:
        f = self.norm(f)
        hidden = F.silu(self.hidden(invariants(f, self.channels)))
        votes = self.mix(split(f, self.channels)[1]) * self.gates(hidden).sigmoid().unsqueeze(1)
        return self.logits(hidden), votes
