"""Settings of a run that are given by name: fields of its network, its window, its sources, its actions and its epochs.

A command and a job give the same settings, so that either repeats the other. They come from outside and are checked here.
"""

import shlex
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from models.skeletons.faults import fault_text
from training.engine.run import Base, Network, Run

Setting = str | int | float | bool
MOST_PARAMETERS = 50_000_000  # a network of a setting with a mistyped size must not fill the memory
FINE_TUNING = 0.3  # of the learning rate: the weights of a bundle are near a minimum
MOST_RATE = 1.0  # of learning
WITHOUT_BASE = "train without --from (`base`)"  # the option of a command, and the field of a job
MOST = 4096  # of a number in a setting, for the same reason


class WrongSetting(ValueError):
    """A setting that a run does not have, or a value that it does not admit."""


@dataclass(frozen=True)
class Settings:
    """The settings that differ from a run's own; None or nothing keeps the run's.

    `network` has fields of the network's configuration. `preset` is a window, such as "60+60@60". `sources` are data sets. `actions` are
    words of labels, of which a recording must have one. `epochs` replaces the number of steps. `architecture` is another network, by its
    name in the comparison of forecasters. `model` is the name of the bundle. `base` is the bundle whose weights the training begins with.
    `learning_rate` replaces that of every stage.
    """

    network: Mapping[str, Setting] = field(default_factory=dict)
    preset: str | None = None
    sources: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    epochs: int | None = None
    architecture: str | None = None
    model: str | None = None
    base: Base | None = None
    learning_rate: float | None = None

    def arguments(self) -> str:
        """Return the settings as arguments of `python -m training`, each after a space, without the epochs."""
        given = [f" --set {shlex.quote(f'{name}={_text(value)}')}" for name, value in sorted(self.network.items())]
        given += [f" --learning-rate {self.learning_rate!r}"] if self.learning_rate else []
        given += [f" --preset {shlex.quote(self.preset)}"] if self.preset else []
        given += [f" --sources {shlex.quote(','.join(self.sources))}"] if self.sources else []
        given += [f" --actions {shlex.quote(','.join(self.actions))}"] if self.actions else []
        given += [f" --architecture {shlex.quote(self.architecture)}"] if self.architecture else []
        given += [f" --name {shlex.quote(self.model)}"] if self.model else []
        given += [f" --from bundles/{shlex.quote(self.base.name)}"] if self.base else []
        return "".join(given)


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_network(run: Run[Any, Any], changes: Mapping[str, Setting]) -> Run[Any, Any]:
    """Return a run with other fields of its network's configuration. Text is parsed as the field's type: "3", "true", "joint", "none".

    Raises WrongSetting for a field that the network lacks, a value of another type, a number above MOST or below 0, none of what a field
    counts, a configuration that the network refuses, one of more than MOST_PARAMETERS weights, and for a run that begins with the weights
    of another.
    """
    if not changes:
        return run
    if run.start:
        raise WrongSetting(f"{run.name} begins with the weights of {run.start.name}, whose network cannot be changed")
    network = run.network
    if not is_dataclass(network) or isinstance(network, type):
        raise WrongSetting(f"the network of {run.name} has no fields that can be set")
    types = {name: hint for name, hint in get_type_hints(type(network)).items() if name in _settable(network)}
    least = {one.name: _least(one) for one in fields(network)}
    if unknown := [name for name in changes if name not in types]:
        raise WrongSetting(f"{type(network).__name__} has no field {unknown[0]!r}; it has {', '.join(sorted(types))}")
    values = {name: _parsed(name, value, types[name], least[name]) for name, value in changes.items()}
    try:
        changed = replace(network, **values)  # pyright: ignore[reportArgumentType] - checked field by field above
        count = _parameters(changed, run.task)
    except WrongSetting:
        raise
    except (ValueError, RuntimeError, AssertionError, ArithmeticError, IndexError) as error:
        raise WrongSetting(f"{type(network).__name__} refuses {changes}: {error}") from error
    if count > MOST_PARAMETERS:
        raise WrongSetting(f"expected at most {MOST_PARAMETERS:,} weights, got {count:,} with {changes}")
    return replace(run, network=changed)


