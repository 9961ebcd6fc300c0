"""The command line of training: list, run, evaluate, export, benchmark."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from models.contract.bundle import read_bundle
from training.catalogue import all_runs, command_of, find_run, reference_of
from training.engine.benchmark import Choice
from training.engine.checkpoints import BEST, LAST, NotTrained, load_best
from training.engine.curves import learning_curves
from training.engine.devices import device_of, on_device
from training.engine.export import export
from training.engine.loop import NotANumber, Training, train
from training.engine.ranks import RankLost
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting
from training.engine.watch import UNWATCHED
from training.settings import with_settings
from training.studies import BENCHMARKS, STUDIES

EXPECTED = (
    ValueError,
    LookupError,
    OSError,
    NotANumber,
    RankLost,
)  # errors that a user can mend; any other is a fault of ours


def main(argv: list[str] | None = None) -> None:
    """Run one command. Print an expected error as one line and exit with status 2."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        arguments.command(arguments)
    except EXPECTED as error:
        print(f"python -m training: {_line(error)}", file=sys.stderr)
        raise SystemExit(2) from error


def _line(error: Exception) -> str:
    """Return an error's message in one line."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    kind = "" if isinstance(error, OSError) or type(error).__module__ != "builtins" else f"{type(error).__name__}: "
    return kind + " ".join(message.split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train, measure and export Chiron's models."
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")), help="the data folder"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the folder of checkpoints and reports")
    parser.add_argument("--threads", type=_counter(1), default=1, help="CPU threads; 1 is fastest for these networks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="print the runs there are").set_defaults(command=_list)

    run = commands.add_parser("run", help="train a run, or continue its training")
    run.set_defaults(command=_run)
    run.add_argument("--devices", type=_counter(1), default=1, help="processes, one for each device (DDP)")

    evaluate = commands.add_parser("evaluate", help="measure a trained run, with pictures")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("--split", choices=("validation", "test"), default="test")

    export = commands.add_parser("export", help="write the bundle of a trained run")
    export.set_defaults(command=_export)
    export.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")
    export.add_argument("--torchscript", action="store_true", help="add a TorchScript twin of the ONNX graph")
    export.add_argument("--replace", action="store_true", help="replace the bundle that is there")

    for command in (run, evaluate, export):
        command.add_argument("run", help="the name of a run, my_run.py (a file with a RUN or RUNS), or my_run.py:name")
        command.add_argument("--seed", type=_counter(0), default=0)
        command.add_argument(
            "--steps", type=_steps, help="optimiser steps of every stage, or one number for each: 14000,3000"
        )
        command.add_argument("--epochs", type=_counter(1), help="passes over the training windows, instead of --steps")
        command.add_argument(
            "--set",
            dest="network",
            type=_setting,
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="a field of the network: layers=3",
        )
        command.add_argument("--preset", help="the window of a hand forecaster, such as 60+60@60")
        command.add_argument("--sources", type=_names, default=(), help="data sets of hands, instead of the run's own")
        command.add_argument("--actions", type=_names, default=(), help="only recordings whose label has one of these")
        command.add_argument("--validate-every", type=_counter(1), help="steps from one validation to the next")
        command.add_argument("--precision", choices=("32-true", "bf16-mixed"))
        command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")

    benchmark = commands.add_parser("benchmark", help="print a table; train the runs that it lacks")
    benchmark.set_defaults(command=_benchmark)
    benchmark.add_argument("benchmark", choices=sorted(BENCHMARKS))
    benchmark.add_argument(
        "--tables", type=_names, default=(), help="of hands: comparison (the default), actions, sizes, readout, sources"
    )
    benchmark.add_argument(
        "--models", type=_names, default=(), help="train only these; the table has all that are trained"
    )
    benchmark.add_argument("--preset", help="the window, such as 30+30@30")
    benchmark.add_argument("--seeds", type=_counter(1), help="trainings of each model")
    benchmark.add_argument("--epochs", type=_counter(1))
    benchmark.add_argument("--results", type=Path, help="a folder for the tables as JSON, Markdown and plots")
    benchmark.add_argument("--no-train", dest="train", action="store_false", help="show what is trained already")
    return parser


def _counter(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` on."""

    def count(text: str) -> int:
        if not text.isdigit() or int(text) < least or int(text) >= 2**32:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return count


