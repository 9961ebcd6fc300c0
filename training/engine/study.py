"""Studies: the measurements of a trained network for the terminal and for its bundle; each kind of task has one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from models.contract.bundle import Bundle, Measurement
from training.engine.export import Facts
from training.engine.run import Run

MeasuredSplit = Literal["validation", "test"]  # the training split is never measured


class Study(NamedTuple):
    """The measurements of a trained network.

    `show(run, network, data_folder, folder, split)` measures a split, writes reports and pictures into `folder` and returns a table.
    `facts(run, network, data_folder)` measures the test split and returns what the bundle states, with a table. Tables are Markdown.
    `compared(run, network, data_folder)`, where a task has it, measures the validation split beside the best floor, for a sweep.
    `remeasured(run, bundle, data_folder)`, where a task has it, measures a bundle as it ships, without the network, for its card.
    `recalibrated(run, network, data_folder)`, where a task has it, fits again what the network says of its own errors, and nothing else.
    """

    show: Callable[[Run[Any, Any], nn.Module, Path, Path, MeasuredSplit], str]
    facts: Callable[[Run[Any, Any], nn.Module, Path], tuple[Facts, str]]
    remeasured: Callable[[Run[Any, Any], Bundle, Path], tuple[tuple[Measurement, ...], str]] | None = None
    compared: Callable[[Run[Any, Any], nn.Module, Path], tuple[Measurement, ...]] | None = None
    recalibrated: Callable[[Run[Any, Any], nn.Module, Path], None] | None = None
