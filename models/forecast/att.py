"""Equivariant temporal attention without messages (ATT), with the attention of ESTAG (Wu et al. 2023, arXiv:2405.12868).

The published comparison prints only its name and size, 42K. The definition is inferred. Invariants h of each node and frame begin as a
linear layer of the speed and the distance from the middle of the frame's nodes, plus a learned embedding of the frame. A layer is the
temporal attention of ESTAG and a linear map of the frames, x <- x + W (x - x_T), with x_T the last observed pose. Invariant gains
multiply the displacements from the last pose, one for each frame, and a linear read-out answers each future frame:

    y_t = x_T + sum over s of A_ts phi_s(mean of h) (x_s - x_T)

Three layers give the published size; the comparison's other networks have two. The read-out begins at zero, as in ESTAG, so that an
untrained network repeats the last pose. Each further mode has its own read-out. Nodes see each other only through the middle of a frame.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.temporal_attention import TemporalAttention
from models.layers.trajectories import ReadOut, norms, poses, trajectories, velocities
from models.layers.vectors import VectorLinear


@dataclass(frozen=True)
class ATTConfig:
    """Sizes of an ATT."""

    hidden: int = 32
    layers: int = 3

    def build(self, task: HandForecast) -> "ATT":
        """Build the network for a task."""
        return ATT(task, self)


class ATT(nn.Module):
    """A forecaster of poses in which the frames of each node attend to each other."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast, config: ATTConfig) -> None:
        super().__init__()
        d = config.hidden
        self.task, self.config = task, config
        self.embed = FrameInvariants(task.past, d, task.fps)
        self.attentions = nn.ModuleList(TemporalAttention(d) for _ in range(config.layers))
        self.mixes = nn.ModuleList(VectorLinear(task.past, task.past) for _ in range(config.layers))
        self.gains = nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, task.past))
        self.read_out = ReadOut(task.past, task.modes, task.future)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, mean = trajectories(past)
        h, last = self.embed(x), x[:, :, -1:]
        for attention, mix in zip(self.attentions, self.mixes, strict=True):
            h, x = attention(h, x)
            x = x + mix(x - last)
        gains = self.gains(h.mean(dim=2)).transpose(1, 2).unsqueeze(1)
        return poses(self.read_out(gains * (x - last)), last, mean)


class FrameInvariants(nn.Module):
    """Invariants of each node and frame: a linear layer of speed and distance from the middle of the frame, plus a vector of the frame."""

    def __init__(self, frames: int, hidden: int, fps: float) -> None:
        super().__init__()
        self.fps = fps
        self.of_motion = nn.Linear(2, hidden)
        self.of_frame = nn.Parameter(0.5 * torch.randn(frames, hidden))

    def forward(self, x: Float[Tensor, "batch 3 past nodes"]) -> Float[Tensor, "batch nodes past D"]:
        speed, distance = norms(velocities(x, self.fps)), norms(x - x.mean(dim=3, keepdim=True))
        return self.of_motion(torch.stack([speed, distance], dim=-1)) + self.of_frame
