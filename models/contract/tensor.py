"""One tensor of a task: its shape, its unit, its type, and how it moves under a symmetry."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.contract.symmetry import Mirror, Moves, OnBodies, OnMap, Tensors


class WrongShape(ValueError):
    """Tensors that do not fit their task; the message gives the expected and the actual names, shapes or types."""


class TensorSpec(BaseModel):
    """The specification of one tensor: an integer fixes an axis, a name leaves it free; `moves` says how a symmetry acts on it."""

    model_config = ConfigDict(frozen=True)

    shape: tuple[int | str, ...]
    unit: str
    moves: Moves | Mirror | OnMap | OnBodies = "points"
    dtype: Literal["float32", "float64", "int64"] = "float32"

    @property
    def counts_nodes(self) -> bool:
        """Return whether the tensor has a number for each node, such as whether it was seen, and no positions."""
        return self.moves == "nodes" or (isinstance(self.moves, OnBodies) and self.moves.form == "numbers")

    def describe(self) -> str:
        """Return the shape as text: "(batch, 10, nodes, 3)"."""
        return "(" + ", ".join(str(axis) for axis in self.shape) + ")"


def check_tensors(
    specs: Mapping[str, TensorSpec], axes: Mapping[str, Sequence[int]], tensors: Tensors, what: str
) -> None:
    """Raise WrongShape unless `tensors` have the names, shapes and types of `specs`.

    A named axis has one size throughout and, if it is listed in `axes`, one of the sizes there. `what` begins the message, as in "the input
    of hands-eqmotion".
    """
    if set(tensors) != set(specs):
        raise WrongShape(f"{what}: expected tensors {sorted(specs)}, got {sorted(tensors)}")
    sizes: dict[str, int] = {}
    for name, spec in specs.items():
        if fault := _fault(spec, tensors[name], axes, sizes):
            raise WrongShape(f"{what}: expected {name} of shape {spec.describe()}{fault}")


def _fault(
    spec: TensorSpec, tensor: np.ndarray, axes: Mapping[str, Sequence[int]], sizes: dict[str, int]
) -> str | None:
    """Return the end of a message about a tensor that does not fit; add the sizes of its named axes to `sizes`."""
    if tensor.dtype != spec.dtype:
        return f" in {spec.dtype}, got {tensor.dtype}"
    if tensor.ndim != len(spec.shape):
        return f", got {tensor.shape}"
    for axis, size in zip(spec.shape, tensor.shape, strict=True):
        if isinstance(axis, int):
            if size != axis:
                return f", got {tensor.shape}"
        elif size != sizes.setdefault(axis, size):
            return f" with one size of {axis} throughout, got {sizes[axis]} and {size}"
        elif axis in axes and size not in axes[axis]:
            return f" with {_legal(axes[axis])} {axis}, got {size}"
    return None


def _legal(sizes: Sequence[int]) -> str:
    return f"{sizes[0]} to {sizes[-1]}" if isinstance(sizes, range) else " or ".join(map(str, sizes))
