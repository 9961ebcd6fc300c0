"""Checkpoints of a training: the last state, and the averaged weights of the best validation."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.engine.folders import folder_of
from training.engine.run import Run

LAST, BEST = "last.ckpt", "best.ckpt"


def mark(step: int) -> str:
    """Return the name of the file that keeps the averaged weights of a step of `Optimisation.marks`."""
    return f"step-{step}.ckpt"


class NotThisRun(ValueError):
    """A checkpoint of another configuration than the run's."""


class NotTrained(ValueError):
    """A run that has no checkpoint of a best validation yet."""


def refuse_other(path: Path, content: dict[str, Any], run: Run[Any, Any], seed: int | None = None) -> None:
    """Raise NotThisRun for a checkpoint of another fingerprint than the run's, of either scheme, or of another seed."""
    if content["run"] not in (run.fingerprint, run.legacy_fingerprint) or seed not in (None, content["seed"]):
        expected = f"run {run.fingerprint}" + ("" if seed is None else f", seed {seed}")
        raise NotThisRun(f"{path}: expected {expected}, got run {content['run']}, seed {content['seed']}")


def load_best(run: Run[Any, Any], checkpoint: Path) -> nn.Module:
    """Return the network with the averaged weights of the best validation, ready to measure or export.

    Raises NotTrained without a checkpoint, NotThisRun for that of another run.
    """
    if not checkpoint.is_file():
        raise NotTrained(f"{run.name} is not trained yet: there is no {checkpoint}; train it first")
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    refuse_other(checkpoint, content, run)
    network = run.build()
    network.load_state_dict(content["average"])
    return network.eval()


def validation_of(checkpoint: Path) -> dict[str, float]:
    """Return step, loss and score of the validation at which a checkpoint was written."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name: content[name] for name in ("step", "loss", "score")}


def beginning(start: Run[Any, Any], seed: int, out: Path) -> dict[str, torch.Tensor]:
    """Return the best weights of the run that another begins with, from its folder under `out`. Raises NotTrained."""
    return load_best(start, folder_of(out, start, seed) / BEST).state_dict()
