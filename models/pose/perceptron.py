"""The residual block of chiral perceptrons, which forecasters, recognisers and lifters share."""

from jaxtyping import Float
from torch import Tensor, nn

from models.layers.chiral import ChiralLinear
from models.layers.chiral_spec import Spec
from models.pose.ends import RELU, activation

SMALL = 0.3  # the gain of the map that closes a block: an untrained block changes its row little


class Residual(nn.Module):
    """x + W relu(V x + b) + c on the last axis, with dropout before W."""

    def __init__(self, spec: Spec, dropout: float) -> None:
        super().__init__()
        self.inward, self.outward = ChiralLinear(spec, spec, gain=RELU), ChiralLinear(spec, spec, gain=SMALL)
        self.rest = nn.Sequential(activation("relu", spec), nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x + self.outward(self.rest(self.inward(x)))
