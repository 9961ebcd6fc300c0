"""The chirality transform on rows of features, and the order of features inside a chiral network.

From Chirality Nets, Yeh, Hu and Schwing 2019 (arXiv:1911.00029). The transform T mirrors a pose: it negates some numbers of each joint and
exchanges left joints with right ones. A network is chiral if f(T x) = T f(x).

Inside a network every row has the order (l, r, c_n, c_p). l holds the numbers of the left side. r holds the numbers of the right side *as
the mirror shows them*: those that T negates are stored negated. c_n holds the central numbers that T negates, c_p those that it keeps. In
this order T exchanges l with r and negates c_n, and does nothing else. Any function of single numbers therefore commutes with T on l, r and
c_p, and any odd function on c_n. Only `enter` and `leave` depend on the order of the joints.

l + r and c_p are even, T e = e. l - r and c_n are odd, T o = -o. A linear map that commutes with T maps even to even and odd to odd, which
takes half the products of a dense map.
"""

# ruff: noqa: E741 - l is the paper's left

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

HALF = math.sqrt(0.5)  # (l + r) / sqrt 2 and (l - r) / sqrt 2: an orthonormal change of basis


class WrongMirror(ValueError):
    """A permutation that is not its own inverse, or negated numbers that a joint does not have."""


@dataclass(frozen=True)
class Spec:
    """The counts of a row: `ln` negated and `lp` kept numbers on each side, `cn` negated and `cp` kept numbers in the centre.

    Any counts are valid, because the features of a hidden row need not belong to joints. Only `paper_exact` layers distinguish ln from lp,
    since the right side is stored as the mirror shows it.
    """

    ln: int = 0
    lp: int = 0
    cn: int = 0
    cp: int = 0

    def __post_init__(self) -> None:
        if min(self.ln, self.lp, self.cn, self.cp) < 0:
            raise ValueError(f"expected counts of at least 0, got {self}")

    @classmethod
    def of_joints(cls, pairs: int, centre: int, numbers: int, negated: int) -> Self:
        """Return the counts of `pairs` joints on each side and `centre` in the middle; T negates `negated` of each joint's `numbers`."""
        kept = numbers - negated
        return cls(pairs * negated, pairs * kept, centre * negated, centre * kept)

    @property
    def pairs(self) -> int:
        """Return the width of one side."""
        return self.ln + self.lp

    @property
    def centre(self) -> int:
        """Return the width of the centre."""
        return self.cn + self.cp

    @property
    def width(self) -> int:
        """Return the width of the whole row."""
        return 2 * self.pairs + self.centre

    @property
    def even(self) -> int:
        """Return the width of the part that T keeps."""
        return self.pairs + self.cp

    @property
    def odd(self) -> int:
        """Return the width of the part that T negates."""
        return self.pairs + self.cn

    @property
    def sizes(self) -> list[int]:
        """Return the widths of l, r, c_n and c_p."""
        return [self.pairs, self.pairs, self.cn, self.cp]

    @property
    def gates(self) -> "Spec":
        """Return the spec of factors for every number of this row: T exchanges the factors of l and r and negates none."""
        return Spec(lp=self.pairs, cp=self.centre)


@dataclass(frozen=True)
class Order:
    """An outside order of a row's numbers: number k of the inside order is signs[k] times number index[k] of the outside order."""

    spec: Spec
    index: tuple[int, ...]
    signs: tuple[int, ...]


def order_of(mirror: Sequence[int], numbers: int = 1, negated: Sequence[int] = ()) -> Order:
    """Return the order of joint after joint, each of `numbers` numbers; T maps joint i to joint mirror[i] and negates the numbers
    `negated`.

    The joints of a skeleton with x, y and z have numbers=3 and negated=(0,). Logits are joints of one number, none negated: T exchanges the
    logits of classes that are each other's mirror image. The first joint of a pair counts as the left one. Raises WrongMirror.
    """
    if sorted(mirror) != list(range(len(mirror))) or any(mirror[there] != i for i, there in enumerate(mirror)):
        raise WrongMirror(f"expected a permutation that is its own inverse, got {list(mirror)}")
    if len(set(negated)) != len(negated) or not set(negated) <= set(range(numbers)):
        raise WrongMirror(f"expected distinct negated numbers from 0 to {numbers - 1}, got {list(negated)}")
    left = [i for i, there in enumerate(mirror) if i < there]
    centre = [i for i, there in enumerate(mirror) if i == there]
    kept = [number for number in range(numbers) if number not in negated]
    blocks = [
        [numbers * joint + number for joint in joints for number in which]
        for joints in (left, [mirror[i] for i in left], centre)
        for which in (negated, kept)
    ]
    spec = Spec(len(blocks[0]), len(blocks[1]), len(blocks[4]), len(blocks[5]))
    return Order(spec, tuple(place for block in blocks for place in block), _signs(spec))


def paper_order(spec: Spec) -> Order:
    """Return the order of the paper's x = (l_n, l_p, r_n, r_p, c_n, c_p), in which r is not mirrored."""
    return Order(spec, tuple(range(spec.width)), _signs(spec))


