"""Features of several degrees packed in one row, and pointwise maps on them that commute with rotation.

A row with channels (c_0, c_1, ...) holds c_0 scalars, then the 3 x c_1 numbers of the vectors, then the 5 x c_2 numbers of degree 2, and so
on. Components come before channels, in the order of models/layers/spherical.py, so scalars and vectors are [s | v_x | v_y | v_z]. Gathering
points is then one gather, and mixing channels one matmul.
"""

# ruff: noqa: E741 - l is the letter of a degree

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.freezing import Assembled

Channels = tuple[int, ...]  # numbers of channels of degree 0, 1, ...
Rows = Float[Tensor, "nodes width"]

SMALL = 1e-6  # the lower bound of norms; the exporter drops an epsilon that is added and at most 1e-8


def width(channels: Channels) -> int:
    """Return the width of a row."""
    return sum((2 * l + 1) * c for l, c in enumerate(channels))


def split(f: Rows, channels: Channels) -> list[Float[Tensor, "nodes component channel"]]:
    """Split rows by degree."""
    parts = f.split([(2 * l + 1) * c for l, c in enumerate(channels)], dim=1)
    return [part.unflatten(1, (2 * l + 1, c)) for l, (part, c) in enumerate(zip(parts, channels, strict=True))]


def pack(parts: list[Float[Tensor, "nodes _ _"]]) -> Rows:
    """Pack one tensor a degree into rows, the inverse of `split`."""
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def norms(part: Float[Tensor, "nodes component channel"]) -> Float[Tensor, "nodes channel"]:
    """Return the norm of every channel of one degree, at least SMALL."""
    return part.square().sum(1).clamp_min(SMALL * SMALL).sqrt()


def invariants(f: Rows, channels: Channels) -> Float[Tensor, "nodes all_channels"]:
    """Return the scalars and the norm of every other channel.

    The squares of components are added one slice after the other: in ONNX Runtime a sum over a middle axis costs ten times as much.
    """
    components = list(f.split([c for l, c in enumerate(channels) for _ in range(2 * l + 1)], dim=1))
    invariant = [components[0]]
    for l in range(1, len(channels)):
        squares = components[l * l].square()
        for component in components[l * l + 1 : (l + 1) * (l + 1)]:
            squares = squares + component.square()
        invariant.append(squares.clamp_min(SMALL * SMALL).sqrt())
    return torch.cat(invariant, dim=1)


class DegreeLinear(Assembled):
    """A linear map of the channels of each degree, the same for every component ("1x1" self-interaction). Only scalars may have a bias.

    An output degree that the input lacks is zero.
    """

    def __init__(self, channels: Channels, out: Channels, *, bias: bool = False) -> None:
        super().__init__()
        self.channels, self.out = channels, out
        both = zip(channels, out, strict=False)
        self.weights = nn.ParameterList(torch.randn(c, o) / math.sqrt(max(c, 1)) for c, o in both)
        self.bias = nn.Parameter(torch.zeros(out[0])) if bias else None

    def assemble(self) -> Float[Tensor, "width_in width_out"]:
        """Compute the map as one matrix on rows."""
        blocks = []
        for l, weight in enumerate(self.weights):
            same = torch.eye(2 * l + 1, dtype=weight.dtype, device=weight.device)
            blocks.append(torch.einsum("ad,co->acdo", same, weight).flatten(2).flatten(0, 1))
        matrix = torch.block_diag(*blocks)
        return F.pad(matrix, (0, width(self.out) - matrix.shape[1], 0, width(self.channels) - matrix.shape[0]))

    def forward(self, f: Rows) -> Float[Tensor, "nodes width_out"]:
        y = f @ self.matrix()
        return y if self.bias is None else y + F.pad(self.bias, (0, y.shape[1] - len(self.bias)))


class AttentiveSelfInteraction(nn.Module):
    """Attentive self-interaction, Fuchs et al. 2020 (arXiv:2006.10503, eq. 12 ff.): the feature determines how its channels are mixed.

    The weights are inner products of the channels -> LayerNorm -> LeakyReLU -> linear -> softmax over the input channels.
    """

    def __init__(self, channels: Channels, out: Channels) -> None:
        super().__init__()
        self.channels, self.out = channels, out
        self.normalise = nn.ModuleList(nn.LayerNorm(c * c) for c, _ in zip(channels, out, strict=True))
        self.choose = nn.ModuleList(nn.Linear(c * c, c * o) for c, o in zip(channels, out, strict=True))

    def forward(self, f: Rows) -> Float[Tensor, "nodes width_out"]:
        mixed = []
        for part, normalise, choose, o in zip(
            split(f, self.channels), self.normalise, self.choose, self.out, strict=True
        ):
            gram = (part.transpose(1, 2) @ part).flatten(1)
            logits = choose(F.leaky_relu(normalise(gram))).unflatten(1, (part.shape[2], o))
            mixed.append(part @ logits.softmax(dim=1))
        return pack(mixed)


class DegreeNorm(nn.Module):
    """LayerNorm on the scalars; every other degree is divided by its root mean square, with one learned scale a channel."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        self.scalars = nn.LayerNorm(channels[0])
        self.scales = nn.ParameterList(torch.ones(c) for c in channels[1:])

    def forward(self, f: Rows) -> Rows:
        scalars, *others = f.split([(2 * l + 1) * c for l, c in enumerate(self.channels)], dim=1)
        normed = [self.scalars(scalars)]
        for l, (block, scale) in enumerate(zip(others, self.scales, strict=True), start=1):
            square = (
                block.square().mean(dim=1, keepdim=True).clamp_min(1e-8)
            )  # features have size 1, so 1e-4 is negligible
            normed.append(block / square.sqrt() * scale.repeat(2 * l + 1))
        return torch.cat(normed, dim=1)


class NormNonlinearity(nn.Module):
    """f / |f| * ReLU(|f| + b) in every degree, with one learned b a channel (Fuchs et al. 2020, arXiv:2006.10503).

    A channel with b > 0 is discontinuous at f = 0, so rounding errors can grow there; `Gate` is smooth.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        self.biases = nn.ParameterList(torch.randn(c) for c in channels)

    def forward(self, f: Rows) -> Rows:
        outputs = []
        for part, bias in zip(split(f, self.channels), self.biases, strict=True):
            norm = norms(part).unsqueeze(1)
            outputs.append(part / norm * F.relu(norm + bias))
        return pack(outputs)


class Gate(nn.Module):
    """SiLU on the scalars; every other channel is multiplied by a sigmoid of the point's scalars and norms."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        self.gates = nn.Linear(sum(channels), sum(channels[1:]))

    def forward(self, f: Rows) -> Rows:
        gates = self.gates(invariants(f, self.channels)).split(list(self.channels[1:]), dim=1)
        repeated = [gate for l, gate in enumerate(gates, start=1) for _ in range(2 * l + 1)]
        return f * torch.cat([f[:, : self.channels[0]], *repeated], dim=1).sigmoid()


Nonlinearity = Literal["gate", "norm"]
NONLINEARITIES: dict[Nonlinearity, type[nn.Module]] = {"gate": Gate, "norm": NormNonlinearity}
