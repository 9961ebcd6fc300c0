"""An equivariant network with temporal mixing and without messages (ETNN).

The published comparison prints only its name and size, 17K; it is not the topological network with the same acronym, as there are no
complexes here. The definition is inferred: ENN with vectors that mix over time. Vectors V begin as learned combinations of the past
velocities, and invariants h as a linear layer of their speeds. A layer updates both:

    h <- h + phi_h(|V|)
    V <- V + phi_g(h) (W V)    with one gain for each channel

The answer is the last pose plus a linear read-out of V, which begins at zero. Each further mode has its own read-out.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.trajectories import ReadOut, norms, poses, trajectories, velocities
from models.layers.vectors import VectorLinear


@dataclass(frozen=True)
class ETNNConfig:
    """Sizes of an ETNN."""

    channels: int = 32  # vectors of a node
    hidden: int = 32  # invariants of a node
    layers: int = 2

    def build(self, task: HandForecast) -> "ETNN":
        """Build the network for a task."""
        return ETNN(task, self)


class ETNN(nn.Module):
    """A forecaster that mixes the past velocities of each node with invariant gains; nodes do not see each other."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast, config: ETNNConfig) -> None:
        super().__init__()
        c, d = config.channels, config.hidden
        self.task, self.config = task, config
        self.embed_speed = nn.Linear(task.past, d)
        self.embed_velocity = VectorLinear(task.past, c)
        self.layers = nn.ModuleList(Mixing(c, d) for _ in range(config.layers))
        self.read_out = ReadOut(c, task.modes, task.future)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, mean = trajectories(past)
        v = velocities(x, self.task.fps)
        h, g = self.embed_speed(norms(v)), self.embed_velocity(v)
        for layer in self.layers:
            h, g = layer(h, g)
        return poses(self.read_out(g), x[:, :, -1:], mean)


class Mixing(nn.Module):
    """One layer: the norms of the vectors update the invariants, which then gate the mixed vectors."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.of_norms = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.gains = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, channels))
        self.mix = VectorLinear(channels, channels)

    def forward(
        self, h: Float[Tensor, "batch nodes D"], g: Float[Tensor, "batch 3 C nodes"]
    ) -> tuple[Float[Tensor, "batch nodes D"], Float[Tensor, "batch 3 C nodes"]]:
        h = h + self.of_norms(norms(g))
        return h, g + self.gains(h).transpose(1, 2).unsqueeze(1) * self.mix(g)
