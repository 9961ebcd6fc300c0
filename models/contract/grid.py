"""Grids of settings: the cells of a sweep, which trains one run with every combination of some values."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import TypeVar

MAX_CELLS = 32  # trainings of one sweep; more than that is a search, and a grid is a poor one
MAX_FIELDS = 8
OF_TRAINING = ("epochs", "learning_rate", "seed", "steps")  # fields of any grid; the others are the network's

Value = TypeVar("Value", bool, int, float, str, bool | int | float | str)


class BadGrid(ValueError):
    """A grid without cells, with too many, with a value twice, or with values of several types."""


def cells(grid: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Return every combination of the values of a grid by field, in order; the last field changes fastest.

    Raises BadGrid for a grid without fields, a field without values, a value that a field has twice or values of several types, steps
    beside epochs, and more than MAX_CELLS combinations or MAX_FIELDS fields.
    """
    if not 1 <= len(grid) <= MAX_FIELDS:
        raise BadGrid(f"expected a grid of 1 to {MAX_FIELDS} fields, such as layers, got {len(grid)}")
    count = 1
    for field, values in grid.items():
        if not values:
            raise BadGrid(f"expected values of {field}, got none")
        got = ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
        if len(set(map(_key, values))) < len(values):
            raise BadGrid(f"expected each value of {field} once, got {got}")
        if len({_kind(value) for value in values} - {None}) > 1:
            raise BadGrid(f"expected numbers, words, or true and false as values of {field}, got a mixture: {got}")
        count *= len(values)
    if "steps" in grid and "epochs" in grid:
        raise BadGrid("expected steps or epochs in a grid, got both")
    if count > MAX_CELLS:
        sizes = " x ".join(str(len(values)) for values in grid.values())
        raise BadGrid(f"expected at most {MAX_CELLS} combinations, got {sizes} = {count}")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _key(value: bool | int | float | str) -> Hashable:
    """Return what equal values have in common, however they are written: 2, 2.0 and the text of a command "2"."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    for number in (int, float):
        with suppress(ValueError):
            return number(value)
    return value.lower()


def _kind(value: bool | int | float | str) -> type | None:
    """Return the type of a value; None for the word none, which a field of numbers may also have."""
    if isinstance(value, str):
        return None if value.lower() == "none" else str
    return bool if isinstance(value, bool) else float
