"""The temporal baseline: a perceptron over the time of each joint, without a graph.

Published comparisons of hand forecasts list a "Temporal" network of 15K parameters and do not define it. The definition here is inferred
from the size: 180 -> 32 -> 32 -> 32 -> 32 -> 180 for 60 past and 60 future frames has 14,900.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, by_frame, by_node, centred


@dataclass(frozen=True)
class TemporalConfig:
    """Sizes; `residual` as in models/forecast/centred.py."""

    hidden: int = 32
    layers: int = 3  # between hidden features
    residual: bool = False

    def build(self, task: HandForecast) -> "Temporal":
        """Build the network for a task."""
        return Temporal(task, self)


class Temporal(nn.Module):
    """A perceptron from the past of a joint to its future. All joints share its weights, and none sees another."""

    def __init__(self, task: HandForecast, config: TemporalConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or TemporalConfig()
        self.symmetries = ("translation",)
        self.embed = temporal_perceptron(task.past * 3, self.config.hidden, self.config.layers)
        self.read_out = nn.Linear(self.config.hidden, task.modes * task.future * 3)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones."""
        x, centre = centred(past)
        y = self.read_out(self.embed(by_node(x)))
        return answered(by_frame(y, self.task), x, centre, residual=self.config.residual)


def temporal_perceptron(inputs: int, hidden: int, layers: int) -> nn.Sequential:
    """Return a perceptron from `inputs` to `hidden` features, with `layers` more layers and a ReLU after each."""
    parts: list[nn.Module] = [nn.Linear(inputs, hidden), nn.ReLU()]
    for _ in range(layers):
        parts += [nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*parts)
