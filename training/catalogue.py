"""training.catalogue."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import training.runs
from training.engine.run import Run


class UnknownRun(KeyError):
    """No run of that name; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


def all_runs() -> dict[str, Run[Any, Any]]:
    """Every run of training/runs, by name: each module there has one, called RUN, or several, called RUNS."""
    found: dict[str, Run[Any, Any]] = {}
    for module in iter_modules(training.runs.__path__):
        values = import_module(f"training.runs.{module.name}")
        for run in getattr(values, "RUNS", None) or (values.RUN,):
            found[run.name] = run
    return found


def get_run(name: str) -> Run[Any, Any]:
    """The run of that name. Raises UnknownRun."""
    runs = all_runs()
    if name not in runs:
        raise UnknownRun(f"no run {name!r}; there are {', '.join(sorted(runs))}")
    return runs[name]
