"""Networks frozen for export: matrices that are computed once, and normalisation that is folded into the map before it."""

import copy
from abc import ABC, abstractmethod
from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Assembled(nn.Module, ABC):
    """A linear map whose few trained weights determine one large matrix. Each call computes the matrix anew, unless the map is frozen."""

    constant: Tensor | None  # the matrix of a frozen map

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("constant", None, persistent=False)

    def matrix(self) -> Float[Tensor, "width_in width_out"]:
        """Return the matrix to multiply with."""
        return self.assemble() if self.constant is None else self.constant

    @abstractmethod
    def assemble(self) -> Float[Tensor, "width_in width_out"]:
        """Compute the matrix from the weights."""


@runtime_checkable
class Foldable(Protocol):
    """A module that can compute its answer in evaluation with fewer operations, such as a linear map followed by normalisation."""

    def fold(self) -> None:
        """Change to the form with fewer operations, which can no longer be trained."""
        ...


def frozen(network: M) -> M:
    """Return a copy of a network for export, in evaluation mode.

    It is folded where possible, every assembled matrix is a constant, and it cannot be trained.
    """
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if isinstance(module, Foldable):
            module.fold()
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Assembled):
            module.constant = module.assemble()
    return network
