"""The settings of runs of face landmarkers on scans of one's own: their set, its licence, and the run that trained a base."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.contract.task import FaceLandmarks
from training.catalogue import all_runs
from training.data.declaration import FACES, FILE, kind_of
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting
from training.tasks.faces.own.check import check_own
from training.tasks.faces.own.data import OwnFaceData
from training.tasks.faces.own.sets import read_set


def with_scans(run: Run[Any, Any], settings: Settings, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run on scans of one's own with the set of the data folder; another run as it is.

    With a base it has the task, network, loss and rate of the run that trained the base. Every scan is read first. Raises WrongSetting
    without a set, and MalformedData for one that is wrong.
    """
    if not isinstance(run.data, OwnFaceData):
        return run
    if data_folder is None or kind_of(data_folder) != FACES:
        raise WrongSetting(
            f'{run.name} trains on scans of your own: expected {FILE} with "kind": "{FACES}" beside them in the data folder, got none; '
            "give --data FOLDER or, to a job, `dataset`"
        )
    own = read_set(data_folder)
    _refuse_faults(data_folder, own.sha256)
    if settings.base and (trained := all_runs().get(settings.base.name)) and isinstance(trained.task, FaceLandmarks):
        lengths = {name: getattr(run.optimisation, name) for name in ("steps", "validate_every", "precision")}
        optimisation = replace(trained.optimisation, **lengths)
        run = replace(run, task=trained.task, network=trained.network, loss=trained.loss, optimisation=optimisation)
    data = replace(run.data, task=run.task, own=own)
    model = run.model or f"face-{re.sub(r'[^a-z0-9]+', '-', own.name).strip('-')}"[:64]
    title = f"Face landmarks, trained on the scans of {own.name}"
    return replace(run, title=title, model=model, data=data, licence=own.licence or "unknown")


@lru_cache(maxsize=1)  # a sweep asks for each of its cells
def _refuse_faults(folder: Path, _sha256: str) -> None:
    """Read every scan of a set. Raises MalformedData."""
    for _ in check_own(folder):
        pass
