"""The ends of networks on bodies: joints to rows in the order of the chiral layers, and back.

The plain twin of a network has no mirror pairs: all its features are even and its layers dense. Chiral networks are compared with their
plain twins, and with those averaged over the flip, which are exactly chiral too, at twice the cost.
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
from models.skeletons.body_orders import get_body_order

Activation = Literal["relu", "tanh"]
RELU = 2**0.5  # the gain that preserves variances through a ReLU
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


def joints_as(order: str, numbers: int, *, negated: Sequence[int] = (0,), chiral: bool = True) -> Order:
    """Return the order of a body's joints, each of `numbers` numbers, `negated` ones negated by T; a plain network has only even ones."""
    mirror = get_body_order(order).mirror
    return order_of(mirror, numbers, negated) if chiral else order_of(range(len(mirror)), numbers)


def twin(spec: Spec, *, chiral: bool) -> Spec:
    """Return the spec, or for a plain network an even one of the same width."""
    return spec if chiral else Spec(cp=spec.width)


def pairs(width: int) -> Spec:
    """Return a spec of pairs only: exactly half the weights of a dense layer, and any nonlinearity is legal. `width` must be even."""
    return Spec(lp=width // 2)


def activation(kind: Activation, spec: Spec) -> nn.Module:
    """Return a nonlinearity on rows; c_n always has tanh, because only odd functions are legal there."""
    return Pointwise(spec, FUNCTIONS[kind])


class Enter(nn.Module):
    """The map from joints (batch, ..., joints, numbers) to rows (batch, ..., width)."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.enter = enter(order)

    def forward(self, x: Float[Tensor, "*batch joints numbers"]) -> Float[Tensor, "*batch width"]:
        return self.enter(x.flatten(-2))


class Leave(nn.Module):
    """The map from rows (batch, ..., width) to joints (batch, ..., joints, numbers), the inverse of `Enter`."""

    def __init__(self, order: Order, numbers: int) -> None:
        super().__init__()
        self.leave, self.numbers = leave(order), numbers

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch joints numbers"]:
        return self.leave(x).unflatten(-1, (-1, self.numbers))


class AveragedOverFlip(nn.Module):
    """(F(x) + T F(T x)) / 2 for a network F with one input and one output: test-time averaging over the flip."""

    symmetries = ("chirality",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.task: Any = network.task
        self.network = network
        (source,), (answer,) = self.task.inputs.values(), self.task.outputs.values()
        self.mirror, self.mirror_back = Flip(source.moves), Flip(answer.moves)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        straight, flipped = self.network(torch.cat([x, self.mirror(x)])).unflatten(0, (2, -1))
        return (straight + self.mirror_back(flipped)) / 2


class Flip(nn.Module):
    """`Mirror.of` for tensors."""

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
