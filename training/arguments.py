"""Command-line arguments: the options that choose a run, and parsers of numbers, settings, lists of names and grids."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from models.contract.grid import BadGrid


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Add the run, its seed and its settings to a command."""
    command.add_argument("run", help="the name of a run, my_run.py (a file with a RUN or RUNS), or my_run.py:name")
    command.add_argument(
        "--data", type=Path, default=argparse.SUPPRESS, help="the data folder, or recordings with a dataset.json"
    )
    command.add_argument("--seed", type=counter(0), default=0)
    command.add_argument(
        "--steps", type=steps, help="optimiser steps of every stage, or one number for each: 14000,3000"
    )
    command.add_argument("--epochs", type=counter(1), help="passes over the training windows, instead of --steps")
    command.add_argument(
        "--set",
        dest="network",
        type=setting,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the network: layers=3",
    )
    command.add_argument("--preset", help="the window of a hand forecaster, such as 60+60@60")
    command.add_argument("--sources", type=names, default=(), help="data sets of hands, instead of the run's own")
    command.add_argument("--actions", type=names, default=(), help="only recordings whose label has one of these")
    command.add_argument("--architecture", help="another network, by its name in the comparison: EqMotion")
    command.add_argument("--name", help="the name of the model that is exported")
    command.add_argument("--from", dest="base", type=Path, help="a bundle whose weights the training begins with")
    command.add_argument("--validate-every", type=counter(1), help="steps from one validation to the next")
    command.add_argument("--learning-rate", type=float, help="of every stage, instead of its own")
    command.add_argument("--precision", choices=("32-true", "bf16-mixed"))
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


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
