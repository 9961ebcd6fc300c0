"""Parsers of command-line arguments: whole numbers, settings, lists of names, and the fields of a grid."""

import argparse
from collections.abc import Callable, Sequence

from models.contract.grid import BadGrid


def counter(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` on."""

    def count(text: str) -> int:
        if not text.isdigit() or int(text) < least or int(text) >= 2**32:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return count


def steps(text: str) -> tuple[int, ...]:
    """Return step counts: of every stage, or one for each."""
    return tuple(map(counter(1), text.split(",")))


def setting(text: str) -> tuple[str, str]:
    """Return a field and its value."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {text!r}")
    return name.strip(), value.strip()


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list, without empty ones."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def values(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a field of a grid and its values."""
    name, equals, listed = text.partition("=")
    if not (name.strip() and equals and names(listed)):
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE,VALUE, got {text!r}")
    return name.strip(), names(listed)


def grid_of(fields: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Return the values of a grid by field. Raises BadGrid for a field that is given twice."""
    if len(dict(fields)) < len(fields):
        raise BadGrid(f"expected each field of the grid once, got {', '.join(name for name, _ in fields)}")
    return dict(fields)