def _steps(text: str) -> tuple[int, ...]:
    return tuple(map(_counter(1), text.split(",")))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, got {text!r}")
    return name.strip(), value.strip()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _list(_: argparse.Namespace) -> None:
    for name, run in sorted(all_runs().items()):
        print(f"{name:28} {run.title}")


def _training(arguments: argparse.Namespace) -> Training:
    """Return the training that the arguments name."""
    if arguments.epochs and arguments.steps:
        raise WrongSetting("expected --steps or --epochs, got both")
    run = find_run(arguments.run).with_options(arguments.steps, **_changes(arguments))
    run = with_settings(run, _settings(arguments), arguments.data)
    devices = getattr(arguments, "devices", 1)
    return Training(run, arguments.seed, arguments.data, arguments.out, arguments.device, devices)


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        dict(arguments.network), arguments.preset, arguments.sources, arguments.actions, epochs=arguments.epochs
    )


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"validate_every": arguments.validate_every, "precision": arguments.precision}


def _run(arguments: argparse.Namespace) -> None:
    training = _training(arguments)
    device_of(training.accelerator)
    run, folder = training.run, training.folder
    if run.start and not (folder / LAST).is_file():
        _refuse_untrained(arguments, training, run.start)
    print(f"{run.name}, seed {training.seed}, into {folder}")
    best = train(training)
    learning_curves({f"seed {training.seed}": folder}, run.name, folder / "learning-curves.png")
    print(f"best weights: {best}")


def _refuse_untrained(arguments: argparse.Namespace, training: Training, stage: Run[Any, Any]) -> None:
    """Raise NotTrained, with the command that trains it, if a stage has no best weights."""
    folder = Training(stage, training.seed, training.data, training.out).folder
    if not (folder / BEST).is_file():
        reference = reference_of(stage, arguments.run)
        command = command_of(stage, reference, training.seed, _changes(arguments), _settings(arguments))
        raise NotTrained(f"{stage.name}, seed {training.seed}, is not trained yet; run first: {command}")


def _trained(arguments: argparse.Namespace) -> tuple[Training, nn.Module]:
    """Return the training that the arguments name and its network. Raises NotTrained."""
    training = _training(arguments)
    _refuse_untrained(arguments, training, training.run)
    return training, load_best(training.run, training.folder / BEST)


def _evaluate(arguments: argparse.Namespace) -> None:
    device = device_of(arguments.device)
    training, network = _trained(arguments)
    run, folder = training.run, training.folder
    with on_device(network, device):
        print(STUDIES[run.task.kind].show(run, network, training.data, folder, arguments.split))
    print(f"\nreports and pictures in {folder}")


def _export(arguments: argparse.Namespace) -> None:
    device = device_of(arguments.device)
    training, network = _trained(arguments)
    run = training.run
    target = arguments.bundle or Path("bundles") / run.name
    if target.exists():
        if not arguments.replace:
            raise FileExistsError(
                f"{target} exists; --replace replaces the bundle there, --bundle FOLDER writes another"
            )
        read_bundle(target)  # --replace replaces a bundle, never another folder
    with on_device(network, device):
        facts, table = STUDIES[run.task.kind].facts(run, network, training.data)
    bundle = export(
        network,
        target,
        facts,
        name=run.name,
        title=run.title,
        licence=run.licence,
        command=command_of(run, arguments.run, training.seed, _changes(arguments), _settings(arguments), export=True),
        torchscript=arguments.torchscript,
        replace=arguments.replace,
    )
    print(table)
    print(f"{bundle.meta.name} {bundle.meta.version} in {bundle.folder}")


def _benchmark(arguments: argparse.Namespace) -> None:
    choice = Choice(**{field.name: getattr(arguments, field.name) for field in fields(Choice)})
    print(BENCHMARKS[arguments.benchmark](arguments.data, arguments.out, UNWATCHED, choice))


if __name__ == "__main__":
    main()
