"""The recurrent baseline: a stacked LSTM (Hochreiter and Schmidhuber 1997) that reads the frames and answers with all future poses at once.

Published comparisons of hand forecasts list an "LSTM" of 558K parameters and do not define it. The definition here is inferred from the
size and is one of several that fit: an embedding 3 -> 64, two LSTM layers of 64, and one linear map 64 -> 42 x 3 x 60, 558,216 in all. How
one embedding of three coordinates reads a pose of 42 joints is inferred too: it embeds each joint, and the pose is the mean after a ReLU.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, centred
from models.forecast.eqmotion import NODES


@dataclass(frozen=True)
class LSTMConfig:
    """Sizes; `residual` as in models/forecast/centred.py."""

    hidden: int = 64
    layers: int = 2
    residual: bool = False

    def build(self, task: HandForecast) -> "LSTM":
        """Build the network for a task."""
        return LSTM(task, self)


class LSTM(nn.Module):
    """An LSTM over the frames, and a read-out with weights a joint. One hand has the answer of the first 21 nodes."""

    def __init__(self, task: HandForecast, config: LSTMConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or LSTMConfig()
        self.symmetries = ("translation",)
        hidden = self.config.hidden
        self.embed = nn.Linear(3, hidden)
        self.lstm = nn.LSTM(hidden, hidden, self.config.layers, batch_first=True)
        self.read_out = nn.Linear(hidden, task.modes * task.future * NODES * 3)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, centre = centred(past)
        states, _ = self.lstm(F.relu(self.embed(x)).mean(dim=2))
        y = self.read_out(states[:, -1]).unflatten(1, (self.task.modes, self.task.future, NODES, 3))
        return answered(y[..., : past.shape[2], :], x, centre, residual=self.config.residual)
