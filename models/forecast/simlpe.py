"""siMLPe, Guo, Du, Shen, Lepetit, Alameda-Pineda and Moreno-Noguer 2023 (arXiv:2207.01567): a perceptron on the DCT of the past.

Ours differs from the authors' in three points. Coordinates are those of two hands, 126 in place of 66. Poses are about the centre of the
last one. Where the future is longer than the past, copies of the first frame precede the past, since the network keeps the number of
frames; the authors forecast as many or fewer frames.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, both_hands, centred
from models.forecast.eqmotion import NODES, dct_matrix


@dataclass(frozen=True)
class SiMLPeConfig:
    """Sizes, by default the authors'; `residual` as in models/forecast/centred.py."""

    blocks: int = 48
    residual: bool = True

    def build(self, task: HandForecast) -> "SiMLPe":
        """Build the network for a task."""
        return SiMLPe(task, self)


class SiMLPe(nn.Module):
    """Fully connected blocks over time between two maps of all coordinates, in the DCT of time. It serves one hand as two equal ones."""

    dct: Tensor
    idct: Tensor

    def __init__(self, task: HandForecast, config: SiMLPeConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or SiMLPeConfig()
        self.symmetries = ("translation",)
        frames, coordinates = max(task.past, task.future), NODES * 3
        self.missing = frames - task.past
        self.embed = nn.Linear(coordinates, coordinates)
        self.blocks = nn.Sequential(*(Block(frames, coordinates) for _ in range(self.config.blocks)))
        self.read_out = nn.Linear(coordinates, task.modes * coordinates)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)
        self.register_buffer("dct", dct_matrix(frames), persistent=False)
        self.register_buffer("idct", dct_matrix(frames).T[: task.future].contiguous(), persistent=False)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, centre = centred(past)
        h = both_hands(x).flatten(2)
        h = torch.cat([h[:, :1].expand(-1, self.missing, -1), h], dim=1)
        y = self.idct @ self.read_out(self.blocks(self.embed(self.dct @ h)))  # (batch, future, modes x 126)
        y = y.unflatten(2, (self.task.modes, NODES, 3)).transpose(1, 2)[..., : past.shape[2], :]
        return answered(y, x, centre, residual=self.config.residual)


class Block(nn.Module):
    """z + LN(W z + b): W acts on frames, the normalisation on the coordinates of each (eq. 4). W begins near zero, as the authors' does."""

    def __init__(self, frames: int, coordinates: int) -> None:
        super().__init__()
        self.temporal = nn.Linear(frames, frames)
        self.norm = nn.LayerNorm(coordinates)
        nn.init.xavier_uniform_(self.temporal.weight, gain=1e-8)
        nn.init.zeros_(self.temporal.bias)

    def forward(self, z: Float[Tensor, "batch frames coordinates"]) -> Float[Tensor, "batch frames coordinates"]:
        return z + self.norm(self.temporal(z.transpose(1, 2)).transpose(1, 2))
