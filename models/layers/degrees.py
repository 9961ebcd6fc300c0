"""Features of several degrees packed in one row, and the maps on them that commute with rotation, point by point.

A row of channels (c_0, c_1, ...) has c_0 scalars, then 3 x c_1 numbers of vectors, then 5 x c_2: components before channels, in the order
of models/layers/spherical.py. So scalars and vectors are [s | v_x | v_y | v_z], gathering is one gather, and mixing channels one matmul.
"""

# ruff: noqa: E741 - l is the letter of a degree

import copy
import math
from abc import ABC, abstractmethod
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Channels = tuple[int, ...]  # how many of degree 0, 1, ...
Rows = Float[Tensor, "nodes width"]

SMALL = (
    1e-6  # norms are never divided by less; an epsilon that is added and at most 1e-8 would not survive the exporter
)


def width(channels: Channels) -> int:
    """Numbers in a row."""
    return sum((2 * l + 1) * c for l, c in enumerate(channels))


def split(f: Rows, channels: Channels) -> list[Float[Tensor, "nodes component channel"]]:
    """A row by degrees."""
    parts = f.split([(2 * l + 1) * c for l, c in enumerate(channels)], dim=1)
    return [part.unflatten(1, (2 * l + 1, c)) for l, (part, c) in enumerate(zip(parts, channels, strict=True))]


def pack(parts: list[Float[Tensor, "nodes _ _"]]) -> Rows:
    """The row of these degrees: `split` undone."""
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def norms(part: Float[Tensor, "nodes component channel"]) -> Float[Tensor, "nodes channel"]:
    return part.square().sum(1).clamp_min(SMALL * SMALL).sqrt()


def invariants(f: Rows, channels: Channels) -> Float[Tensor, "nodes all_channels"]:
    """The scalars as they are and the norm of every other channel.

    Components stand beside each other and are added as they are: a sum over a middle axis costs ONNX Runtime ten times as much.
    """
    components = list(f.split([c for l, c in enumerate(channels) for _ in range(2 * l + 1)], dim=1))
    found = [components[0]]
    for l in range(1, len(channels)):
        squares = components[l * l].square()
        for component in components[l * l + 1 : (l + 1) * (l + 1)]:
            squares = squares + component.square()
        found.append(squares.clamp_min(SMALL * SMALL).sqrt())
    return torch.cat(found, dim=1)


class Assembled(nn.Module, ABC):
    """A map whose few weights make up one large matrix: those are trained, this is made anew in each call and multiplied with."""

    constant: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("constant", None, persistent=False)

    def matrix(self) -> Float[Tensor, "width_in width_out"]:
        return self.assemble() if self.constant is None else self.constant

    @abstractmethod
    def assemble(self) -> Float[Tensor, "width_in width_out"]:
        """The matrix that the weights make up."""


M = TypeVar("M", bound=nn.Module)


@runtime_checkable
class Foldable(Protocol):
    """A module that can do its work in evaluation with fewer operations, such as one whose normalisation follows a linear map."""

    def fold(self) -> None:
        """Take that form; it is of no use in training any more."""
        ...


def frozen(network: M) -> M:
    """A copy to export, in evaluation: what can be folded is, every matrix is made once and is a constant; it can no longer be trained."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if isinstance(module, Foldable):
            module.fold()
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Assembled):
            module.constant = module.assemble()
    return network


class DegreeLinear(Assembled):
    """Mixes the channels of each degree, the same way in each component ("1x1" self-interaction); only scalars have a bias, if any.

    A degree that goes out and does not come in is zero.
    """

    def __init__(self, channels: Channels, out: Channels, *, bias: bool = False) -> None:
        super().__init__()
        self.channels, self.out = channels, out
        both = zip(channels, out, strict=False)
        self.weights = nn.ParameterList(torch.randn(c, o) / math.sqrt(max(c, 1)) for c, o in both)
        self.bias = nn.Parameter(torch.zeros(out[0])) if bias else None

    def assemble(self) -> Float[Tensor, "width_in width_out"]:
        """The whole map as one matrix."""
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
    """Mixes the channels of each degree by weights that the feature itself chooses (Fuchs et al. 2020, arXiv:2006.10503, eq. 12 ff.).

    Inner products of the channels -> LayerNorm -> LeakyReLU -> linear -> softmax over the channels that come in.
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
    """LayerNorm on the scalars; every other degree is divided by the root mean square of its numbers and scaled by channel."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        self.scalars = nn.LayerNorm(channels[0])
        self.scales = nn.ParameterList(torch.ones(c) for c in channels[1:])

    def forward(self, f: Rows) -> Rows:
        scalars, *others = f.split([(2 * l + 1) * c for l, c in enumerate(self.channels)], dim=1)
        normed = [self.scalars(scalars)]
        for l, (block, scale) in enumerate(zip(others, self.scales, strict=True), start=1):
            size = (
                block.square().mean(dim=1, keepdim=True).clamp_min(1e-8).sqrt()
            )  # features are of size 1: 1e-4 is nothing
            normed.append(block / size * scale.repeat(2 * l + 1))
        return torch.cat(normed, dim=1)


class NormNonlinearity(nn.Module):
    """f / |f| * ReLU(|f| + b) in every degree, b a channel (Fuchs et al. 2020).

    Where b > 0 it jumps at f = 0, so that rounding can show; a gate does not.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels
        self.biases = nn.ParameterList(torch.randn(c) for c in channels)

    def forward(self, f: Rows) -> Rows:
        bent = []
        for part, bias in zip(split(f, self.channels), self.biases, strict=True):
            norm = norms(part).unsqueeze(1)
            bent.append(part / norm * F.relu(norm + bias))
        return pack(bent)


class Gate(nn.Module):
    """SiLU on the scalars; every other channel times a sigmoid of the point's scalars and norms."""

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
