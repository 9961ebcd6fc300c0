"""What is measured of a toy network: its mean error on made-up rows."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.contract.bundle import Measurement, TrainingSource
from training.engine.export import Facts
from training.engine.run import Run
from training.engine.study import MeasuredSplit, Study


def error(network: nn.Module, run: Run[Any, Any], data_folder: Path) -> tuple[float, dict[str, Any]]:
    """Return the mean absolute error and the rows it was measured on."""
    inputs, target = run.data.load(data_folder).training_batch(1, 0)
    with torch.no_grad():
        answer = network(torch.from_numpy(inputs["numbers"]))
    return float((answer - torch.from_numpy(target)).abs().mean()), inputs


def show(run: Run[Any, Any], network: nn.Module, data_folder: Path, folder: Path, split: MeasuredSplit) -> str:
    """Return the error as text."""
    return f"error {error(network, run, data_folder)[0]:.4f}"


def facts(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Facts, str]:
    """Return what the bundle states."""
    value, inputs = error(network, run, data_folder)
    measured = Measurement(
        metric="error", value=value, unit="", split="test", source="made up", windows=16, recordings=1
    )
    source = TrainingSource(name="made up", licence="CC0-1.0", attribution="nobody", recordings=1)
    return Facts({"numbers": inputs["numbers"][:2]}, (source,), (measured,)), f"error {value:.4f}"


STUDY = Study(show, facts)
