"""The command line of training: list, run, evaluate, export, benchmark."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.contract.bundle import read_bundle
from models.contract.spec import EvaluateSpec, TrainSpec
from training.catalogue import all_runs, get_run
from training.engine.curves import learning_curves
from training.engine.export import export
from training.engine.folders import folder_of
from training.engine.loop import BEST, load_best, train
from training.engine.run import Run
from training.engine.watch import UNWATCHED
from training.studies import BENCHMARKS, STUDIES


def main(argv: list[str] | None = None) -> None:
    """Run one command. Raises SystemExit with a sentence for what a user can mend."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    commands = {"list": _list, "run": _run, "evaluate": _evaluate, "export": _export, "benchmark": _benchmark}
    try:
        commands[arguments.command](arguments)
    except (ValueError, KeyError, FileNotFoundError, FileExistsError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train, measure and export Chiron's models."
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")), help="the data folder"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where checkpoints and reports go")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of one process; 1 is fastest for these networks"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the runs there are")
    run = commands.add_parser("run", help="train a run, or go on with it")
    evaluate = commands.add_parser("evaluate", help="measure a trained run, with pictures")
    evaluate.add_argument("--split", choices=("validation", "test"), default="test")
    export = commands.add_parser("export", help="write the bundle of a trained run")
    export.add_argument("--bundle", type=Path, help="where to; default bundles/<name>")
    export.add_argument("--torchscript", action="store_true", help="a TorchScript twin beside the ONNX graph")
    export.add_argument("--replace", action="store_true", help="take the place of a bundle that is there")
    for command in (run, evaluate, export):
        command.add_argument("name")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--steps", type=int, help="optimiser steps, instead of the run's own")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--devices", type=int, default=1)
    run.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    commands.add_parser("benchmark", help="print a table, training what it lacks").add_argument(
        "table", choices=sorted(BENCHMARKS)
    )
    return parser


def _list(_: argparse.Namespace) -> None:
    for name, run in sorted(all_runs().items()):
        print(f"{name:28} {run.title}")


def _run(arguments: argparse.Namespace) -> None:
    spec = TrainSpec(
        run=arguments.name,
        seeds=(arguments.seed,),
        device=arguments.device,
        devices=arguments.devices,
        precision=arguments.precision,
        steps=arguments.steps,
    )
    run = get_run(spec.run).with_steps(spec.steps)
    folder = folder_of(arguments.out, run, arguments.seed)
    print(f"{run.name}, seed {arguments.seed}, into {folder}")
    best = train(
        run,
        arguments.seed,
        arguments.data,
        folder,
        accelerator=spec.device,
        devices=spec.devices,
        precision=spec.precision,
    )
    learning_curves({f"seed {arguments.seed}": folder}, run.name, folder / "learning-curves.png")
    print(f"best weights: {best}")


def _trained(arguments: argparse.Namespace) -> tuple[Run[Any, Any], Path, nn.Module]:
    spec = EvaluateSpec(run=arguments.name, seeds=(arguments.seed,))
    run = get_run(spec.run).with_steps(arguments.steps)
    folder = folder_of(arguments.out, run, arguments.seed)
    return run, folder, load_best(run, folder / BEST)


def _evaluate(arguments: argparse.Namespace) -> None:
    run, folder, network = _trained(arguments)
    print(STUDIES[run.task.kind].show(run, network, arguments.data, folder, arguments.split))
    print(f"\nreports and pictures in {folder}")


def _export(arguments: argparse.Namespace) -> None:
    run, _, network = _trained(arguments)
    facts, table = STUDIES[run.task.kind].facts(run, network, arguments.data)
    target = arguments.bundle or Path("bundles") / run.name
    if arguments.replace and target.exists():
        read_bundle(target)  # replaces a bundle, never another folder
        shutil.rmtree(target)
    bundle = export(
        network,
        target,
        facts,
        name=run.name,
        title=run.title,
        licence=run.licence,
        command=" && ".join(
            f"python -m training {done}" for done in [*(f"run {s.name}" for s in run.stages), f"export {run.name}"]
        ),
        torchscript=arguments.torchscript,
    )
    print(table)
    print(f"{bundle.meta.name} {bundle.meta.version} in {bundle.folder}")


def _benchmark(arguments: argparse.Namespace) -> None:
    print(BENCHMARKS[arguments.table](arguments.data, arguments.out, UNWATCHED))


if __name__ == "__main__":
    main()
