"""What the chirality transform does to a row of numbers, and one order for them (Yeh, Hu and Schwing 2019, arXiv:1911.00029).

The transform T mirrors a pose and exchanges its sides: some numbers of each joint change sign, and left joints change places with right
ones. A network keeps it when f(T x) = T f(x). Between its ends every row is in one order, (l, r, c_n, c_p), whatever the joints were:
l are the left numbers, r the right ones *as the mirror shows them* (those that T negates are stored negated), c_n the central numbers
that T negates, c_p the others. There T exchanges l and r and negates c_n, nothing else, so that on l, r and c_p any function of a single
number commutes with it, and on c_n any odd one. `enter` and `leave` are the only places with an index in them.

The sum and the difference of the sides are even, T e = e, and odd, T o = -o; so are c_p and c_n. A linear map that commutes with T takes
even to even and odd to odd, which is half the products of a dense one.
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
    """A permutation that is not its own inverse, or negated numbers that a joint has not."""


@dataclass(frozen=True)
class Spec:
    """Numbers a row has: in each of the two sides `ln` that T negates and `lp` that it does not; in the centre `cn` and `cp`.

    Any counts will do: a hidden row need not be made of joints, though `of_joints` counts as if it were. Between l and r the distinction
    of n and p is gone once a row is in our order; it matters to `paper_exact` layers alone.
    """

    ln: int = 0
    lp: int = 0
    cn: int = 0
    cp: int = 0

    def __post_init__(self) -> None:
        if min(self.ln, self.lp, self.cn, self.cp) < 0:
            raise ValueError(f"a row has no fewer than 0 numbers of a kind, not {self}")

    @classmethod
    def of_joints(cls, pairs: int, centre: int, numbers: int, negated: int) -> Self:
        """`pairs` joints on each side and `centre` in the middle, each of `numbers` numbers of which `negated` are negated."""
        kept = numbers - negated
        return cls(pairs * negated, pairs * kept, centre * negated, centre * kept)

    @property
    def pairs(self) -> int:
        """Numbers of a side."""
        return self.ln + self.lp

    @property
    def centre(self) -> int:
        return self.cn + self.cp

    @property
    def width(self) -> int:
        return 2 * self.pairs + self.centre

    @property
    def even(self) -> int:
        """Dimension of the part that T leaves as it is."""
        return self.pairs + self.cp

    @property
    def odd(self) -> int:
        """Dimension of the part that T negates."""
        return self.pairs + self.cn

    @property
    def sizes(self) -> list[int]:
        """Of l, r, c_n and c_p."""
        return [self.pairs, self.pairs, self.cn, self.cp]

    @property
    def gates(self) -> "Spec":
        """A number to multiply each number of this with: T exchanges those of l and r and negates none."""
        return Spec(lp=self.pairs, cp=self.centre)


@dataclass(frozen=True)
class Order:
    """A foreign order of a spec's numbers: number k of ours is signs[k] times theirs at index[k]."""

    spec: Spec
    index: tuple[int, ...]
    signs: tuple[int, ...]


def order_of(mirror: Sequence[int], numbers: int = 1, negated: Sequence[int] = ()) -> Order:
    """Joint after joint, each of `numbers` numbers of which T negates those at `negated`; joint i becomes joint mirror[i].

    So are the joints of a Skeleton with x, y, z (numbers 3, negated 0). With one number, none negated, these are logits, and mirror[i] is
    the class that i becomes: one that becomes itself does not change, two that become each other exchange their logits. Which of two
    joints is called left is of no consequence; it is the one that comes first. Raises WrongMirror.
    """
    if sorted(mirror) != list(range(len(mirror))) or any(mirror[there] != i for i, there in enumerate(mirror)):
        raise WrongMirror(f"a mirror is a permutation that undoes itself, not {list(mirror)}")
    if len(set(negated)) != len(negated) or not set(negated) <= set(range(numbers)):
        raise WrongMirror(f"negated are some of a joint's numbers 0 to {numbers - 1}, each once, not {list(negated)}")
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
    """The paper's x = (l_n, l_p, r_n, r_p, c_n, c_p), in which r is not mirrored."""
    return Order(spec, tuple(range(spec.width)), _signs(spec))


