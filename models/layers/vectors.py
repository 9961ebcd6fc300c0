"""Linear maps and nonlinearities on vector channels (batch, 3, channels, nodes) that commute with rotation and reflection."""

from jaxtyping import Float
from torch import Tensor, nn

Vectors = Float[Tensor, "batch 3 C nodes"]


class VectorLinear(nn.Linear):
    """A linear map of the channels, the same for each axis; it has no bias, which would break rotation."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, bias=False)

    def forward(self, input: Vectors) -> Float[Tensor, "batch 3 out nodes"]:
        return self.weight @ input


class VectorReLU(nn.Module):
    """ReLU of vector neurons: q if q . k >= 0, otherwise q without its component along k (Deng et al. 2021, arXiv:2104.12229; EqMotion eq.
    9).

    k is a learned direction. The projection divides by |k|^2 + eps. EqMotion's code has eps = 1e-4, with which half of the component
    remains for motion the size of a hand. Here eps is a thousandth of the mean |k|^2 over the node's channels, unless `relative` is False.
    """

    def __init__(self, channels: int, *, relative: bool = True) -> None:
        super().__init__()
        self.query = VectorLinear(channels, channels)
        self.key = VectorLinear(channels, channels)
        self.relative = relative

    def forward(self, g: Vectors) -> Vectors:
        q, k = self.query(g), self.key(g)
        along = (q * k).sum(1, keepdim=True)
        square = (k * k).sum(1, keepdim=True)
        if not self.relative:
            return q - along.clamp_max(0.0) / (square + 1e-4) * k
        square = square + 1e-3 * square.mean(dim=2, keepdim=True)
        return q - along.clamp_max(0.0) / square.clamp_min(1e-12) * k
