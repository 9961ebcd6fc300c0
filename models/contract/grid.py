"""Grids of settings: the cells of a sweep, which trains one run with every combination of some values."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TypeVar

MAX_CELLS = 32  # trainings of one sweep; more than that is a search, and a grid is a poor one
MAX_FIELDS = 8
OF_TRAINING = ("epochs", "learning_rate", "seed", "steps")  # fields of any grid; the others are the network's

Value = TypeVar("Value", bool, int, float, str, bool | int | float | str)


class BadGrid(ValueError):
    """A grid without cells, with too many, or with a value twice."""


def cells(grid: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Return every combination of the values of a grid by field, in order; the last field changes fastest.

    Raises BadGrid for a grid without fields, a field without values, a value that a field has twice, steps beside epochs, and more than
    MAX_CELLS combinations or MAX_FIELDS fields.
    """
    if not 1 <= len(grid) <= MAX_FIELDS:
        raise BadGrid(f"expected a grid of 1 to {MAX_FIELDS} fields, such as layers, got {len(grid)}")
    count = 1
    for field, values in grid.items():
        if not values:
            raise BadGrid(f"expected values of {field}, got none")
        if len({str(value).lower() for value in values}) < len(values):
            raise BadGrid(f"expected each value of {field} once, got {', '.join(map(str, values))}")
        count *= len(values)
    if "steps" in grid and "epochs" in grid:
        raise BadGrid("expected steps or epochs in a grid, got both")
    if count > MAX_CELLS:
        sizes = " x ".join(str(len(values)) for values in grid.values())
        raise BadGrid(f"expected at most {MAX_CELLS} combinations, got {sizes} = {count}")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
