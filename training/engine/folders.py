"""training.engine.folders."""

from pathlib import Path
from typing import Any

from training.engine.run import Run


def folder_of(root: Path, run: Run[Any, Any], seed: int) -> Path:
    """Where a run of this seed keeps what it makes, under `root`: another configuration has another folder."""
    return root / run.name / f"{run.fingerprint}-seed{seed}"
