"""Layers on all ordered pairs of nodes: distances, linear maps and sums, in the layout (batch, channels, nodes i, nodes j).

Channels come before the pairs, so each channel of a batch item is a plain nodes x nodes matrix. Sums over j run along contiguous memory,
and aggregation is a matrix product. Vectors are (batch, 3, channels, nodes) for the same reason.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Vectors = Float[Tensor, "batch 3 C nodes"]
Pairs = Float[Tensor, "batch C nodes nodes"]

MEETING = 1e-4  # the lower bound of distances (in the unit of the vectors), which keeps gradients finite


def distances(g: Vectors) -> Pairs:
    """Return |G_i - G_j| of every channel, at least MEETING.

    It works one axis at a time: a norm over a strided axis of length three costs about twenty times as much on a CPU.
    """
    return _Distances.apply(g) if torch.is_grad_enabled() and g.requires_grad else _distances(g)


def _distances(g: Vectors) -> Pairs:
    x, y, z = (axis.unsqueeze(3) - axis.unsqueeze(2) for axis in g.unbind(1))
    return (x * x + y * y + z * z).clamp_min(MEETING * MEETING).sqrt()


class _Distances(torch.autograd.Function):
    """`_distances` with its gradient in closed form: dL/dG_i = sum_j (r_ij + r_ji) (G_i - G_j), r = (dL/dd) / d.

    It takes a sixth of the time of automatic differentiation, which would store and revisit three differences a channel.
    """

    @staticmethod
    def forward(ctx: Any, g: Vectors) -> Pairs:
        d = _distances(g)
        ctx.save_for_backward(g, d)
        return d

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Vectors:
        g, d = ctx.saved_tensors
        r = torch.where(d > MEETING, grad[0] / d, 0.0)
        return towards(r + r.transpose(2, 3), g)


def towards(f: Pairs, g: Vectors) -> Vectors:
    """Return sum_j f_ij (G_i - G_j), computed as (sum_j f_ij) G_i - f G without a tensor of pairs of vectors."""
    gathered = f @ g.permute(0, 2, 3, 1)  # (batch, C, nodes, 3)
    return f.sum(3).unsqueeze(1) * g - gathered.permute(0, 3, 1, 2)


def sum_over_others(m: Pairs) -> Float[Tensor, "batch nodes C"]:
    """Return sum_{j != i} m_ij, nodes before channels."""
    return (m.sum(3) - m.diagonal(dim1=2, dim2=3)).transpose(1, 2)


class PairMap(nn.Conv2d):
    """A linear map of every pair's channels: a 1x1 convolution.

    In ONNX Runtime the convolution is faster than a batched matmul (EqMotion, 42 nodes: 3.3 ms against 4.6 ms). In PyTorch on a CPU it is
    slower (a training step of 32 clips: 0.57 s against 0.43 s). Export therefore uses the convolution, and training the matmul.
    """

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__(channels, out, kernel_size=1, bias=bias)

    def forward(self, input: Pairs) -> Float[Tensor, "batch out nodes nodes"]:
        if torch.compiler.is_exporting():
            return super().forward(input)
        flat = input.flatten(2)
        weight = self.weight.flatten(1).expand(flat.shape[0], -1, -1)  # not len(flat), which a TorchScript trace fixes
        y = torch.bmm(weight, flat) if self.bias is None else torch.baddbmm(self.bias[:, None], weight, flat)
        return y.view(y.shape[0], y.shape[1], input.shape[2], input.shape[3])


class PairLinear(nn.Module):
    """W [h_i; h_j; d_ij] + b, evaluated as W1 h_i + W2 h_j + W3 d_ij + b: the parts of nodes cost N products instead of N^2."""

    def __init__(self, hidden: int, distances: int, out: int) -> None:
        super().__init__()
        self.of_i = nn.Linear(hidden, out)
        self.of_j = nn.Linear(hidden, out, bias=False)
        self.of_distance = PairMap(distances, out, bias=False)
        bound = 1 / math.sqrt(2 * hidden + distances)  # as nn.Linear would draw the one matrix W
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, h: Float[Tensor, "batch nodes D"], d: Pairs) -> Float[Tensor, "batch out nodes nodes"]:
        of_i, of_j = self.of_i(h).transpose(1, 2), self.of_j(h).transpose(1, 2)
        return self.of_distance(d) + of_i.unsqueeze(3) + of_j.unsqueeze(2)


def pair_perceptron(channels: int, hidden: int, out: int) -> nn.Sequential:
    """Return a perceptron channels -> hidden -> out on every pair, with SiLU after both layers."""
    return nn.Sequential(PairMap(channels, hidden), nn.SiLU(), PairMap(hidden, out), nn.SiLU())
