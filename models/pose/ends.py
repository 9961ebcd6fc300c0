"""Where a network on bodies begins and ends: joints as rows, in the order of the chiral layers, and back.

A plain twin is the same network for which nothing has a mirror image: all its numbers are even, its layers dense. It is what the chiral
network is measured against, also averaged over the flip, which makes it exactly chiral too, at twice the cost.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.symmetry import Mirror
from models.layers.chiral import Pointwise
from models.layers.chiral_spec import Order, Spec, enter, leave, order_of
from models.skeletons.body import get_body_order

Activation = Literal["relu", "tanh"]
RELU = 2**0.5  # the gain that keeps variances through a ReLU
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


def joints_as(order: str, numbers: int, *, negated: Sequence[int] = (0,), chiral: bool = True) -> Order:
    """The joints of a body, each of some numbers of which T negates those `negated`; of a plain network all are even."""
    mirror = get_body_order(order).mirror
    return order_of(mirror, numbers, negated) if chiral else order_of(range(len(mirror)), numbers)


def twin(spec: Spec, *, chiral: bool) -> Spec:
    """The spec, or of a plain network as many numbers that are all even."""
    return spec if chiral else Spec(cp=spec.width)


def pairs(width: int) -> Spec:
    """Pairs alone, an even number in all: half the weights of a dense layer exactly, and any nonlinearity is legal."""
    return Spec(lp=width // 2)


def activation(kind: Activation, spec: Spec) -> nn.Module:
    """A nonlinearity on rows; c_n, on which only odd ones are legal, always has tanh."""
    return Pointwise(spec, FUNCTIONS[kind])


class Enter(nn.Module):
    """(batch, ..., joints, numbers) to rows (batch, ..., width)."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.enter = enter(order)

    def forward(self, x: Float[Tensor, "*batch joints numbers"]) -> Float[Tensor, "*batch width"]:
        return self.enter(x.flatten(-2))


class Leave(nn.Module):
    """Rows to (batch, ..., joints, numbers): `Enter` undone."""

    def __init__(self, order: Order, numbers: int) -> None:
        super().__init__()
        self.leave, self.numbers = leave(order), numbers

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch joints numbers"]:
        return self.leave(x).unflatten(-1, (-1, self.numbers))


class AveragedOverFlip(nn.Module):
    """(F(x) + T F(T x)) / 2 of a network F with one input and one output: what flip averaging at test time makes of any network."""

    symmetries = ("chirality",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.task: Any = network.task
        self.network = network
        (given,), (found,) = self.task.inputs.values(), self.task.outputs.values()
        self.mirror, self.mirror_back = Flip(given.moves), Flip(found.moves)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        straight, flipped = self.network(torch.cat([x, self.mirror(x)])).unflatten(0, (2, -1))
        return (straight + self.mirror_back(flipped)) / 2


class Flip(nn.Module):
    """`Mirror.of` on tensors."""

    index: Tensor

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self.negated = mirror.negated
        self.register_buffer("index", torch.tensor(mirror.mirror), persistent=False)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.negated:
            return x.index_select(-1, self.index)
        image = x.index_select(-2, self.index)
        return torch.cat([-image[..., :1], image[..., 1:]], -1)
