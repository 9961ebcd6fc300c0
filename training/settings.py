"""Runs with settings from outside, for the command line and for jobs."""

from pathlib import Path
from typing import Any

from training.engine.run import Run
from training.engine.settings import Settings, with_base, with_learning_rate, with_network
from training.tasks.faces.settings import with_scans
from training.tasks.hands.settings import refuse_without_windows, with_architecture, with_data, with_epochs


def with_settings(run: Run[Any, Any], settings: Settings, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run with settings; its fingerprint, and so its folder, depend on them.

    Without a data folder, no recordings of one's own are looked for. Raises WrongSetting, and with epochs, or for recordings or scans of
    one's own, what reading the data raises.
    """
    changed = with_data(run, settings, data_folder)
    changed = with_scans(changed, settings, data_folder)
    changed = with_architecture(changed, settings.architecture)
    changed = with_network(changed, settings.network)
    changed = with_base(changed, settings.base)
    changed = with_learning_rate(
        changed, settings.learning_rate
    )  # after the base, which lowers a rate that is not given
    refuse_without_windows(changed, data_folder)
    if settings.epochs and changed.optimisation.epochs:
        return changed.with_options(0, epochs=settings.epochs)
    return with_epochs(changed, settings.epochs, data_folder) if settings.epochs else changed
