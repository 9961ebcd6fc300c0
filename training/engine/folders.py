"""Folders of results: one for each run, fingerprint and seed, under one root."""

import logging
from pathlib import Path
from typing import Any

from training.engine.run import Run

HISTORY = "history.jsonl"  # the learning curve, in the folder of a run and seed
log = logging.getLogger("chiron.training")


def folder_of(root: Path, run: Run[Any, Any], seed: int) -> Path:
    """Return the folder of a run and seed under `root`; another configuration has another folder.

    A folder with a fingerprint of scheme 1 is returned, with a warning, if the run has none of today's.
    """
    folder, older = (root / run.name / f"{print_}-seed{seed}" for print_ in (run.fingerprint, run.legacy_fingerprint))
    if folder.exists() or not older.exists():
        return folder
    log.warning(
        "%s has a fingerprint of an older scheme, which covers neither score nor defaults nor modules; its results are used",
        older,
    )
    return older