def _signs(spec: Spec) -> tuple[int, ...]:
    return (1,) * spec.pairs + (-1,) * spec.ln + (1,) * (spec.lp + spec.centre)


class SignedPermutation(nn.Module):
    """y_k = signs[k] x[index[k]] on the last axis."""

    index: Tensor
    signs: Tensor

    def __init__(self, index: Sequence[int], signs: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(index), persistent=False)
        self.register_buffer("signs", torch.tensor(signs, dtype=torch.float32), persistent=False)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x.index_select(-1, self.index) * self.signs


def enter(order: Order) -> SignedPermutation:
    """Foreign rows in our order."""
    return SignedPermutation(order.index, order.signs)


def leave(order: Order) -> SignedPermutation:
    """Our rows in the foreign order: `enter` undone."""
    ours = _inverse(order.index)
    return SignedPermutation(ours, [order.signs[k] for k in ours])


def mirrored(order: Order) -> SignedPermutation:
    """T on foreign rows."""
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
    """The matrix of a map from rows in the foreign `order` to rows in the foreign `out`, for rows in our order."""
    rows = torch.tensor(out.signs).to(weight).reshape(-1, 1, *(1 for _ in weight.shape[2:]))
    columns = torch.tensor(order.signs).to(weight).reshape(1, -1, *(1 for _ in weight.shape[2:]))
    return weight[list(out.index)][:, list(order.index)] * rows * columns


def transform(x: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> Float[Tensor, "..."]:
    """T on rows in our order."""
    l, r, cn, cp = x.split(spec.sizes, dim)
    return torch.cat([r, l, -cn, cp], dim)


def even_odd(x: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """(l + r, c_p) and (l - r, c_n): what T leaves and what it negates."""
    l, r, cn, cp = parted(x, spec.sizes, dim)
    return joined([l + r, cp], dim), joined([l - r, cn], dim)


def sides(even: Float[Tensor, "..."], odd: Float[Tensor, "..."], spec: Spec, dim: int = -1) -> list[Tensor]:
    """l, r, c_n and c_p from the halves of the sums and differences: `even_odd` undone, up to a factor 2 in the pairs."""
    e, cp = parted(even, [spec.pairs, spec.cp], dim)
    o, cn = parted(odd, [spec.pairs, spec.cn], dim)
    return [e + o, e - o, cn, cp]


def joined(parts: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Side by side; what is empty is left out, so that a graph has no trace of it."""
    there = [part for part in parts if part.shape[dim]] or list(parts[:1])
    return there[0] if len(there) == 1 else torch.cat(there, dim)


def parted(x: Tensor, sizes: Sequence[int], dim: int = -1) -> list[Tensor]:
    """`joined` undone: one part a size, empty ones too, with which a graph is not troubled either."""
    there = [size for size in sizes if size]
    parts = iter([x] if len(there) == 1 else x.split(there, dim))
    empty = x.narrow(dim, 0, 0)
    return [next(parts) if size else empty for size in sizes]


def basis(spec: Spec) -> Float[Tensor, "width width"]:
    """The orthonormal Q, float64, with Q T = diag(1, -1) Q: rows are the even part, then the odd one."""
    one = torch.eye(spec.width, dtype=torch.float64)
    even, odd = even_odd(one, spec, 0)
    even[: spec.pairs] *= HALF
    odd[: spec.pairs] *= HALF
    return torch.cat([even, odd])


class FlipAveraged(nn.Module):
    """(F(x) + T F(T x)) / 2 of any network F on foreign rows: exactly chiral as well, at twice the cost. Both passes are one batch."""

    def __init__(self, network: nn.Module, order: Order, out: Order) -> None:
        super().__init__()
        self.network, self.mirror, self.mirror_back = network, mirrored(order), mirrored(out)

    def forward(self, x: Float[Tensor, "batch *others width"]) -> Float[Tensor, "batch *rest width_out"]:
        straight, flipped = self.network(torch.cat([x, self.mirror(x)])).unflatten(0, (2, -1))
        return (straight + self.mirror_back(flipped)) / 2
