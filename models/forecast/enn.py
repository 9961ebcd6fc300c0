"""An equivariant network without messages (ENN): the last pose plus an invariant gain times the last velocity of each node.

The published comparison prints only its name and size, 3K. The definition is inferred from the size. The speeds of the past frames enter a
linear layer, h = W |v|, and a perceptron phi (hidden -> hidden -> 1, SiLU between) gives the gain: 3,041 parameters at 60 past frames. How
the gain answers several frames is ours: y_t = x_T + a_t phi(h) v_T with one learned profile a_t, which begins as a damped velocity. phi
begins at zero, so that an untrained network repeats the last pose. Each further mode has its own gain.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.trajectories import UNIT_S, norms, poses, trajectories, velocities

DECAY = 0.9  # of the initial profile, in a 30th of a second


@dataclass(frozen=True)
class ENNConfig:
    """Sizes of an ENN."""

    hidden: int = 32

    def build(self, task: HandForecast) -> "ENN":
        """Build the network for a task."""
        return ENN(task, self)


class ENN(nn.Module):
    """A forecaster that moves each node along its own last velocity; nodes do not see each other."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast, config: ENNConfig) -> None:
        super().__init__()
        d = config.hidden
        self.task, self.config = task, config
        self.embed = nn.Linear(task.past, d)
        last = nn.Linear(d, task.modes)
        self.gain = nn.Sequential(nn.Linear(d, d), nn.SiLU(), last)
        decays = (DECAY ** (30 / task.fps)) ** torch.arange(1, task.future + 1)
        self.profile = nn.Parameter(decays.cumsum(0) / (task.fps * UNIT_S))
        with torch.no_grad():  # mode 0 initially repeats the last pose, and the others are close to it
            last.weight[0], last.bias[0] = 0, 0
            last.weight[1:] *= 0.1
            last.bias[1:] *= 0.1

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, mean = trajectories(past)
        v = velocities(x, self.task.fps)
        gain = self.gain(self.embed(norms(v))).transpose(1, 2)  # (batch, modes, nodes)
        moved = (gain.unsqueeze(1) * v[:, :, -1:]).unsqueeze(3) * self.profile[:, None]
        return poses(moved, x[:, :, -1:], mean)
