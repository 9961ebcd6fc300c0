"""The run of a training job: its name, its settings, and the bundle that it begins with."""

from pathlib import Path
from typing import Any

from models.contract.spec import TrainSpec
from service.jobs.worker.attempt import Attempt
from service.registry.catalogue import Catalogue
from service.registry.versions import UnknownVersion


def configured(spec: TrainSpec, data: Path | None = None, base: Path | None = None) -> Any:
    """Return the run of a spec with the spec's settings and step counts.

    Epochs are counted and recordings of one's own are looked for in `data`; `base` has the bundle that the training begins with. Raises
    UnknownRun, WrongSetting, MalformedData.
    """
    from training.catalogue import get_run
    from training.engine.run import Base
    from training.settings import with_settings

    run = get_run(spec.run).with_options(spec.steps, checkpoint_every=spec.checkpoint_every, **changes_of(spec))
    return with_settings(run, settings_of(spec, base and Base.of(base)), data)


def base_of(attempt: Attempt, spec: TrainSpec) -> Path | None:
    """Return the folder of the bundle that a training begins with: the version that is served, or the named one."""
    if spec.base is None:
        return None
    name, _, version = spec.base.partition("@")
    catalogue = Catalogue(attempt.settings)
    folder = (
        catalogue.folder(name, version) if version else catalogue.folder_to_serve(name, name in catalogue.choices())
    )
    if folder is None:
        raise UnknownVersion(f"no model {name!r} to begin with; there are {', '.join(catalogue.names()) or 'none'}")
    return folder


def settings_of(spec: TrainSpec, base: Any = None) -> Any:
    """Return the settings of a spec, with the bundle that the training begins with."""
    from training.engine.settings import Settings

    settings = (spec.network, spec.preset, spec.sources, spec.actions, spec.epochs, spec.architecture, spec.name)
    return Settings(*settings, base=base, learning_rate=spec.learning_rate)


def changes_of(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields of a run's optimisation that the spec changes, beside its steps, and that decide the weights."""
    precision = None if spec.precision == "32-true" else spec.precision
    return {"validate_every": spec.validate_every, "precision": precision}
