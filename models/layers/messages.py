"""Equivariant messages between all ordered pairs of nodes, as in EGNN (Satorras, Hoogeboom and Welling 2021, arXiv:2102.09844).

GMN and ESTAG use the same messages.
"""

from jaxtyping import Float
from torch import Tensor, nn

from models.layers.pairs import PairLinear, PairMap, sum_over_others, towards


class Messages(nn.Module):
    """The networks phi_e and phi_x: messages m_ij = phi_e(h_i, h_j, features_ij) and forces mean_j phi_x(m_ij) (x_i - x_j).

    phi_x has one gain for each vector channel. The authors' code begins its last layer at a gain of 1e-3 and cuts each axis of the product
    off at 100, which breaks rotation. Ours has neither: read-outs begin at zero, and decimetres keep the products small.
    """

    def __init__(self, hidden: int, features: int, channels: int = 1) -> None:
        super().__init__()
        self.first = PairLinear(hidden, features, hidden)
        self.second = nn.Sequential(nn.SiLU(), PairMap(hidden, hidden), nn.SiLU())
        self.gains = nn.Sequential(PairMap(hidden, hidden), nn.SiLU(), PairMap(hidden, channels, bias=False))

    def forward(
        self,
        h: Float[Tensor, "batch nodes D"],
        features: Float[Tensor, "batch F nodes nodes"],
        x: Float[Tensor, "batch 3 C nodes"],
    ) -> tuple[Float[Tensor, "batch 3 C nodes"], Float[Tensor, "batch nodes D"]]:
        """Return the force on each node, a mean over the others, and the sum of its messages from the others."""
        m = self.second(self.first(h, features))
        return towards(self.gains(m), x) / (x.shape[3] - 1), sum_over_others(m)
