"""One tensor of a task: its shape, its unit, and what becomes of it when the world is turned, moved or mirrored."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from models.contract.symmetry import Mirror, Moves


class WrongShape(ValueError):
    """Tensors that are not what the task takes; the message says what was wanted and what came."""


class TensorSpec(BaseModel):
    """One tensor: an integer fixes an axis, a name leaves it free; `moves` is what becomes of it when the world is turned or moved."""

    model_config = ConfigDict(frozen=True)

    shape: tuple[int | str, ...]
    unit: str
    moves: Moves | Mirror = "points"
    dtype: Literal["float32", "float64", "int64"] = "float32"

    def describe(self) -> str:
        return "(" + ", ".join(str(axis) for axis in self.shape) + ")"
