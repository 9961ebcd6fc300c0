"""The settings of runs on body recordings of one's own: their sources, licence, title and model."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.data.declaration import FILE
from training.data.splits import SPLITS
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.credits import credit
from training.tasks.bodies.forecast_data import PoseForecastBatches, PoseForecastData
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.own.sets import OwnBodies, own_bodies


def is_of_own_bodies(run: Run[Any, Any]) -> bool:
    """Return whether a run trains on body recordings of one's own: it names no source."""
    return isinstance(run.data, LiftData | PoseForecastData) and not run.data.sources


def with_own_bodies(run: Run[Any, Any], settings: Settings, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run on the sets of one's own in the data folder, or on those of the settings, with their licences.

    Raises WrongSetting without a set, and MalformedData for one that cannot be read.
    """
    if settings.preset or settings.actions or settings.architecture:
        raise WrongSetting(
            f"{run.name} has no windows of hands, so it has neither a preset, actions nor an architecture"
        )
    known = {} if data_folder is None else own_bodies(data_folder / "body")
    sources = settings.sources or tuple(known)
    if not sources:
        raise WrongSetting(
            f'{run.name} trains on recordings of your own: expected {FILE} with "kind": "bodies" beside them in the data folder, got none; '
            "give --data FOLDER or, to a job, `dataset`"
        )
    own = tuple(known[name] for name in sources if name in known)
    what, kind = run.name.removesuffix("-own"), "Lifter" if isinstance(run.data, LiftData) else "Forecaster of 2D poses"
    return replace(
        run,
        data=replace(run.data, sources=sources, own=own),
        licence=_licences(sources, own),
        title=f"{kind} of {', '.join(sources)}",
        model=f"{what}-{re.sub(r'[^a-z0-9]+', '-', sources[0].lower()).strip('-')}"[:64],
    )


def refuse_without_samples(run: Run[Any, Any], data_folder: Path | None) -> None:
    """Raise UnknownBodies if recordings of one's own give no sample in one of the splits, before a step is taken."""
    if data_folder is None or not isinstance(run.data, LiftData | PoseForecastData) or not run.data.own:
        return
    batches = replace(run.data, sources=tuple(one.name for one in run.data.own)).load(
        data_folder
    )  # reads no other source
    for split in SPLITS:
        if isinstance(batches, PoseForecastBatches):
            least = f"{(run.task.past + run.task.future) / run.task.fps:g} s in a row with every joint"
            empty = [one.name for one in run.data.own if not len(batches.frames(split, one.name).rows)]
        else:
            least, empty = "a recording", [one.name for one in run.data.own if not batches.clips(split, one.name)]
        if empty:
            raise UnknownBodies(f"expected {least} in the split {split} of {empty[0]}, got none; record longer ones")


def _licences(sources: tuple[str, ...], own: tuple[OwnBodies, ...]) -> str:
    """Return the licences of data sets as one text, for weights that are trained on them."""
    licences = {name: credit(name).licence for name in sources} | {one.name: one.licence for one in own}
    if len(licences) == len(own) == 1:
        return own[0].licence or "unknown"
    return "as its data: " + "; ".join(f"{name} {licence or 'unknown'}" for name, licence in licences.items())
