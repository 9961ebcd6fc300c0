"""Stacked LSTMs from past to future 2D poses: a residual sequence-to-sequence network, Martinez et al. 2017 (arXiv:1705.02445).

The LSTMs are chiral, as in Yeh et al. 2019 (arXiv:1911.00029). The encoder reads the past. The decoder starts from its last state and the
last pose, and predicts the difference of each pose from the one before. In training it may read true poses in place of its own (teacher
forcing). Unlike the papers' networks, this one also reads the velocity of each pose, in half boxes a frame.
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
    """Sizes and options: `hidden` is the spec of a layer's state; `chiral=False` makes the plain twin of the same width."""

    hidden: Spec = HIDDEN
    chiral: bool = True
    layers: int = 2
    dropout: float = 0.0
    velocity: bool = True
    paper_exact: bool = False

    def build(self, task: PoseForecast) -> "Forecaster":
        """Build the network for a task."""
        return Forecaster(task, self)


PAPER = ForecasterConfig(
    Spec.of_joints(pairs=6, centre=1, numbers=80, negated=40), dropout=0.5, velocity=False, paper_exact=True
)


class Forecaster(nn.Module):
    """A network from past poses (batch, past, joints, 2 or 3) to future ones (batch, future, joints, 2), in half boxes."""

    def __init__(self, task: PoseForecast, config: ForecasterConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        negated = (0, 2) if config.velocity else (0,)
        numbers = 2 * len(negated) + task.confidence
        order = joints_as(task.order, numbers, negated=negated, chiral=config.chiral)
        out = joints_as(task.order, 2, chiral=config.chiral)
        hidden, exact = twin(config.hidden, chiral=config.chiral), config.paper_exact and config.chiral
        options = {"layers": config.layers, "dropout": config.dropout, "paper_exact": exact}
        self.enter, self.leave = Enter(order), Leave(out, 2)
        self.encoder, self.decoder = (
            ChiralLSTM(order.spec, hidden, **options),
            ChiralLSTM(order.spec, hidden, **options),
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = ChiralLinear(
            hidden, out.spec, paper_exact=exact, gain=0.1
        )  # an untrained network nearly repeats the last pose

    def forward(
        self,
        past: Float[Tensor, "batch past joints numbers"],
        teacher: Float[Tensor, "batch future joints 3"] | None = None,
    ) -> Float[Tensor, "batch future joints 2"]:
        """Return future poses. `teacher` has the true x and y, and 1 for each joint that the decoder reads from it, otherwise 0."""
        pose, certain = past[:, -1, :, :2], past[:, -1, :, 2:]
        before = past[:, -2, :, :2] if past.shape[1] > 1 else pose
        _, states = self.encoder(self.rows(past))
        weights, poses = self.decoder.weights(), []
        for t in range(self.task.future):
            row = self.enter(self.numbers(pose, pose - before, certain)).unsqueeze(1)
            h, states = self.decoder(row, states, weights)
            before, pose = pose, pose + self.leave(self.head(self.dropout(h[:, 0])))
            poses.append(pose)
            certain = torch.ones_like(certain)
            if teacher is not None:
                pose = torch.where(teacher[:, t, :, 2:] > 0, teacher[:, t, :, :2], pose)
        return torch.stack(poses, 1)

    def rows(self, past: Float[Tensor, "batch past joints numbers"]) -> Float[Tensor, "batch past width"]:
        """Return the input of the encoder; the velocity of the first pose is 0."""
        poses, certain = past[..., :2], past[..., 2:]
        moved = torch.cat([torch.zeros_like(poses[:, :1]), poses[:, 1:] - poses[:, :-1]], 1)
        return self.enter(self.numbers(poses, moved, certain))

    def numbers(self, pose: Tensor, moved: Tensor, certain: Tensor) -> Tensor:
        """Concatenate the numbers of each joint: pose, velocity if configured, and confidence if there is one."""
        return torch.cat([pose, moved, certain] if self.config.velocity else [pose, certain], -1)
