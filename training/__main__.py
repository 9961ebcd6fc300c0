"""The command line of training: list, check, run, evaluate, export, restore, redraw, recalibrate, benchmark, sweep, mlflow."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from models.contract.bundle import read_bundle
from models.skeletons.faults import faults_of
from training.arguments import add_run_options, counter, grid_of, names, values
from training.catalogue import all_runs, command_of, find_run, reference_of
from training.check import check
from training.engine.benchmark import Choice
from training.engine.cells import plan, sweep
from training.engine.checkpoints import BEST, LAST, NotTrained, load_best
from training.engine.curves import learning_curves
from training.engine.devices import device_of, on_device
from training.engine.export import export
from training.engine.loop import NotANumber, Training, train
from training.engine.ranks import RankLost
from training.engine.redraw import redraw, with_measurements
from training.engine.restore import restore, restored
from training.engine.run import Base, Run
from training.engine.settings import Settings, WrongSetting
from training.engine.tracking import EXPERIMENT, log, record_of
from training.engine.watch import UNWATCHED
from training.settings import with_settings
from training.studies import BENCHMARKS, STUDIES, compared
from training.tasks.hands.inventory import inventory
from training.tasks.hands.own.sets import own_sets
from training.tasks.hands.settings import window_of

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
        return "; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in faults_of(error.errors()))
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
    parser.add_argument("--threads", type=counter(1), default=1, help="CPU threads; 1 is fastest for these networks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="print the runs there are").set_defaults(command=_list)

    check = commands.add_parser("check", help="read every recording of a data set, and say what is wrong with it")
    check.set_defaults(command=_check)
    check.add_argument("folder", type=Path, help="recordings with a dataset.json, or a data folder")
    check.add_argument("--preset", default="30+30@30", help="the window to count, such as 60+60@60")

    run = commands.add_parser("run", help="train a run, or continue its training")
    run.set_defaults(command=_run)
    run.add_argument("--devices", type=counter(1), default=1, help="processes, one for each device (DDP)")

    evaluate = commands.add_parser("evaluate", help="measure a trained run, with pictures")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("--split", choices=("validation", "test"), default="test")

    export = commands.add_parser("export", help="write the bundle of a trained run")
    export.set_defaults(command=_export)
    export.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")
    export.add_argument("--torchscript", action="store_true", help="add a TorchScript twin of the ONNX graph")
    export.add_argument("--replace", action="store_true", help="replace the bundle that is there")

    restore = commands.add_parser("restore", help="make the weights of a bundle the best checkpoint of a run")
    restore.set_defaults(command=_restore)
    restore.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")

    redraw = commands.add_parser("redraw", help="write the graph of a bundle again, with the same weights and figures")
    redraw.set_defaults(command=_redraw)
    redraw.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")

    remeasure = commands.add_parser("remeasure", help="measure a bundle as it ships, and write its card again")
    remeasure.set_defaults(command=_remeasure)
    remeasure.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")

    recalibrate = commands.add_parser("recalibrate", help="fit a bundle's confidence again, and write its graph anew")
    recalibrate.set_defaults(command=_recalibrate)
    recalibrate.add_argument("--bundle", type=Path, help="the bundle's folder (default: bundles/<name>)")

    several = commands.add_parser("sweep", help="train a run with every combination of some settings, and compare")
    several.set_defaults(command=_sweep)
    several.add_argument(
        "--grid",
        type=values,
        action="append",
        required=True,
        metavar="FIELD=VALUE,VALUE",
        help="values of a field of the network, or of learning_rate, steps, epochs or seed; several fields are combined",
    )
    several.add_argument("--results", type=Path, help="a folder for the table and the picture")

    tracked = commands.add_parser("mlflow", help="write a trained run into a tracking store of MLflow")
    tracked.set_defaults(command=_mlflow)
    tracked.add_argument("--to", required=True, help="the URI of a tracking server, or a folder")
    tracked.add_argument("--experiment", default=EXPERIMENT)

    for command in (run, evaluate, export, restore, redraw, remeasure, recalibrate, several, tracked):
        add_run_options(command)

    benchmark = commands.add_parser("benchmark", help="print a table; train the runs that it lacks")
    benchmark.set_defaults(command=_benchmark)
    benchmark.add_argument("benchmark", choices=sorted(BENCHMARKS))
    benchmark.add_argument(
        "--tables",
        type=names,
        default=(),
        help="of hands: comparison (the default), actions, sizes, readout, sources; of bodies-published: all, or these",
    )
    benchmark.add_argument(
        "--models",
        type=names,
        default=(),
        help="train only these; the table has all that are trained (of faces: only these, of faces-depth: others as they were)",
    )
    benchmark.add_argument("--preset", help="the window, such as 30+30@30")
    benchmark.add_argument("--seeds", type=counter(1), help="trainings of each model")
    benchmark.add_argument("--epochs", type=counter(1))
    benchmark.add_argument("--results", type=Path, help="a folder for the tables as JSON, Markdown and plots")
    benchmark.add_argument("--no-train", dest="train", action="store_false", help="show what is trained already")
    return parser


def _list(_: argparse.Namespace) -> None:
    for name, run in sorted(all_runs().items()):
        print(f"{name:28} {run.title}")


def _check(arguments: argparse.Namespace) -> None:
    window, notes = window_of(arguments.preset), list[str]()
    counts = check(arguments.folder, note=notes.append)
    for part, sources in counts.items():
        for source, splits in sources.items():
            print(f"{part} {source}: " + ", ".join(f"{n} {split}" for split, n in splits.items()))
    for note in notes:
        print(f"doubtful: {note}")
    if own := own_sets(arguments.folder / "hands"):
        print(inventory(arguments.folder, list(own), [window], own=tuple(own.values())))


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
        dict(arguments.network),
        arguments.preset,
        arguments.sources,
        arguments.actions,
        arguments.epochs,
        arguments.architecture,
        arguments.name,
        arguments.base and Base.of(arguments.base),
        arguments.learning_rate,
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
    target = arguments.bundle or Path("bundles") / run.bundle_name
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
        name=run.bundle_name,
        title=run.title,
        licence=run.licence,
        base=run.base,
        command=command_of(run, arguments.run, training.seed, _changes(arguments), _settings(arguments), export=True),
        torchscript=arguments.torchscript,
        replace=arguments.replace,
    )
    print(table)
    print(f"{bundle.meta.name} {bundle.meta.version} in {bundle.folder}")


def _restore(arguments: argparse.Namespace) -> None:
    training = _training(arguments)
    bundle = read_bundle(arguments.bundle or Path("bundles") / training.run.name)
    path = restore(training.run, bundle, training.seed, training.out)
    print(f"weights of {bundle.meta.name} {bundle.meta.version}: {path}")


def _redraw(arguments: argparse.Namespace) -> None:
    training = _training(arguments)
    run, best = training.run, training.folder / BEST
    bundle = read_bundle(arguments.bundle or Path("bundles") / run.name)
    network = load_best(run, best) if best.is_file() else restored(run.build(), bundle)
    redrawn, difference = redraw(network, bundle)
    print(
        f"{redrawn.meta.name} {redrawn.meta.version} in {redrawn.folder}; its answers differ by {difference:.1e} at most"
    )


def _recalibrate(arguments: argparse.Namespace) -> None:
    run = _training(arguments).run
    bundle, study = read_bundle(arguments.bundle or Path("bundles") / run.name), STUDIES[run.task.kind]
    if study.recalibrated is None:
        raise ValueError(f"expected a run on faces, whose confidence alone is fitted without training; got {run.name}")
    network = restored(run.build(), bundle)
    study.recalibrated(run, network, arguments.data)
    written, difference = redraw(network, bundle, ("confidence",))
    print(
        f"{written.meta.name} {written.meta.version} in {written.folder}; other answers differ by {difference:.1e} at most"
    )


def _remeasure(arguments: argparse.Namespace) -> None:
    run = _training(arguments).run
    bundle, study = read_bundle(arguments.bundle or Path("bundles") / run.name), STUDIES[run.task.kind]
    if study.remeasured is None:
        raise ValueError(
            f"expected a run on faces, whose bundles alone are measured without the network; got {run.name}"
        )
    measurements, table = study.remeasured(run, bundle, arguments.data)
    written = with_measurements(bundle, measurements)
    print(table)
    print(f"{written.meta.name} {written.meta.version} in {written.folder}")


def _sweep(arguments: argparse.Namespace) -> None:
    grid, changes, settings = grid_of(arguments.grid), _changes(arguments), _settings(arguments)
    device_of(arguments.device)
    for field, given in (("steps", arguments.steps), ("epochs", arguments.epochs)):
        if given and {"steps", "epochs"} & set(grid):
            raise WrongSetting(
                f"expected steps or epochs once, in --grid or as an option, got --{field} beside the grid"
            )
    run = find_run(arguments.run).with_options(arguments.steps, **changes)
    planned = plan(run, grid, settings, arguments.seed, arguments.data, with_settings)
    results = sweep(planned, arguments.data, arguments.out, compared, arguments.device)
    folder = arguments.results or arguments.out / run.name / "sweep"
    results.write(folder)
    print(results.table())
    if results.best is not None:
        best = planned[results.best]
        print(
            f"\nbest on validation: {command_of(best.run, arguments.run, best.seed, changes, best.settings, export=True)}"
        )
    print(f"table and picture in {folder}")


def _mlflow(arguments: argparse.Namespace) -> None:
    training = _training(arguments)
    changes, settings = _changes(arguments), _settings(arguments)
    record = record_of(training, command_of(training.run, arguments.run, training.seed, changes, settings))
    print(f"{record.name} in {arguments.to}: run {log(record, arguments.to, arguments.experiment)}")


def _benchmark(arguments: argparse.Namespace) -> None:
    choice = Choice(**{field.name: getattr(arguments, field.name) for field in fields(Choice)})
    print(BENCHMARKS[arguments.benchmark](arguments.data, arguments.out, UNWATCHED, choice))


if __name__ == "__main__":
    main()
