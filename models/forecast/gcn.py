"""A graph convolutional network over joints, after Kipf and Welling 2017 (arXiv:1609.02907).

Published comparisons of hand forecasts list a "GCN" of 17K parameters and do not define it. The definition here is inferred from the size:
the temporal baseline (14,900 for 60 past and 60 future frames) whose hidden layers mix joints by one learned 42 x 42 adjacency, 16,664 in
all. The adjacency begins as the paper's D^-1/2 (A + I) D^-1/2 of the bones, and is learned so that joints without a bone can interact.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, both_hands, by_frame, by_node, centred
from models.skeletons.hand import HAND_PAIR


@dataclass(frozen=True)
class GCNConfig:
    """Sizes; `residual` as in models/forecast/centred.py."""

    hidden: int = 32
    layers: int = 3
    residual: bool = False

    def build(self, task: HandForecast) -> "GCN":
        """Build the network for a task."""
        return GCN(task, self)


class GCN(nn.Module):
    """Graph convolutions h <- ReLU(A h W + b) between two maps of time. It serves one hand as two equal ones."""

    def __init__(self, task: HandForecast, config: GCNConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or GCNConfig()
        self.symmetries = ("translation",)
        hidden = self.config.hidden
        self.embed = nn.Linear(task.past * 3, hidden)
        self.adjacency = nn.Parameter(normalised_bones())
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(self.config.layers))
        self.read_out = nn.Linear(hidden, task.modes * task.future * 3)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, centre = centred(past)
        h = F.relu(self.embed(by_node(both_hands(x))))
        for layer in self.layers:
            h = F.relu(layer(self.adjacency @ h))
        y = by_frame(self.read_out(h), self.task)[..., : past.shape[2], :]
        return answered(y, x, centre, residual=self.config.residual)


def normalised_bones() -> Float[Tensor, "42 42"]:
    """Return D^-1/2 (A + I) D^-1/2, with A the bones of two hands and D the row sums of A + I (Kipf and Welling, eq. 2)."""
    joined = np.eye(len(HAND_PAIR.joints))
    for one, other in HAND_PAIR.bones:
        joined[one, other] = joined[other, one] = 1
    root = 1 / np.sqrt(joined.sum(axis=1))
    return torch.tensor(root[:, None] * joined * root, dtype=torch.float32)
