"""Extensions: runs, data sources and scan formats that people add to Chiron from packages and files of their own.

An installed package registers values by entry point, in its pyproject.toml:

    [project.entry-points."chiron.runs"]
    mine = "my_package.my_runs:RUN"

A file is listed in the environment variable CHIRON_EXTENSIONS, which separates paths like PATH does, and holds values under the names of
ATTRIBUTES. `python -m training run my_run.py` lists my_run.py there itself. An extension is code and runs with the rights of the process,
so only the operator names one: no name or path from a request reaches this module.
"""

import importlib
import os
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

VARIABLE = "CHIRON_EXTENSIONS"
Kind = Literal["runs", "sources", "scan_formats"]
ATTRIBUTES: dict[Kind, tuple[str, str]] = {  # of one value, of a sequence of values
    "runs": ("RUN", "RUNS"),
    "sources": ("SOURCE", "SOURCES"),
    "scan_formats": ("SCAN_FORMAT", "SCAN_FORMATS"),
}


class BadExtension(ValueError):
    """An extension file that cannot be loaded."""


def registered(kind: Kind) -> list[Any]:
    """Return the values of a kind: those of the entry points `chiron.<kind>` first, then those of the listed files.

    Raises BadExtension for a file that cannot be loaded, and whatever the import of a package raises.
    """
    return [*_installed(kind), *(value for path in listed() for value in _values(load_file(path), kind))]


@cache
def _installed(kind: Kind) -> tuple[Any, ...]:
    """Load the values of installed packages, once per process: a look through all packages takes milliseconds."""
    return tuple(value for point in entry_points(group=f"chiron.{kind}") for value in _values(point.load(), kind))


def listed() -> tuple[Path, ...]:
    """Return the files that CHIRON_EXTENSIONS lists."""
    return tuple(Path(path) for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path)


def add_file(path: Path) -> ModuleType:
    """Load a file and list it in CHIRON_EXTENSIONS, for this process and those that it starts. Raises BadExtension."""
    module = load_file(path)
    if path.resolve() not in listed():
        os.environ[VARIABLE] = os.pathsep.join(map(str, (*listed(), path.resolve())))
    return module


def load_file(path: Path) -> ModuleType:
    """Import a Python file under its own name, with its folder on the path, as if it had been run; once per process.

    Values of the file can therefore be pickled, and it can import the files beside it. Raises BadExtension.
    """
    path = path.resolve()
    if path.suffix != ".py" or not path.is_file():
        raise BadExtension(f"expected a Python file, got {path}, which does not exist or is not one")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:  # whatever the file does when it is imported
        raise BadExtension(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if Path(module.__file__ or "").resolve() != path:
        raise BadExtension(
            f"{path} cannot be imported as {path.stem!r}, the name of {module.__file__}; rename the file"
        )
    return module


def _values(content: Any, kind: Kind) -> list[Any]:
    """Return the values in a module, a sequence or a single value."""
    if isinstance(content, ModuleType):
        one, several = ATTRIBUTES[kind]
        content = getattr(content, several, None) or getattr(content, one, ())
    return list(content) if isinstance(content, list | tuple) else [content]
