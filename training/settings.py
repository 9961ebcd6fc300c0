"""Runs with settings from outside, for the command line and for jobs."""

from pathlib import Path
from typing import Any

from training.engine.run import Run
from training.engine.settings import Settings, with_network
from training.tasks.hands.settings import with_data


def with_settings(run: Run[Any, Any], settings: Settings, data_folder: Path) -> Run[Any, Any]:
    """Return a run with settings; its fingerprint, and so its folder, depend on them.

    Raises WrongSetting, and with epochs what reading the data raises.
    """
    changed = with_data(run, settings.of_the_run, data_folder)
    changed = with_network(changed, settings.network)
    return with_data(changed, settings, data_folder) if settings.epochs else changed
