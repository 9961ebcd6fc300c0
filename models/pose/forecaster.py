"""Stacked LSTMs from past 2D poses to future ones: a residual sequence to sequence network, Martinez et al. 2017 (arXiv:1705.02445), chiral
as in Yeh et al. 2019.

An encoder sees the past; a decoder is given its last state, begins with the last pose, and answers with what each pose adds to the one
before. In training it may be shown true poses in place of its own ("teacher forcing"). Beside each pose a row has its velocity, in units
a frame, which the papers' networks are left to find out.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import PoseForecast
from models.layers.chiral import ChiralLinear
from models.layers.chiral_recurrent import ChiralLSTM
from models.layers.chiral_spec import Spec
from models.pose.ends import Enter, Leave, joints_as, pairs, twin

HIDDEN = pairs(256)


@dataclass(frozen=True)
class ForecasterConfig:
    """`hidden` is what the state of a layer is, and `chiral=False` makes the plain twin of the same width."""

    hidden: Spec = HIDDEN
    chiral: bool = True
    layers: int = 2
    dropout: float = 0.0
    velocity: bool = True
    paper_exact: bool = False

    def build(self, task: PoseForecast) -> "Forecaster":
        return Forecaster(task, self)


PAPER = ForecasterConfig(
    Spec.of_joints(pairs=6, centre=1, numbers=80, negated=40), dropout=0.5, velocity=False, paper_exact=True
)


class Forecaster(nn.Module):
    """(batch, past, joints, 2 or 3) to (batch, future, joints, 2), in half boxes."""

    def __init__(self, task: PoseForecast, config: ForecasterConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        negated = (0, 2) if config.velocity else (0,)
        numbers = 2 * len(negated) + task.confidence
        order = joints_as(task.order, numbers, negated=negated, chiral=config.chiral)
        out = joints_as(task.order, 2, chiral=config.chiral)
        hidden, exact = twin(config.hidden, chiral=config.chiral), config.paper_exact and config.chiral
        how = {"layers": config.layers, "dropout": config.dropout, "paper_exact": exact}
        self.enter, self.leave = Enter(order), Leave(out, 2)
        self.encoder, self.decoder = ChiralLSTM(order.spec, hidden, **how), ChiralLSTM(order.spec, hidden, **how)
        self.dropout = nn.Dropout(config.dropout)
        self.head = ChiralLinear(hidden, out.spec, paper_exact=exact, gain=0.1)  # at first it nearly stands still

    def forward(
        self,
        past: Float[Tensor, "batch past joints numbers"],
        teacher: Float[Tensor, "batch future joints 3"] | None = None,
    ) -> Float[Tensor, "batch future joints 2"]:
        """`teacher` has true poses, x, y and 1 where the decoder is to be shown them in place of its own, else 0."""
        pose, certain = past[:, -1, :, :2], past[:, -1, :, 2:]
        before = past[:, -2, :, :2] if past.shape[1] > 1 else pose
        _, states = self.encoder(self.rows(past))
        weights, found = self.decoder.weights(), []
        for t in range(self.task.future):
            row = self.enter(self.numbers(pose, pose - before, certain)).unsqueeze(1)
            h, states = self.decoder(row, states, weights)
            before, pose = pose, pose + self.leave(self.head(self.dropout(h[:, 0])))
            found.append(pose)
            certain = torch.ones_like(certain)
            if teacher is not None:
                pose = torch.where(teacher[:, t, :, 2:] > 0, teacher[:, t, :, :2], pose)
        return torch.stack(found, 1)

    def rows(self, past: Float[Tensor, "batch past joints numbers"]) -> Float[Tensor, "batch past width"]:
        """What the encoder is shown; the first pose has no velocity."""
        poses, certain = past[..., :2], past[..., 2:]
        moved = torch.cat([torch.zeros_like(poses[:, :1]), poses[:, 1:] - poses[:, :-1]], 1)
        return self.enter(self.numbers(poses, moved, certain))

    def numbers(self, pose: Tensor, moved: Tensor, certain: Tensor) -> Tensor:
        """The numbers of each joint side by side."""
        return torch.cat([pose, moved, certain] if self.config.velocity else [pose, certain], -1)
