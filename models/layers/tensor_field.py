"""Attention with tensor field kernels: the layer of the SE(3)-Transformer, Fuchs, Worrall, Fischer and Welling 2020 (arXiv:2006.10503).

Every neighbour j sends point i the message W(x_j - x_i) f_j. W^{lk}(d) = sum_J phi_J^{lk}(|d|) sum_m Y_Jm(d) C_Jm^{lk} is the general
kernel from degree k to degree l that rotates with d (eq. 8). Point i weighs the messages by the softmax of q_i . k_ij. Query and key both
rotate, so their product is invariant (eq. 10-12).

In the paper each phi is a perceptron. Here all are linear in a few radial functions b that the layers share, phi_J^{lk}(r)[c, o] =
sum_b w[b, c, o] b(r), so that the sum over neighbours can precede the weights. With A_ij = b(r_ij) (x) Y(d_ij), computed once for all
layers of a level,

    sum_j alpha_ij W(d_ij) f_j = W vec(sum_j alpha_ij A_ij (x) f_j),        q_i . W_K(d_ij) f_j = A_ij . (W_K^T q_i) f_j.

A layer is then two small matmuls a point and two large ones, without a kernel an edge: `Attention`. `LiteralAttention` computes the same
function of the same weights by the paper's formula, with a kernel an edge; it is the reference implementation.
"""

# ruff: noqa: E741 - l is the letter of a degree

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.degrees import (
    SMALL,
    AttentiveSelfInteraction,
    Channels,
    DegreeLinear,
    Rows,
    pack,
    split,
    width,
)
from models.layers.freezing import Assembled
from models.layers.spherical import clebsch_gordan, parity, spherical_harmonics


class Edges(NamedTuple):
    """The neighbourhoods of one level: the neighbours as indices of rows, and the functions of their positions that the layers use.

    Neighbours are the last axis, so that the many small products run along contiguous memory.
    """

    neighbours: Int[Tensor, "nodes k"]
    harmonics: Float[Tensor, "nodes m k"]  # Y_0, Y_1, ... concatenated
    radial: Float[Tensor, "nodes b k"]  # b(r)
    basis: Float[Tensor, "nodes bm k"]  # A, every radial function times every harmonic
    key_radial: Float[Tensor, "nodes c k"]  # the same for keys, which use fewer functions
    key_basis: Float[Tensor, "nodes cm k"]


def edges(
    offsets: Float[Tensor, "batch points k 3"],
    neighbours: Int[Tensor, "nodes k"],
    functions: int,
    key_functions: int,
    degree: int,
) -> tuple[Edges, Float[Tensor, "batch points k"]]:
    """Return the edges of a level, with harmonics up to `degree`, and their lengths.

    `offsets` are x_j - x_i; two points that meet have direction 0. The radial functions are Gaussians with centres from 0 to 2.5 mean edge
    lengths. The mean is that of each cloud alone, so an answer does not depend on the rest of the batch. Keys use sums of `key_functions`
    groups of neighbouring Gaussians, because attention needs less detail than messages. Raises ValueError unless the groups have equal
    sizes.
    """
    if functions % key_functions:
        raise ValueError(
            f"expected a multiple of {key_functions} radial functions, to make as many groups, got {functions}"
        )
    length = offsets.square().sum(-1).clamp_min(SMALL * SMALL).sqrt()
    relative = length / length.mean(dim=(1, 2), keepdim=True)
    centres = torch.linspace(0, 2.5, functions, dtype=length.dtype, device=length.device).unsqueeze(1)
    spread = 2.5 / max(functions - 1, 1)
    radial = torch.exp(-0.5 * ((relative.flatten(0, 1).unsqueeze(1) - centres) / spread).square())
    directions = (offsets / length.unsqueeze(-1)).flatten(0, 1)
    harmonics = torch.cat(spherical_harmonics(directions, degree), dim=-1).transpose(1, 2)
    key_radial = radial.unflatten(1, (key_functions, -1)).sum(2)
    basis, key_basis = ((r.unsqueeze(2) * harmonics.unsqueeze(1)).flatten(1, 2) for r in (radial, key_radial))
    return Edges(neighbours, harmonics, radial, basis, key_radial, key_basis), length


