"""LTD, "Learning Trajectory Dependencies for Human Motion Prediction", Mao, Liu, Salzmann and Li 2019 (arXiv:1908.05436): a graph network
on the DCT of trajectories.

A node of the graph is the trajectory of one coordinate, and every layer learns its own adjacency of all of them. The past is followed by
copies of the last pose, and the network corrects the DCT of the whole. Ours differs from the authors' in two points: coordinates are those
of two hands, 126 in place of 66, about the centre of the last pose; and only the future is returned, so no loss acts on the past.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, both_hands, centred
from models.forecast.eqmotion import NODES, dct_matrix


@dataclass(frozen=True)
class LTDConfig:
    """Sizes, by default the authors'; `residual` as in models/forecast/centred.py."""

    hidden: int = 256
    blocks: int = 12
    dropout: float = 0.5
    residual: bool = True

    def build(self, task: HandForecast) -> "LTD":
        """Build the network for a task."""
        return LTD(task, self)


class LTD(nn.Module):
    """Residual blocks of graph convolutions with learned adjacencies, in the DCT of time. It serves one hand as two equal ones."""

    dct: Tensor
    idct: Tensor

    def __init__(self, task: HandForecast, config: LTDConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or LTDConfig()
        self.symmetries = ("translation",)
        frames, hidden = task.past + task.future, self.config.hidden
        self.embed = Layer(frames, self.config)
        self.blocks = nn.ModuleList(
            nn.Sequential(Layer(hidden, self.config), Layer(hidden, self.config)) for _ in range(self.config.blocks)
        )
        self.read_out = GraphConvolution(hidden, task.modes * frames)
        if self.config.residual:
            with torch.no_grad():  # mode 0 repeats the last pose, and the others are close to it
                for weights in (self.read_out.weight, self.read_out.bias):
                    weights[..., :frames] = 0
                    weights[..., frames:] *= 0.01
        self.register_buffer("dct", dct_matrix(frames), persistent=False)
        self.register_buffer("idct", dct_matrix(frames)[:, task.past :].contiguous(), persistent=False)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, centre = centred(past)
        h = both_hands(x).flatten(2)
        h = torch.cat([h, h[:, -1:].expand(-1, self.task.future, -1)], dim=1)
        h = self.embed(h.transpose(1, 2) @ self.dct.T)  # (batch, coordinates, features)
        for block in self.blocks:
            h = h + block(h)
        y = self.read_out(h).unflatten(2, (self.task.modes, -1)) @ self.idct  # (batch, coordinates, modes, future)
        y = y.unflatten(1, (NODES, 3)).permute(0, 3, 4, 1, 2)[..., : past.shape[2], :]
        return answered(y, x, centre, residual=self.config.residual)


class GraphConvolution(nn.Module):
    """A h W + b, with a learned adjacency A of all coordinates (eq. 3)."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        bound = out**-0.5  # the authors'
        self.adjacency = nn.Parameter(torch.empty(NODES * 3, NODES * 3).uniform_(-bound, bound))
        self.weight = nn.Parameter(torch.empty(features, out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out).uniform_(-bound, bound))

    def forward(self, h: Float[Tensor, "batch coordinates features"]) -> Float[Tensor, "batch coordinates out"]:
        return self.adjacency @ (h @ self.weight) + self.bias


class Layer(nn.Module):
    """A graph convolution, a batch normalisation of every feature of every coordinate, tanh and dropout."""

    def __init__(self, features: int, config: LTDConfig) -> None:
        super().__init__()
        self.convolution = GraphConvolution(features, config.hidden)
        self.norm = nn.BatchNorm1d(NODES * 3 * config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h: Float[Tensor, "batch coordinates features"]) -> Float[Tensor, "batch coordinates hidden"]:
        y = self.convolution(h)
        y = self.norm(y.flatten(1)).unflatten(1, (NODES * 3, y.shape[2]))
        return self.dropout(torch.tanh(y))