def with_base(run: Run[Any, Any], base: Base | None) -> Run[Any, Any]:
    """Return a run that begins with the weights of a bundle, at FINE_TUNING of its learning rate.

    Raises WrongSetting for a bundle of another task or network, and for a run that begins with the weights of another.
    """
    if base is None:
        return run
    if run.start:
        raise WrongSetting(
            f"{run.name} begins with the weights of {run.start.name}; it cannot begin with a bundle's too"
        )
    meta = base.bundle.meta
    theirs, ours = (getattr(task, "layout", None) for task in (meta.task, run.task))
    if theirs and ours and theirs != ours:
        which = (theirs.name, ours.name) if theirs.name != ours.name else (f"another {theirs.name}", ours.name)
        raise WrongSetting(
            f"{meta.name} {meta.version} has weights for the joints of {which[0]}, got recordings of {which[1]}; {WITHOUT_BASE}"
        )
    if meta.task != run.task:
        differing = [
            name for name in type(run.task).model_fields if getattr(meta.task, name, None) != getattr(run.task, name)
        ]
        theirs, ours = (
            ", ".join(f"{name} {getattr(task, name, 'none')}" for name in differing) for task in (meta.task, run.task)
        )
        raise WrongSetting(
            f"expected the task of {meta.name} {meta.version} ({theirs}), got {ours}; "
            f"leave --preset out or {WITHOUT_BASE}"
        )
    kind, count = _kind(run.network, run.task), _parameters(run.network, run.task)
    if (kind, count) != (meta.network, meta.parameters):
        raise WrongSetting(
            f"expected the network of {meta.name} {meta.version}, {meta.network} with {meta.parameters:,} weights, got {kind} with "
            f"{count:,}; leave --set (`network`) and --architecture out or {WITHOUT_BASE}"
        )
    slower = replace(run.optimisation, learning_rate=FINE_TUNING * run.optimisation.learning_rate)
    licence = run.licence if meta.licence == run.licence else f"{run.licence}; begun with {meta.name}, {meta.licence}"
    return replace(run, base=base, optimisation=slower, licence=licence)


def with_learning_rate(run: Run[Any, Any], rate: float | None) -> Run[Any, Any]:
    """Return a run whose every stage has another learning rate. Raises WrongSetting for one that is not in (0, MOST_RATE]."""
    if rate is None:
        return run
    if not 0 < rate <= MOST_RATE:
        raise WrongSetting(f"learning_rate: expected a number above 0 and at most {MOST_RATE:g}, got {rate:g}")
    return run.with_options(learning_rate=rate)


def fields_of(run: Run[Any, Any]) -> list[str]:
    """Return the names of the fields of a run's network that can be set; none for a run that begins with the weights of another."""
    network = run.network
    if run.start or not is_dataclass(network) or isinstance(network, type):
        return []
    return sorted(_settable(network))


def _kind(network: Network[Any], task: Any) -> str:
    with torch.device("meta"):
        return type(network.build(task)).__name__


def _settable(network: Any) -> list[str]:
    """Return the fields whose values are numbers or words."""
    return [one.name for one in fields(network) if isinstance(getattr(network, one.name), Setting | None)]


def _least(one: Field[Any]) -> int:
    """Return the smallest number that a field of a network may have: 1 if it counts, 0 if it may be without.

    A field whose default is at least 1 counts, unless its metadata say {"least": 0}.
    """
    counts = isinstance(one.default, int) and not isinstance(one.default, bool) and one.default >= 1
    return one.metadata.get("least", int(counts))


def _parsed(name: str, value: Setting, hint: Any, least: int) -> Any:
    """Return a value as the type of its field. Raises WrongSetting."""
    text = (
        None
        if isinstance(value, str) and value.lower() == "none" and type(None) in getattr(hint, "__args__", ())
        else value
    )
    try:
        if isinstance(text, str):
            parsed = TypeAdapter(hint).validate_python(text, strict=False)
        else:
            parsed = TypeAdapter(hint).validate_python(text, strict=True)
    except ValidationError as error:
        raise WrongSetting(f"{name}: {fault_text(error.errors()[0])}") from error
    if isinstance(parsed, int | float) and not abs(parsed) <= MOST:
        raise WrongSetting(f"{name}: expected a number of at most {MOST}, got {value!r}")
    if isinstance(parsed, int | float) and not isinstance(parsed, bool) and parsed < least:
        raise WrongSetting(f"{name}: expected a number of at least {least}, got {value!r}")
    return parsed


def _parameters(network: Network[Any], task: Any) -> int:
    """Return the number of weights of a network, which is built without memory for them."""
    with torch.device("meta"):
        return sum(weights.numel() for weights in network.build(task).parameters())
