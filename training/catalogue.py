"""The runs there are: those of training/tasks/*/runs, and those that extensions register."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from models.contract.extensions import add_file, registered
from training.engine.run import Run
from training.engine.settings import Settings


class UnknownRun(KeyError):
    """A name that no run has; the message lists the names there are."""

    def __str__(self) -> str:
        return str(self.args[0])


class AmbiguousRun(ValueError):
    """Two different runs of one name."""


def all_runs() -> dict[str, Run[Any, Any]]:
    """Return every run by name: those of training/tasks/*/runs first, then those of entry points and listed files.

    A module holds one run, called RUN, or several, called RUNS. Raises AmbiguousRun, and what loading an extension raises.
    """
    runs: dict[str, Run[Any, Any]] = {}
    for run in [*_own_runs(), *registered("runs")]:
        if runs.setdefault(run.name, run) != run:
            raise AmbiguousRun(f"two runs have the name {run.name!r}; rename one of them")
    return runs


def get_run(name: str) -> Run[Any, Any]:
    """Return the run of a name. Raises UnknownRun."""
    return _named(name, all_runs())


def find_run(reference: str) -> Run[Any, Any]:
    """Return the run of a name, a file `my_run.py` with one run, or `my_run.py:name`; load the file and list it as an extension.

    The run of a file with several, of which each begins with the one before, is the last of them. Only for a reference that comes from the
    operator: a file is code that runs. Raises UnknownRun, BadExtension.
    """
    file, _, name = reference.partition(":")
    if not file.endswith(".py"):
        return get_run(reference)
    module = add_file(Path(file))
    runs = {run.name: run for run in getattr(module, "RUNS", None) or (getattr(module, "RUN", None),) if run}
    stages = {stage.name: stage for run in runs.values() for stage in run.stages}
    if not runs:
        raise UnknownRun(f"expected a RUN or RUNS in {file}, got neither")
    if name:
        return _named(name, stages)
    last = list(runs.values())[-1]
    if not set(runs) <= {stage.name for stage in last.stages}:
        raise UnknownRun(f"{file} has the runs {', '.join(runs)}; name one: {file}:{last.name}")
    return last


def reference_of(stage: Run[Any, Any], reference: str) -> str:
    """Return the reference to a stage of the run that `reference` names."""
    file, _, _ = reference.partition(":")
    return f"{file}:{stage.name}" if file.endswith(".py") else stage.name


def command_of(
    run: Run[Any, Any],
    reference: str,
    seed: int,
    changes: Mapping[str, Any] | None = None,
    settings: Settings = Settings(),  # noqa: B008 - a frozen value
    *,
    export: bool = False,
) -> str:
    """Return the command that trains every stage of a run with a seed, and exports it with `export`.

    Every stage states its steps, or its epochs if the data decide its steps. `changes` are the other fields of `Optimisation` that
    `Run.with_options` changed, and `settings` those that `with_settings` changed.
    """
    options = "".join(
        f" --{name.replace('_', '-')} {value}" for name, value in (changes or {}).items() if value is not None
    )
    commands = []
    for number, stage in enumerate(run.stages, 1):
        counts = [before.optimisation.steps for before in run.stages[:number]]
        length = f"steps {','.join(map(str, counts))}" if all(counts) else f"epochs {stage.optimisation.epochs}"
        commands.append(f"run {reference_of(stage, reference)} --seed {seed} --{length}{options}{settings.arguments()}")
    if export:
        commands.append(commands[-1].replace("run ", "export ", 1))
    return " && ".join(f"python -m training {command}" for command in commands)


def _named(name: str, runs: dict[str, Run[Any, Any]]) -> Run[Any, Any]:
    if name not in runs:
        raise UnknownRun(f"no run {name!r}; there are {', '.join(sorted(runs))}")
    return runs[name]


def _own_runs() -> list[Run[Any, Any]]:
    runs: list[Run[Any, Any]] = []
    tasks = import_module("training.tasks")  # by name: tasks are above the catalogue
    for module in walk_packages(tasks.__path__, "training.tasks."):
        if ".runs." in module.name:
            values = import_module(module.name)
            runs += getattr(values, "RUNS", None) or (values.RUN,)
    return runs
