"""Chiral convolutions over time with frames before channels: one matmul each for the even and the odd half.

ChiralTaps is ChiralConv1d with its axes exchanged. It takes stride and dilation at call time, so a network can train on windows by strides
and run over whole clips by dilation with the same weights (Pavllo et al. 2019, arXiv:1811.11742).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from models.layers.chiral import TANH, ChiralMap
from models.layers.chiral_spec import Spec, even_odd, joined, sides

Rows = Float[Tensor, "*rows width"]  # of a batch and frames; for a single tap, any


class ChiralTaps(ChiralMap):
    """y_t = sum_k W_k x_(stride t + dilation k) + b over the taps k, without padding."""

    def __init__(
        self,
        spec: Spec,
        out: Spec,
        taps: int = 1,
        *,
        bias: bool = True,
        paper_exact: bool = False,
        gain: float = TANH,
    ) -> None:
        super().__init__(spec, out, (taps,), bias=bias, paper_exact=paper_exact, gain=gain)
        self.taps = taps

    def forward(self, x: Rows, stride: int = 1, dilation: int = 1) -> Float[Tensor, "*rows_out width_out"]:
        even, odd = (side_by_side(part, self.taps, stride, dilation) for part in even_odd(x, self.spec))
        w_even, w_odd, bias = self.weights()
        even = F.linear(even, tap_by_tap(w_even), bias)
        odd = F.linear(odd, tap_by_tap(w_odd)) if self.out.odd else even[..., :0]
        return joined(sides(even, odd, self.out))


def side_by_side(x: Rows, taps: int, stride: int, dilation: int) -> Float[Tensor, "*rows_out {taps}*width"]:
    """Concatenate, for each output frame, the input rows that its taps see."""
    if taps == 1:
        return x if stride == 1 else x[:, ::stride]
    if (stride, dilation) == (taps, 1):
        return x.unflatten(1, (-1, taps)).flatten(2)
    reach = (taps - 1) * dilation
    seen = torch.cat([x[:, k * dilation : x.shape[1] - reach + k * dilation] for k in range(taps)], -1)
    return seen if stride == 1 else seen[:, ::stride]


def tap_by_tap(weight: Float[Tensor, "rows columns taps"]) -> Float[Tensor, "rows taps_columns"]:
    """Return a kernel as one matrix on rows as `side_by_side` concatenates them."""
    return weight.transpose(1, 2).flatten(1)
