"""The cells of a sweep: one run, trained with every cell of a grid; those that have a report are not trained again."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn
from tqdm import tqdm

from models.contract.bundle import Measurement
from models.contract.grid import OF_TRAINING, BadGrid, cells
from training.engine.checkpoints import BEST, load_best, validation_of
from training.engine.folders import folder_of
from training.engine.loop import NotANumber, Training, train
from training.engine.run import Run
from training.engine.settings import Settings
from training.engine.sweep import Cell, Sweep, Value, parameters_of, settings_text
from training.engine.watch import Watch

Configure = Callable[[Run[Any, Any], Settings, Path], Run[Any, Any]]
Compare = Callable[[Run[Any, Any], nn.Module, Path], tuple[Measurement, ...]]
REPORT = "cell.json"  # in the folder of a run and seed, beside its weights


@dataclass(frozen=True)
class Planned:
    """A cell that is to be trained: its fields of the grid, the run and the seed, and the settings that make the run."""

    fields: dict[str, Value]
    run: Run[Any, Any]
    seed: int
    settings: Settings


def plan(
    run: Run[Any, Any],
    grid: Mapping[str, Sequence[str]],
    settings: Settings,
    seed: int,
    data: Path,
    configure: Configure,
) -> list[Planned]:
    """Return the cells of a grid of texts; `configure` returns a run with settings.

    Raises BadGrid, WrongSetting with the fields there are, and what reading the data raises.
    """
    planned = []
    for cell in cells(grid):
        network = {name: text for name, text in cell.items() if name not in OF_TRAINING}
        if twice := [name for name in network if name in settings.network]:
            raise BadGrid(f"expected {twice[0]} in the grid or in --set, got both")
        own = replace(settings, network={**settings.network, **network})
        if "learning_rate" in cell:
            own = replace(own, learning_rate=_parsed("learning_rate", cell["learning_rate"], float))
        if "epochs" in cell:
            own = replace(own, epochs=_parsed("epochs", cell["epochs"], int))
        changed = run.with_options(_parsed("steps", cell["steps"], int)) if "steps" in cell else run
        cell_seed = _parsed("seed", cell["seed"], int, 0) if "seed" in cell else seed
        fields = {name: typed(text) for name, text in cell.items()}
        planned.append(Planned(fields, configure(changed, own, data), cell_seed, own))
    return planned


def sweep(
    planned: Sequence[Planned], data: Path, out: Path, compare: Compare, device: Literal["auto", "cpu", "cuda"] = "auto"
) -> Sweep:
    """Train the cells that have no report yet, measure them with `compare`, and return all.

    A cell whose loss becomes NaN is reported as failed.
    """
    done: list[Cell] = []
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(total=float(len(planned)), desc=f"{len(planned)} cells", bar_format=form, mininterval=1) as bar:
        for number, one in enumerate(planned):
            bar.set_postfix_str(settings_text(one.fields), refresh=False)
            bar.update(number - bar.n)
            done.append(_cell(one, data, out, compare, device, bar, number))
        bar.update(len(planned) - bar.n)
    return Sweep(run=planned[0].run.name, cells=tuple(done))


def _cell(
    one: Planned,
    data: Path,
    out: Path,
    compare: Compare,
    device: Literal["auto", "cpu", "cuda"],
    bar: Any,
    number: int,
) -> Cell:
    """Return the report of a cell; train and measure it first if it has none."""
    path = folder_of(out, one.run, one.seed) / REPORT
    if path.is_file():
        return Cell.model_validate_json(path.read_bytes()).model_copy(update={"settings": one.fields})
    begun, stages = time.monotonic(), one.run.stages

    def moved(stage: int, event: dict[str, Any]) -> None:
        bar.update(number + (stage + event["step"] / event["steps"]) / len(stages) - bar.n)

    try:
        for at, stage in enumerate(stages):
            train(
                Training(stage, one.seed, data, out, device),
                Watch(progress=lambda event, at=at: moved(at, event), bar=False),
            )
    except NotANumber as error:
        return Cell(settings=one.fields, state="failed", error=str(error), seconds=time.monotonic() - begun)
    best = path.parent / BEST
    network = load_best(one.run, best)
    validation = validation_of(best)
    cell = Cell(
        settings=one.fields,
        score=validation["score"],
        loss=validation["loss"],
        step=int(validation["step"]),
        parameters=parameters_of(network),
        measurements=compare(one.run, network, data),
        seconds=round(time.monotonic() - begun, 1),
    )
    partial = path.with_suffix(".part")
    partial.write_text(cell.model_dump_json() + "\n")
    os.replace(partial, path)  # an interrupted write leaves no report behind
    return cell


def typed(text: str) -> Value:
    """Return a text as the number or truth value that it writes, else as it is."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parsed(name: str, text: str, kind: type[Any], least: int = 1) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or (kind is int and not least <= value < 2**32):
        wanted = f"a whole number of at least {least}" if kind is int else "a number"
        raise BadGrid(f"{name}: expected {wanted}, got {text!r}")
    return value
