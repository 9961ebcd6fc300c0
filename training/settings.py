"""Runs with settings from outside, for the command line and for jobs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.catalogue import all_runs
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting, with_base, with_learning_rate, with_network
from training.tasks.bodies.settings import is_of_own_bodies, refuse_without_samples, with_own_bodies
from training.tasks.faces.settings import with_scans
from training.tasks.hands.settings import refuse_without_windows, with_architecture, with_data, with_epochs


def with_settings(run: Run[Any, Any], settings: Settings, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run with settings; its fingerprint, and so its folder, depend on them.

    Without a data folder, no recordings of one's own are looked for. Raises WrongSetting, and with epochs, or for recordings or scans of
    one's own, what reading the data raises.
    """
    changed = (with_own_bodies if is_of_own_bodies(run) else with_data)(run, settings, data_folder)
    changed = with_scans(changed, settings, data_folder)
    changed = with_model(changed, settings.model)
    changed = with_architecture(changed, settings.architecture)
    changed = with_network(changed, settings.network)
    changed = with_base(changed, settings.base)
    changed = with_learning_rate(
        changed, settings.learning_rate
    )  # after the base, which lowers a rate that is not given
    refuse_without_windows(changed, data_folder)
    refuse_without_samples(changed, data_folder)
    if settings.epochs and changed.optimisation.epochs:
        return changed.with_options(0, epochs=settings.epochs)
    return with_epochs(changed, settings.epochs, data_folder) if settings.epochs else changed


def with_model(run: Run[Any, Any], model: str | None) -> Run[Any, Any]:
    """Return a run whose bundle has a name. Raises WrongSetting for a name that is none, or that another run has."""
    if model is None:
        return run
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", model) or len(model) > 64:
        raise WrongSetting(
            f"expected a name of at most 64 lower-case letters, digits and single hyphens, got {model[:80]!r}"
        )
    if model != run.name and model in all_runs():
        raise WrongSetting(f"{model!r} is the name of a run that comes with the package; choose another")
    return replace(run, model=model)
