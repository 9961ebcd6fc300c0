"""The settings of runs of hand forecasters: their window, their sources, the actions they see, and epochs as steps."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.contract.task import HandForecast
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting
from training.tasks.hands.data import HandData
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import PRESETS, Window


def window_of(preset: str) -> Window:
    """Return the window of a preset, or of any text such as "60+60@60": past and future frames, and frames a second.

    Raises WrongSetting.
    """
    if preset in PRESETS:
        return PRESETS[preset]
    parts = re.fullmatch(r"(\d{1,4})\+(\d{1,4})@(\d{1,3}(?:\.\d{1,3})?)", preset)
    past, future, fps = (int(parts[1]), int(parts[2]), float(parts[3])) if parts else (0, 0, 0.0)
    if not (2 <= past <= 1000 and 1 <= future <= 1000 and 0 < fps <= 1000):
        raise WrongSetting(
            f"expected a window of 2 to 1000 past frames, 1 to 1000 future frames and a rate, such as 60+60@60, got {preset!r}"
        )
    return Window(past, future, fps)


def with_data(run: Run[Any, Any], settings: Settings, data_folder: Path) -> Run[Any, Any]:
    """Return a run of hands with the window, sources, actions and epochs of the settings.

    Weights of other sources than the run's own have those sources' licences. `data_folder` is read if there are epochs, whose steps are
    counted. Raises WrongSetting for a run without windows of hands, and what reading the data raises.
    """
    task, data = run.task, run.data
    if not (settings.preset or settings.sources or settings.actions or settings.epochs):
        return run
    if not isinstance(task, HandForecast) or not isinstance(data, HandData) or run.start:
        raise WrongSetting(
            f"{run.name} has no windows of hands, so it has neither a preset nor sources, actions or epochs"
        )
    if settings.preset:
        window = window_of(settings.preset)
        task = task.model_copy(update={"past": window.past, "future": window.future, "fps": window.fps})
        data = replace(data, window=window)
    licence = run.licence
    if settings.sources:
        if set(settings.sources) - set(data.sources):
            licence = licences_of(settings.sources)
        data = replace(data, sources=settings.sources)
    if settings.actions:
        data = replace(data, actions=settings.actions)
    run = replace(run, task=task, data=data, licence=licence)
    if settings.epochs:
        run = run.with_options(settings.epochs * data.load(data_folder).steps_an_epoch())
    return run


def licences_of(sources: tuple[str, ...]) -> str:
    """Return the licences of data sets as one text, for weights that are trained on them."""
    return "as its data: " + "; ".join(f"{name} {hand_source(name).licence or 'unknown'}" for name in sources)