def _signs(spec: Spec) -> tuple[int, ...]:
    return (1,) * spec.pairs + (-1,) * spec.ln + (1,) * (spec.lp + spec.centre)


class SignedPermutation(nn.Module):
    """The map y_k = signs[k] x[index[k]] on the last axis."""

    index: Tensor
    signs: Tensor

    def __init__(self, index: Sequence[int], signs: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(index), persistent=False)
        self.register_buffer("signs", torch.tensor(signs, dtype=torch.float32), persistent=False)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x.index_select(-1, self.index) * self.signs


def enter(order: Order) -> SignedPermutation:
    """Return the map from rows in an outside order to the inside order."""
    return SignedPermutation(order.index, order.signs)


def leave(order: Order) -> SignedPermutation:
    """Return the map from rows in the inside order to an outside order, the inverse of `enter`."""
    ours = _inverse(order.index)
    return SignedPermutation(ours, [order.signs[k] for k in ours])


def mirrored(order: Order) -> SignedPermutation:
    """Return T on rows in an outside order."""
    spec, ours = order.spec, _inverse(order.index)
    there = [*range(spec.pairs, 2 * spec.pairs), *range(spec.pairs), *range(2 * spec.pairs, spec.width)]
    turns = [1] * (2 * spec.pairs) + [-1] * spec.cn + [1] * spec.cp
    signs = [order.signs[k] * turns[k] * order.signs[there[k]] for k in ours]
    return SignedPermutation([order.index[there[k]] for k in ours], signs)


def _inverse(index: Sequence[int]) -> list[int]:
    return sorted(range(len(index)), key=index.__getitem__)


def reordered(
    weight: Float[Tensor, "width_out width_in *kernel"], order: Order, out: Order
) -> Float[Tensor, "width_out width_in *kernel"]:
    """Return the matrix, for rows in the inside order, of a map given for the outside orders `order` and `out`."""
    rows = torch.tensor(out.signs).to(weight).reshape(-1, 1, *(1 for _ in weight.shape[2:]))
    columns = torch.tensor(order.signs).to(weight).reshape(1, -1, *(1 for _ in weight.shape[2:]))
    return weight[list(out.index)][:, list(order.index)] * rows * columns


def transform(x: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> Float[Tensor, "..."]:
    """Apply T to rows in the inside order along `dim`."""
    l, r, cn, cp = x.split(spec.sizes, dim)
    return torch.cat([r, l, -cn, cp], dim)


def even_odd(x: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return the even part (l + r, c_p) and the odd part (l - r, c_n) of rows in the inside order."""
    l, r, cn, cp = parted(x, spec.sizes, dim)
    return joined([l + r, cp], dim), joined([l - r, cn], dim)


def sides(even: Float[Tensor, "..."], odd: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> list[Tensor]:
    """Return l, r, c_n and c_p from an even and an odd part: `even_odd` inverted, but for a factor 2 in l and r."""
    e, cp = parted(even, [spec.pairs, spec.cp], dim)
    o, cn = parted(odd, [spec.pairs, spec.cn], dim)
    return [e + o, e - o, cn, cp]


def joined(parts: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Concatenate the parts that are not empty, so that an exported graph has no nodes for empty ones."""
    there = [part for part in parts if part.shape[dim]] or list(parts[:1])
    return there[0] if len(there) == 1 else torch.cat(there, dim)


def parted(x: Tensor, sizes: Sequence[int], dim: int = -1) -> list[Tensor]:
    """Split a tensor into parts of these sizes, the inverse of `joined`; empty parts leave no nodes in an exported graph either."""
    there = [size for size in sizes if size]
    parts = iter([x] if len(there) == 1 else x.split(there, dim))
    empty = x.narrow(dim, 0, 0)
    return [next(parts) if size else empty for size in sizes]


def basis(spec: Spec) -> Float[Tensor, "width width"]:
    """Return the orthonormal float64 matrix Q with Q T = diag(1, -1) Q: first the rows of the even part, then those of the odd part."""
    one = torch.eye(spec.width, dtype=torch.float64)
    even, odd = even_odd(one, spec, 0)
    even[: spec.pairs] *= HALF
    odd[: spec.pairs] *= HALF
    return torch.cat([even, odd])


class FlipAveraged(nn.Module):
    """(F(x) + T F(T x)) / 2 for any network F on rows in outside orders: exactly chiral too, at twice the cost.

    Both passes run as one batch.
    """

    def __init__(self, network: nn.Module, order: Order, out: Order) -> None:
        super().__init__()
        self.network, self.mirror, self.mirror_back = network, mirrored(order), mirrored(out)

    def forward(self, x: Float[Tensor, "batch *others width"]) -> Float[Tensor, "batch *rest width_out"]:
        straight, flipped = self.network(torch.cat([x, self.mirror(x)])).unflatten(0, (2, -1))
        return (straight + self.mirror_back(flipped)) / 2
