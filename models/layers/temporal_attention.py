"""Equivariant temporal attention, as in ESTAG (Wu, Hou, Guo, Wang, Zhang, Luo and Ma 2023, arXiv:2405.12868), for each node alone.

    a_ts = softmax over s of q_t . k_s / sqrt(D)
    x_t <- x_t + sum over s of a_ts phi(v_s) (x_t - x_s)
    h_t <- h_t + sum over s of a_ts v_s

q, k and v are perceptrons of h. Every frame attends to all: ESTAG hides the frames after t, but a forecast reads the whole past.
"""

from jaxtyping import Float
from torch import Tensor, nn

Invariants = Float[Tensor, "batch nodes frames D"]
Trajectories = Float[Tensor, "batch 3 frames nodes"]


class TemporalAttention(nn.Module):
    """One layer of the equations above."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        d = hidden
        self.scale = d**-0.5
        self.query, self.key, self.value = (
            nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU()) for _ in range(3)
        )
        self.gain = nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, 1))

    def forward(self, h: Invariants, x: Trajectories) -> tuple[Invariants, Trajectories]:
        value = self.value(h)
        scores = (self.query(h) * self.scale) @ self.key(h).transpose(2, 3)
        attention = scores.softmax(dim=3)  # (batch, nodes, t, s)
        weights = attention * self.gain(value).transpose(2, 3)
        per_node = x.permute(0, 3, 2, 1)  # (batch, nodes, frames, 3)
        moved = weights.sum(3, keepdim=True) * per_node - weights @ per_node
        return h + attention @ value, x + moved.permute(0, 3, 2, 1)
