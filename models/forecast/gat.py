"""A graph attention network over joints, after Velickovic, Cucurull, Casanova, Romero, Lio and Bengio 2018 (arXiv:1710.10903).

Published comparisons of hand forecasts list a "GAT" of 17K parameters and do not define it. The definition here is inferred from the size:
the temporal baseline (14,900 for 60 past and 60 future frames) and two layers of attention with one head, 17,140 in all. Every joint
attends to every joint, where the paper has neighbours in a given graph, and each layer adds to its input, because attention over all
joints alone would make them alike.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, by_frame, by_node, centred
from models.forecast.temporal import temporal_perceptron


@dataclass(frozen=True)
class GATConfig:
    """Sizes; `residual` as in models/forecast/centred.py."""

    hidden: int = 32
    layers: int = 3  # of the perceptron over time, between hidden features
    attentions: int = 2
    residual: bool = False

    def build(self, task: HandForecast) -> "GAT":
        """Build the network for a task."""
        return GAT(task, self)


class GAT(nn.Module):
    """Attention between joints after a perceptron over time. Its weights belong to no joint, so it serves any number of nodes."""

    def __init__(self, task: HandForecast, config: GATConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or GATConfig()
        self.symmetries = ("translation",)
        hidden = self.config.hidden
        self.embed = temporal_perceptron(task.past * 3, hidden, self.config.layers)
        self.attentions = nn.ModuleList(Attention(hidden) for _ in range(self.config.attentions))
        self.read_out = nn.Linear(hidden, task.modes * task.future * 3)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones."""
        x, centre = centred(past)
        h = self.embed(by_node(x))
        for attention in self.attentions:
            h = h + F.elu(attention(h))
        return answered(by_frame(self.read_out(h), self.task), x, centre, residual=self.config.residual)


class Attention(nn.Module):
    """A head of graph attention: sum_j alpha_ij (W h_j), with alpha_ij = softmax_j LeakyReLU(a . [W h_i; W h_j]) (eqs. 3 and 4)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.value = nn.Linear(features, features)
        self.own = nn.Parameter(torch.randn(features) / features**0.5)  # the half of a that meets W h_i
        self.other = nn.Parameter(torch.randn(features) / features**0.5)

    def forward(self, h: Float[Tensor, "batch nodes features"]) -> Float[Tensor, "batch nodes features"]:
        v = self.value(h)
        scores = (v @ self.own).unsqueeze(2) + (v @ self.other).unsqueeze(1)
        return torch.softmax(F.leaky_relu(scores, 0.2), dim=2) @ v
