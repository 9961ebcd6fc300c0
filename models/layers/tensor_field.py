"""Attention with tensor field kernels: the layer of the SE(3)-Transformer, Fuchs, Worrall, Fischer and Welling 2020 (arXiv:2006.10503).

From every neighbour j point i hears the message W(x_j - x_i) f_j, where W^{lk}(d) = sum_J phi_J^{lk}(|d|) sum_m Y_Jm(d) C_Jm^{lk} is the
general kernel that takes degree k to degree l and turns with d (eq. 8), and weighs it by the softmax of q_i . k_ij, both of which turn as
well, so that their product does not (eq. 10-12).

Here no phi is a perceptron of its own: all are linear in a few radial functions b that the layers share, phi_J^{lk}(r)[c, o] =
sum_b w[b, c, o] b(r). Then the sum over neighbours can be taken before the weights are met. With A_ij = b(r_ij) (x) Y(d_ij), computed once
for all layers of a level,

    sum_j alpha_ij W(d_ij) f_j = W vec(sum_j alpha_ij A_ij (x) f_j),        q_i . W_K(d_ij) f_j = A_ij . (W_K^T q_i) f_j,

and a layer is two small matmuls a point and two large ones, without a kernel an edge: `Attention`. `LiteralAttention` has the same weights
and is the same function by the formula of the paper, a kernel an edge: what the fast form is held to.
"""

# ruff: noqa: E741 - l is the letter of a degree

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.degrees import (
    SMALL,
    Assembled,
    AttentiveSelfInteraction,
    Channels,
    DegreeLinear,
    Rows,
    pack,
    split,
    width,
)
from models.layers.spherical import clebsch_gordan, parity, spherical_harmonics


class Edges(NamedTuple):
    """The neighbourhoods of one level: who the neighbours are, as rows of the features, and what of their positions the layers see.

    Neighbours come last, so that the many small products have rows to run along.
    """

    neighbours: Int[Tensor, "nodes k"]
    harmonics: Float[Tensor, "nodes m k"]  # Y_0, Y_1, ... below each other
    radial: Float[Tensor, "nodes b k"]  # b(r)
    basis: Float[Tensor, "nodes bm k"]  # A: every radial function times every harmonic
    key_radial: Float[Tensor, "nodes c k"]  # the same, of the fewer functions that keys see
    key_basis: Float[Tensor, "nodes cm k"]


def edges(
    offsets: Float[Tensor, "batch points k 3"],
    neighbours: Int[Tensor, "nodes k"],
    functions: int,
    key_functions: int,
    degree: int,
) -> tuple[Edges, Float[Tensor, "batch points k"]]:
    """The edges of a level, with harmonics up to `degree`, and their lengths.

    `offsets` are x_j - x_i; the direction of two points that meet is 0. The radial functions are Gaussians of the length in units of the
    cloud's mean length, 0 to 2.5: of each cloud by itself, so that an answer does not depend on what else is in the batch. Keys see sums of
    `key_functions` groups of neighbouring ones: who is listened to needs less detail than what is heard. Raises ValueError unless the
    groups are of the same size.
    """
    if functions % key_functions:
        raise ValueError(f"{functions} radial functions do not make {key_functions} groups of the same size")
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
    """W: a matrix w of radial functions x channels in x channels out for each path (k, J -> l).

    Without `handed`, paths like the cross product of two vectors are left out; what is left commutes with reflections too.
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
        heard = [sum(channels[k] for k, _, to in self.paths if to == l) for l in range(len(out))]
        self.weights = nn.ParameterDict(
            {
                f"{k}{J}{l}": nn.Parameter(torch.randn(functions, channels[k], out[l]) / math.sqrt(heard[l]))
                for k, J, l in self.paths
            }
        )

    def an_edge(
        self,
        radial: Float[Tensor, "nodes b k"],
        harmonics: Float[Tensor, "nodes m k"],
        f_j: Float[Tensor, "nodes k width"],
    ) -> Float[Tensor, "nodes k out"]:
        """The messages W(d_ij) f_j, with the kernel of every edge written out (eq. 8)."""
        nodes, near = f_j.shape[:2]
        radial = radial.transpose(1, 2).flatten(0, 1)
        ys = harmonics.transpose(1, 2).flatten(0, 1).split([2 * J + 1 for J in range(self.degree + 1)], dim=1)
        parts = split(f_j.flatten(0, 1), self.channels)
        heard = [parts[0].new_zeros(nodes * near, 2 * l + 1, c) for l, c in enumerate(self.out)]
        for k, J, l in self.paths:
            table = torch.from_numpy(clebsch_gordan(J, k, l)).to(f_j)
            phi = torch.einsum("eb,bco->eco", radial, self.weights[f"{k}{J}{l}"])
            turning = torch.einsum("em,mad->ead", ys[J], table)
            kernel = torch.einsum("eco,ead->eacdo", phi, turning)
            heard[l] = heard[l] + torch.einsum("eacdo,eac->edo", kernel, parts[k])
        return pack(heard).unflatten(0, (nodes, near))

    def assemble(self) -> Float[Tensor, "bm_width out"]:
        """W as one matrix from vec(A (x) f) to what is heard."""
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
    """f_i -> sum_j alpha_ij W_V(d_ij) f_j + W_S f_i, by the two matmuls; one head.

    With `attentive`, message and feature meet in attentive self-interaction instead of a sum.
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
        keys = tuple(o if c else 0 for c, o in zip(channels, out, strict=False))  # a query has the degrees that come in
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
        return self.joined(f, self.heard(f, f_j, edges))

    def heard(self, f: Rows, f_j: Float[Tensor, "nodes k width"], edges: Edges) -> Float[Tensor, "nodes out"]:
        """sum_j alpha_ij W_V(d_ij) f_j."""
        key = self.key.matrix() / self.temperature
        asked = (self.query(f) @ key.T).unflatten(1, (-1, f.shape[1]))  # W_K^T q_i
        logits = (edges.key_basis * (asked @ f_j.transpose(1, 2))).sum(1)
        alpha = torch.softmax(logits, dim=1)
        moments = edges.basis @ (f_j * alpha.unsqueeze(2))
        return moments.flatten(1) @ self.value.matrix()

    def joined(self, f: Rows, heard: Float[Tensor, "nodes out"]) -> Float[Tensor, "nodes out"]:
        if not self.attentive:
            return heard + self.self_interaction(f)
        own = split(f, self.channels)
        both = [torch.cat([part, *own[l : l + 1]], dim=2) for l, part in enumerate(split(heard, self.out))]
        return self.self_interaction(pack(both))


class LiteralAttention(Attention):
    """The same function of the same weights, with a kernel, a key and a value an edge, as the paper writes it."""

    def heard(self, f: Rows, f_j: Float[Tensor, "nodes k width"], edges: Edges) -> Float[Tensor, "nodes out"]:
        k_ij = self.key.an_edge(edges.key_radial, edges.harmonics, f_j)
        v_ij = self.value.an_edge(edges.radial, edges.harmonics, f_j)  # eq. 11
        q_i = self.query(f).unsqueeze(1)
        alpha = torch.softmax((q_i * k_ij).sum(-1) / self.temperature, dim=1)  # eq. 12
        return (alpha.unsqueeze(-1) * v_ij).sum(1)  # eq. 10
