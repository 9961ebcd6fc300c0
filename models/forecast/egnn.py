"""E(n) equivariant graph network with velocities (EGNN), Satorras, Hoogeboom and Welling 2021 (arXiv:2102.09844), sections 3 and 3.2.

    m_ij = phi_e(h_i, h_j, |x_i - x_j|^2)                                        eq. 3
    x_i <- x_i + phi_v(h_i) v_i + mean over j of (x_i - x_j) phi_x(m_ij)         eqs. 4 and 7
    h_i <- h_i + phi_h(h_i, sum over j of m_ij)                                  eqs. 5 and 6; the sum with h is the authors' code's

The published comparison prints only its size, 17K. The paper's network maps one frame to one. How it reads a past and answers several
frames is inferred: h begins as a linear layer of the speeds of all past frames, v is the last velocity, and each future frame is the last
pose plus a learned combination of v and the displacements after each layer. This read-out begins at zero, so that an untrained network
repeats the last pose. Each further mode has its own read-out. The last layer's update of h, which nothing reads, is omitted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.messages import Messages
from models.layers.pairs import distances
from models.layers.trajectories import ReadOut, norms, poses, trajectories, velocities


@dataclass(frozen=True)
class EGNNConfig:
    """Sizes of an EGNN."""

    hidden: int = 32
    layers: int = 2

    def build(self, task: HandForecast) -> "EGNN":
        """Build the network for a task."""
        return EGNN(task, self)


class EGNN(nn.Module):
    """A forecaster of poses with messages between all pairs of nodes."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast, config: EGNNConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.embed = nn.Linear(task.past, config.hidden)
        last = config.layers - 1
        self.layers = nn.ModuleList(EGNNLayer(config.hidden, update=i < last) for i in range(config.layers))
        self.read_out = ReadOut(1 + config.layers, task.modes, task.future)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        observed, mean = trajectories(past)
        v = velocities(observed, self.task.fps)
        h, x, v = self.embed(norms(v)), observed[:, :, -1:], v[:, :, -1:]
        last, vectors = x, [v]
        for layer in self.layers:
            h, x = layer(h, x, v)
            vectors.append(x - last)
        return poses(self.read_out(torch.cat(vectors, dim=2)), last, mean)


class EGNNLayer(nn.Module):
    """One layer of the equations above; without `update` it leaves h as it was."""

    def __init__(self, hidden: int, *, update: bool = True) -> None:
        super().__init__()
        d = hidden
        self.messages = Messages(d, 1)
        self.of_velocity = nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, 1))
        self.node = nn.Sequential(nn.Linear(2 * d, d), nn.SiLU(), nn.Linear(d, d)) if update else None

    def forward(
        self,
        h: Float[Tensor, "batch nodes D"],
        x: Float[Tensor, "batch 3 1 nodes"],
        v: Float[Tensor, "batch 3 1 nodes"],
    ) -> tuple[Float[Tensor, "batch nodes D"], Float[Tensor, "batch 3 1 nodes"]]:
        force, messages = self.messages(h, distances(x).square(), x)
        x = x + self.of_velocity(h).transpose(1, 2).unsqueeze(1) * v + force
        return h if self.node is None else h + self.node(torch.cat([h, messages], dim=-1)), x
