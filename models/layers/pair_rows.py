"""Layers on pairs of nodes as rows, (batch, pairs, channels), where what is symmetric in i and j is computed once for both orders.

Weights are those of `models.layers.pairs`, and so are the values. A product is one of two plain matrices, and of the gradients none is
added up pair by pair. The rows of pairs i >= j are in the order (0, 0), (1, 0), (1, 1), (2, 0), ...
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.layers.pairs import MEETING, PairLinear, PairMap, Vectors

Half = Float[Tensor, "batch pairs C"]
Rows = Float[Tensor, "batch nodes nodes C"]


class Order(NamedTuple):
    """The nodes i >= j of each row, and the row of every ordered pair."""

    i: Int[Tensor, " pairs"]
    j: Int[Tensor, " pairs"]
    of: Int[Tensor, " all"]


def order_of(h: Float[Tensor, "batch nodes D"]) -> Order:
    """Return the order of the rows for the nodes of h; it is computed, because a table would fix their number in a traced graph."""
    nodes, device = h.shape[1], h.device
    node = torch.arange(nodes, device=device)
    larger, smaller = torch.maximum(node[:, None], node), torch.minimum(node[:, None], node)
    rows = torch.arange(nodes * (nodes + 1) // 2, device=device)
    i = (((8 * rows + 1).double().sqrt() - 1) / 2).long()
    return Order(i, rows - i * (i + 1) // 2, (larger * (larger + 1) // 2 + smaller).flatten())


def distances(g: Vectors, order: Order) -> Half:
    """Return |G_i - G_j| of every channel, at least MEETING."""
    g = g.transpose(2, 3).contiguous()
    return _Distances.apply(g, *order) if torch.is_grad_enabled() and g.requires_grad else _distances(g, order)


def _distances(g: Tensor, order: Order) -> Tensor:
    x, y, z = (axis.index_select(1, order.i).sub_(axis.index_select(1, order.j)) for axis in g.unbind(1))
    return x.mul_(x).addcmul_(y, y).addcmul_(z, z).clamp_min_(MEETING * MEETING).sqrt_()


class _Distances(torch.autograd.Function):
    """`_distances` with its gradient in closed form: dL/dG_i = sum_j r_ij (G_i - G_j), r = (dL/dd) / d."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, *order: Tensor) -> Tensor:
        d = _distances(g, Order(*order))
        ctx.save_for_backward(g, d, order[2])
        return d

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        g, d, of = ctx.saved_tensors
        r = grad[0] / F.threshold(d, MEETING, torch.inf)  # 0 where d does not depend on g
        nodes = g.shape[2]
        r = r.index_select(1, of).unflatten(1, (nodes, nodes))
        product = torch.empty_like(r)
        gathered = torch.stack([torch.mul(r, axis.unsqueeze(1), out=product).sum(2) for axis in g.unbind(1)], dim=1)
        return r.sum(2).unsqueeze(1) * g - gathered, None, None, None


def maps_of(layers: nn.Sequential | nn.ModuleList) -> list[PairMap]:
    """Return the linear maps among the layers of a perceptron."""
    return [layer for layer in layers if isinstance(layer, PairMap)]


def mapped(layer: PairMap, rows: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows out"]:
    """Return a linear map of rows."""
    return F.linear(rows, layer.weight.flatten(1), layer.bias)


def mapped_to_pairs(layer: PairMap, rows: Rows) -> Float[Tensor, "batch out nodes nodes"]:
    """Return a linear map of rows with channels before the pairs, as `towards` reads them."""
    assert layer.bias is not None
    arguments = rows.flatten(1, 2), layer.weight.flatten(1), layer.bias
    y = _MappedToPairs.apply(*arguments) if torch.is_grad_enabled() else _mapped_to_pairs(*arguments)
    return y.unflatten(2, (rows.shape[1], rows.shape[2]))


def _mapped_to_pairs(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias[:, None], weight.expand(rows.shape[0], -1, -1), rows.transpose(1, 2))


class _MappedToPairs(torch.autograd.Function):
    """`_mapped_to_pairs`, whose gradient for rows is one of rows in memory, too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _mapped_to_pairs(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        rows, weight = (saved.to(grad[0].dtype) for saved in ctx.saved_tensors)  # autocast computed in another type
        of_rows = torch.bmm(grad[0].transpose(1, 2), weight.expand(rows.shape[0], -1, -1))
        return of_rows, torch.bmm(grad[0], rows).sum(0), grad[0].sum((0, 2))


def first_layer(
    layer: PairLinear,
    h: Float[Tensor, "batch nodes D"],
    d: Half,
    order: Order,
    *,
    outputs: slice = slice(None),
    also: Float[Tensor, "pairs out"] | None = None,
) -> Float[Tensor, "batch nodes nodes out"]:
    """Return some outputs of W1 h_i + W2 h_j + W3 d_ij + b, plus another term that is symmetric."""
    of_i = F.linear(h, layer.of_i.weight[outputs], layer.of_i.bias[outputs])
    of_j = F.linear(h, layer.of_j.weight[outputs])
    both = F.linear(d, layer.of_distance.weight.flatten(1)[outputs])
    both = both if also is None else both + also
    return _Spread.apply(both, of_i, of_j, *order) if torch.is_grad_enabled() else _spread(both, of_i, of_j, order)


def _spread(half: Tensor, of_i: Tensor, of_j: Tensor, order: Order) -> Tensor:
    nodes = of_i.shape[1]
    rows = half.index_select(1, order.of).unflatten(1, (nodes, nodes))
    return rows.add_(of_i.unsqueeze(2)).add_(of_j.unsqueeze(1))


class _Spread(torch.autograd.Function):
    """`_spread`, with a gradient that reads the two orders of a pair instead of adding all pairs to zeros."""

    @staticmethod
    def forward(ctx: Any, half: Tensor, of_i: Tensor, of_j: Tensor, *order: Tensor) -> Tensor:
        ctx.save_for_backward(*order)
        return _spread(half, of_i, of_j, Order(*order))

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        order, rows = Order(*ctx.saved_tensors), grad[0].flatten(1, 2)
        nodes = grad[0].shape[1]
        of_half = rows.index_select(1, order.i * nodes + order.j)
        of_half += rows.index_select(1, order.j * nodes + order.i).mul_((order.i != order.j)[:, None])
        return of_half, grad[0].sum(2), grad[0].sum(1), None, None, None


def sum_over_others(m: Rows) -> Float[Tensor, "batch nodes C"]:
    """Return sum_{j != i} m_ij."""
    return _SumOverOthers.apply(m) if torch.is_grad_enabled() and m.requires_grad else _sum_over_others(m)


def _sum_over_others(m: Rows) -> Tensor:
    return m.sum(2) - m.diagonal(dim1=1, dim2=2).transpose(1, 2)


class _SumOverOthers(torch.autograd.Function):
    """`_sum_over_others`, with a gradient that is written once."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        return _sum_over_others(m)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        of_m = grad[0].unsqueeze(2).repeat(1, 1, grad[0].shape[1], 1)
        of_m.diagonal(dim1=1, dim2=2).zero_()
        return of_m
