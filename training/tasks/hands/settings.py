"""The settings of runs of hand forecasters: their window, sources, actions, network and model, and epochs as steps."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.contract.preset import BadPreset, parse_preset
from models.contract.task import HandForecast
from models.skeletons.own import OwnSkeleton
from training.catalogue import all_runs
from training.data.declaration import FILE
from training.data.splits import SPLITS
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting
from training.tasks.hands.data import Augmentation, HandData, NoWindows
from training.tasks.hands.likelihood import travelled_share
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.models import MODELS
from training.tasks.hands.own.sets import OwnSet, own_sets
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import PRESETS, Window


def window_of(preset: str) -> Window:
    """Return the window of a preset, or of any text such as "60+60@60": past and future frames, and frames a second.

    Raises WrongSetting.
    """
    if preset in PRESETS:
        return PRESETS[preset]
    try:
        return Window(*parse_preset(preset))
    except BadPreset as error:
        raise WrongSetting(str(error)) from None


def with_data(run: Run[Any, Any], settings: Settings, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run of hands with the window, sources and actions of the settings.

    A source may be a set of one's own in the data folder; a run without sources takes all that are there, and with a base it is the run
    that trained the base. Weights of other sources than the run's own have those sources' licences. Raises WrongSetting for a run without
    windows of hands, and MalformedData for a set that cannot be read.
    """
    given = settings.preset or settings.sources or settings.actions or settings.epochs
    if not isinstance(run.data, HandData) or not isinstance(run.task, HandForecast) or run.start:
        if given:
            raise WrongSetting(
                f"{run.name} has no windows of hands, so it has neither a preset nor sources, actions or epochs"
            )
        return run
    known = {} if data_folder is None else own_sets(data_folder / "hands")
    sources = settings.sources or run.data.sources or tuple(known)
    if not sources:
        raise WrongSetting(
            f"{run.name} trains on recordings of your own: expected {FILE} beside them in the data folder, got none; give --data FOLDER "
            "or, to a job, `dataset`"
        )
    if not run.data.sources and settings.base and (trained := all_runs().get(settings.base.name)):
        run = _like(run, trained)
    task, data = run.task, run.data
    if settings.preset:
        window = window_of(settings.preset)
        task = task.model_copy(update={"past": window.past, "future": window.future, "fps": window.fps})
        least = data.least and (min(data.least[0], window.past), min(data.least[1], window.future))
        data = replace(data, window=window, least=least)
    own = tuple(known[name] for name in sources if name in known)
    task = task.on(_skeleton_of(sources, own))
    licence = run.licence
    if set(sources) - set(data.sources):
        licence = licences_of(sources, own)
    data = replace(data, sources=sources, own=own, actions=settings.actions or data.actions)
    if own and not run.data.sources:
        title = f"Hand forecaster of {', '.join(sources)}: {_seconds(task.past, task.fps)} to the next {_seconds(task.future, task.fps)}"
        run = replace(run, title=title, model=f"hands-{re.sub(r'[^a-z0-9]+', '-', sources[0].lower()).strip('-')}"[:64])
    return replace(run, task=task, data=data, licence=licence)


def _skeleton_of(sources: tuple[str, ...], own: tuple[OwnSet, ...]) -> OwnSkeleton | None:
    """Return the skeleton that all sources share, None for hands. Raises WrongSetting for sources that share none."""
    skeletons = dict.fromkeys(sources) | {one.name: one.skeleton for one in own}
    if len(set(skeletons.values())) > 1:
        orders = ", ".join(f"{name} {one.name if one else 'hands'}" for name, one in skeletons.items())
        raise WrongSetting(f"expected sources of one skeleton, got {orders}; choose some with --sources")
    return next(iter(skeletons.values()))


def _like(run: Run[Any, Any], trained: Run[Any, Any]) -> Run[Any, Any]:
    """Return a run without sources with the task, network, data and loss of another, for as many steps as its own."""
    own, data = run.optimisation, replace(trained.data, sources=())
    lengths = {one: getattr(own, one) for one in ("steps", "epochs", "validate_every", "checkpoint_every", "precision")}
    optimisation = replace(trained.optimisation, **lengths)
    return replace(trained, name=run.name, title=run.title, licence=run.licence, data=data, optimisation=optimisation)


def _seconds(frames: int, fps: float) -> str:
    return f"{frames / fps:.3g} s"


def with_architecture(run: Run[Any, Any], name: str | None) -> Run[Any, Any]:
    """Return a run of hands with a network of the comparison, which forecasts one future from complete pasts.

    Raises WrongSetting for an unknown network, and for a run without windows of hands.
    """
    if name is None:
        return run
    if not isinstance(run.data, HandData) or run.start:
        raise WrongSetting(f"{run.name} has no windows of hands, so its network cannot be another")
    found = {plain(one): model for one, model in MODELS.items()}.get(plain(name))
    if found is None:
        raise WrongSetting(f"expected a network, one of {', '.join(MODELS)}, got {name[:64]!r}")
    if run.task.skeleton and not found.any_skeleton:
        others = ", ".join(one for one, model in MODELS.items() if model.any_skeleton)
        raise WrongSetting(
            f"expected a network of any joints for the skeleton {run.task.order}, one of {others}, got {name[:64]!r}, which is for hands"
        )
    task = run.task.model_copy(update={"modes": 1, "masked": False, "spread": False})
    how = replace(run.data.augmentation, faults=Augmentation().faults)
    data = replace(run.data, masked=False, least=None, augmentation=how)
    return replace(run, task=task, data=data, network=found.network(), loss=mean_distance_mm, score=travelled_share)


def plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def refuse_without_windows(run: Run[Any, Any], data_folder: Path | None) -> None:
    """Raise NoWindows if recordings of one's own give no window in one of the splits, before a step is taken."""
    if data_folder is None or not isinstance(run.data, HandData) or not run.data.own:
        return
    batches = run.data.load(data_folder)
    for split in SPLITS:
        sets = [batches.windows(split, hands, phases="first") for hands in (1, 2)]
        if any(map(len, sets)):
            continue
        recordings, short, slow = (len(x) for x in (sets[0].recordings, sets[0].short, sets[0].slow))
        raise NoWindows(
            f"expected {split} windows of {run.data.window.name}, got none from {recordings} recordings: {short} are too short, {slow} too "
            "slow, and the others have gaps too close together; choose another --preset, such as 10+10@30"
        )


def with_epochs(run: Run[Any, Any], epochs: int, data_folder: Path | None) -> Run[Any, Any]:
    """Return a run of hands with the steps of so many passes over its windows, which are counted. Raises what reading the data raises."""
    return run.with_options(epochs * run.data.load(data_folder or Path()).steps_an_epoch())


def licences_of(sources: tuple[str, ...], own: tuple[OwnSet, ...] = ()) -> str:
    """Return the licences of data sets as one text, for weights that are trained on them."""
    licences = {name: hand_source(name).licence for name in sources} | {one.name: one.licence for one in own}
    if len(licences) == len(own) == 1:
        return own[0].licence or "unknown"
    return "as its data: " + "; ".join(f"{name} {licence or 'unknown'}" for name, licence in licences.items())