class Kernel(Assembled):
    """The kernel W: weights w of shape (radial functions, channels in, channels out) for each path (k, J -> l).

    Without `handed` it has no paths like the cross product of two vectors, and commutes with reflections too.
    """

    def __init__(self, channels: Channels, out: Channels, functions: int, degree: int, *, handed: bool) -> None:
        super().__init__()
        self.channels, self.out, self.functions, self.degree = channels, out, functions, degree
        self.paths = [
            (k, J, l)
            for l in range(len(out))
            for k in range(len(channels))
            for J in range(abs(k - l), min(k + l, degree) + 1)
            if channels[k] and out[l] and (handed or parity(J, k, l) > 0)
        ]
        fan_in = [sum(channels[k] for k, _, to in self.paths if to == l) for l in range(len(out))]
        self.weights = nn.ParameterDict(
            {
                f"{k}{J}{l}": nn.Parameter(torch.randn(functions, channels[k], out[l]) / math.sqrt(fan_in[l]))
                for k, J, l in self.paths
            }
        )

    def messages(
        self,
        radial: Float[Tensor, "nodes b k"],
        harmonics: Float[Tensor, "nodes m k"],
        f_j: Float[Tensor, "nodes k width"],
    ) -> Float[Tensor, "nodes k out"]:
        """Return the messages W(d_ij) f_j with an explicit kernel for every edge (eq. 8)."""
        nodes, near = f_j.shape[:2]
        radial = radial.transpose(1, 2).flatten(0, 1)
        ys = harmonics.transpose(1, 2).flatten(0, 1).split([2 * J + 1 for J in range(self.degree + 1)], dim=1)
        parts = split(f_j.flatten(0, 1), self.channels)
        sums = [parts[0].new_zeros(nodes * near, 2 * l + 1, c) for l, c in enumerate(self.out)]
        for k, J, l in self.paths:
            table = torch.from_numpy(clebsch_gordan(J, k, l)).to(f_j)
            phi = torch.einsum("eb,bco->eco", radial, self.weights[f"{k}{J}{l}"])
            turning = torch.einsum("em,mad->ead", ys[J], table)
            kernel = torch.einsum("eco,ead->eacdo", phi, turning)
            sums[l] = sums[l] + torch.einsum("eacdo,eac->edo", kernel, parts[k])
        return pack(sums).unflatten(0, (nodes, near))

    def assemble(self) -> Float[Tensor, "bm_width out"]:
        """Compute W as one matrix from vec(A (x) f) to the sum of messages."""
        some = next(iter(self.weights.values()))
        columns = []
        for l, o in enumerate(self.out):
            rows = []
            for k, c in enumerate(self.channels):
                by_degree = []
                for J in range(self.degree + 1):
                    if (k, J, l) in self.paths:
                        table = torch.from_numpy(clebsch_gordan(J, k, l)).to(some)
                        block = torch.einsum("mad,bco->bmacdo", table, self.weights[f"{k}{J}{l}"])
                        by_degree.append(block.flatten(4).flatten(2, 3))
                    else:
                        shape = self.functions, 2 * J + 1, (2 * k + 1) * c, (2 * l + 1) * o
                        by_degree.append(some.new_zeros(shape))
                rows.append(torch.cat(by_degree, dim=1))
            columns.append(torch.cat(rows, dim=2))
        return torch.cat(columns, dim=3).flatten(0, 2)


class Attention(nn.Module):
    """f_i -> sum_j alpha_ij W_V(d_ij) f_j + W_S f_i with one head, computed by matmuls.

    With `attentive`, attentive self-interaction combines message and feature instead of a sum.
    """

    def __init__(
        self,
        channels: Channels,
        out: Channels,
        *,
        functions: int,
        key_functions: int,
        degree: int,
        handed: bool = True,
        attentive: bool = False,
    ) -> None:
        super().__init__()
        keys = tuple(
            o if c else 0 for c, o in zip(channels, out, strict=False)
        )  # queries have the degrees of the input
        self.query = DegreeLinear(channels, keys)
        self.key = Kernel(channels, keys, key_functions, degree, handed=handed)
        self.value = Kernel(channels, out, functions, degree, handed=handed)
        self.self_interaction: DegreeLinear | AttentiveSelfInteraction
        if attentive:
            padded = channels + (0,) * (len(out) - len(channels))
            self.self_interaction = AttentiveSelfInteraction(tuple(map(sum, zip(padded, out, strict=True))), out)
        else:
            self.self_interaction = DegreeLinear(channels, out)
        self.channels, self.out, self.attentive = channels, out, attentive
        self.temperature = math.sqrt(width(keys))

    def forward(self, f: Rows, edges: Edges) -> Float[Tensor, "nodes out"]:
        nodes, k = edges.neighbours.shape
        f_j = f.index_select(0, edges.neighbours.flatten()).unflatten(0, (nodes, k))
        return self.combined(f, self.attended(f, f_j, edges))

    def attended(self, f: Rows, f_j: Float[Tensor, "nodes k width"], edges: Edges) -> Float[Tensor, "nodes out"]:
        """Return sum_j alpha_ij W_V(d_ij) f_j."""
        key = self.key.matrix() / self.temperature
        query = (self.query(f) @ key.T).unflatten(1, (-1, f.shape[1]))  # W_K^T q_i
        logits = (edges.key_basis * (query @ f_j.transpose(1, 2))).sum(1)
        alpha = torch.softmax(logits, dim=1)
        moments = (edges.basis * alpha.unsqueeze(1)) @ f_j  # the basis is narrower than the features
        return moments.flatten(1) @ self.value.matrix()

    def combined(self, f: Rows, message: Float[Tensor, "nodes out"]) -> Float[Tensor, "nodes out"]:
        """Combine the message with the point's own feature."""
        if not self.attentive:
            return message + self.self_interaction(f)
        own = split(f, self.channels)
        both = [torch.cat([part, *own[l : l + 1]], dim=2) for l, part in enumerate(split(message, self.out))]
        return self.self_interaction(pack(both))


class LiteralAttention(Attention):
    """The same function of the same weights by the paper's formula, with a kernel, a key and a value for every edge."""

    def attended(self, f: Rows, f_j: Float[Tensor, "nodes k width"], edges: Edges) -> Float[Tensor, "nodes out"]:
        k_ij = self.key.messages(edges.key_radial, edges.harmonics, f_j)
        v_ij = self.value.messages(edges.radial, edges.harmonics, f_j)  # eq. 11
        q_i = self.query(f).unsqueeze(1)
        alpha = torch.softmax((q_i * k_ij).sum(-1) / self.temperature, dim=1)  # eq. 12
        return (alpha.unsqueeze(-1) * v_ij).sum(1)  # eq. 10
