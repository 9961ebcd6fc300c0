"""training.engine.study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from training.engine.export import Facts
from training.engine.run import Run

Split = Literal["validation", "test"]


class Study(NamedTuple):
    """`show` measures on a split, writes JSON and pictures into a folder and gives tables; `facts` are the bundle's, measured on the test
    split, with a table."""

    show: Callable[[Run[Any, Any], nn.Module, Path, Path, Split], str]
    facts: Callable[[Run[Any, Any], nn.Module, Path], tuple[Facts, str]]
