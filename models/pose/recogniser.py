"""Blocks of a spatial and a temporal convolution from a clip to its action, after Kim and Reiter 2017 (arXiv:1704.04516).

The first blocks are chiral, as in Yeh et al. 2019 (arXiv:1911.00029). The fourth begins with the invariance layer, after which the features
of a clip and of its mirror image are equal and the layers ordinary. For classes that name a side every block is chiral, and the mirror
exchanges the logits of classes that are each other's mirror image. The papers give neither widths nor kernel sizes; those here are ours,
and so are the velocities beside the positions.

The paper's invariance layer reads no negated number, so its blocks have fewer and fewer of them: a third at the input, then 1/6, 1/12 and
none (`PAPER`). Ours reads the differences of negated numbers between the sides and needs no such schedule.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import ActionRecognition
from models.layers.chiral import ChiralBatchNorm, ChiralLogits, fold_norm, invariant
from models.layers.chiral_spec import Spec
from models.layers.chiral_time import ChiralTaps, Rows
from models.pose.ends import RELU, Activation, Enter, activation, joints_as, pairs, twin

LATER = {
    "fingerprint": "changed"
}  # metadata of a field younger than results: at its default, a run keeps its fingerprint
INVARIANT = 3  # blocks before the one that begins with the invariance layer
HIDDEN = pairs(128)
STRIDED = (4, 7)  # blocks that halve the frames, as in ST-GCN (arXiv:1801.07455)


@dataclass(frozen=True)
class RecogniserConfig:
    """Sizes and options: `hidden` is the spec of chiral rows, and invariant rows have its width; `chiral=False` makes the plain twin.

    `narrowing` has the specs of the INVARIANT first blocks, if they differ. Raises ValueError for another number of them.
    """

    hidden: Spec = HIDDEN
    chiral: bool = True
    nonlinearity: Activation = "relu"
    blocks: int = 10
    taps: int = 5
    dropout: float = 0.3
    paper_exact: bool = False
    velocity: bool = field(default=True, metadata=LATER)
    narrowing: tuple[Spec, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        if len(self.narrowing) not in (0, INVARIANT):
            raise ValueError(f"expected specs of the first {INVARIANT} blocks, got {len(self.narrowing)}")

    def build(self, task: ActionRecognition) -> "Recogniser":
        """Build the network for a task."""
        return Recogniser(task, self)


RATIOS = (
    6,
    12,
    None,
)  # one number in so many is negated, after each of the blocks before the invariance layer; after the last, none
PAPER = RecogniserConfig(
    Spec.of_joints(pairs=8, centre=2, numbers=12, negated=0),
    paper_exact=True,
    velocity=False,
    narrowing=tuple(
        Spec.of_joints(pairs=8, centre=2, numbers=12, negated=12 // ratio if ratio else 0) for ratio in RATIOS
    ),
)


class Recogniser(nn.Module):
    """A network from clips (batch, persons, frames, joints, dims + 1) to logits, linear in the mean over persons and frames."""

    def __init__(self, task: ActionRecognition, config: RecogniserConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        sided = config.chiral and task.class_mirror != tuple(range(len(task.classes)))
        negated = (0, task.dims) if config.velocity else (0,)
        order = joints_as(task.order, task.dims * len(negated) + 1, negated=negated, chiral=config.chiral)
        hidden = twin(config.hidden, chiral=config.chiral)
        first = config.narrowing or (config.hidden,) * INVARIANT
        specs = [order.spec, *(twin(spec, chiral=config.chiral) for spec in first)]
        specs += [hidden if sided else invariant(hidden.width)] * (config.blocks - INVARIANT)
        exact = config.paper_exact and config.chiral
        self.enter, self.norm = Enter(order), ChiralBatchNorm(order.spec, dim=-1)
        self.blocks = nn.ModuleList(
            SpaceTime(a, b, config, stride=2 if i in STRIDED else 1, residual=i > 0)
            for i, (a, b) in enumerate(pairwise(specs))
        )
        mirror = task.class_mirror if config.chiral else range(len(task.classes))
        self.logits = ChiralLogits(specs[-1], mirror, paper_exact=exact)

    def forward(self, clips: Float[Tensor, "batch persons frames joints numbers"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of clips, whose last number of each joint is its confidence."""
        persons = clips.shape[1]
        x = clips.flatten(0, 1)
        place, certain = x[..., :-1], x[..., -1:]
        if self.config.velocity:
            moved = torch.cat([torch.zeros_like(place[:, :1]), place[:, 1:] - place[:, :-1]], 1)
            place = torch.cat([place, moved], -1)
        x = self.norm(self.enter(torch.cat([place, certain], -1)))
        for block in self.blocks:
            x = block(x)
        return self.logits(x.mean(1).unflatten(0, (-1, persons)).mean(1))


class SpaceTime(nn.Module):
    """Spatial map, normalisation, nonlinearity, temporal convolution, normalisation, residual connection, nonlinearity, dropout."""

    def __init__(self, spec: Spec, out: Spec, config: RecogniserConfig, *, stride: int, residual: bool) -> None:
        super().__init__()
        exact = config.paper_exact and config.chiral
        self.stride, self.reach = stride, config.taps // 2
        self.space = ChiralTaps(spec, out, bias=False, paper_exact=exact, gain=RELU)
        self.time = ChiralTaps(out, out, config.taps, bias=False, paper_exact=exact, gain=RELU)
        self.norms = nn.ModuleList(ChiralBatchNorm(out, dim=-1) for _ in range(2))
        self.nonlinearity = activation(config.nonlinearity, out)
        self.dropout = nn.Dropout(config.dropout)
        self.across = (
            ChiralTaps(spec, out, bias=False, paper_exact=exact, gain=1.0) if residual and spec != out else None
        )
        self.residual = residual

    def fold(self) -> None:
        """Fold each normalisation into the convolution before it."""
        after_space, after_time = self.norms
        assert isinstance(after_space, ChiralBatchNorm)
        assert isinstance(after_time, ChiralBatchNorm)
        self.space, self.time = fold_norm(self.space, after_space), fold_norm(self.time, after_time)
        self.norms = nn.ModuleList([nn.Identity(), nn.Identity()])

    def forward(self, x: Rows) -> Float[Tensor, "batch frames_out width_out"]:
        after_space, after_time = self.norms
        y = self.nonlinearity(after_space(self.space(x)))
        y = after_time(self.time(F.pad(y, (0, 0, self.reach, self.reach)), self.stride))
        if self.residual:
            kept = x if self.stride == 1 else x[:, :: self.stride]
            y = y + (kept if self.across is None else self.across(kept))
        return self.dropout(self.nonlinearity(y))
