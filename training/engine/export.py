"""From a trained network to a bundle: the ONNX graph, checked against the network and against the symmetries it claims."""

import io
import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from models.contract.bundle import (
    EXAMPLE_TOLERANCE,
    Bundle,
    BundleMeta,
    Measurement,
    TrainingSource,
    read_bundle,
    repeat_example,
    write_bundle,
)
from models.contract.runtime import onnxruntime
from models.contract.symmetry import Tensors, violation
from models.contract.task import Task, moves, tried_sizes
from models.layers.freezing import frozen

Run = Callable[[Tensors], dict[str, np.ndarray]]

OPSET = 20
TOLERANCE = EXAMPLE_TOLERANCE  # graph against network, and f(g x) against g f(x)


class NotTheNetwork(ValueError):
    """An exported graph whose answers are not the network's."""


class BrokenSymmetry(ValueError):
    """A network or graph that does not keep a symmetry it claims."""


@dataclass(frozen=True)
class Facts:
    """What a bundle says of a trained network, beside its graph; `example` is one real input, by name."""

    example: Tensors
    trained_on: tuple[TrainingSource, ...]
    measurements: tuple[Measurement, ...]


def export(
    network: nn.Module,
    folder: Path,
    facts: Facts,
    *,
    name: str,
    title: str,
    licence: str,
    command: str,
    torchscript: bool = False,
    replace: bool = False,
) -> Bundle:
    """Write the bundle of `network`, which has `task` and `symmetries`, at `folder`.

    The checks run on the example, on batches of it and on every legal size of its axes, before anything is written. With `replace`, a
    bundle at `folder` is exchanged for the new one once that is written and repeats its example.

    Raises NotTheNetwork, BrokenSymmetry, and FileExistsError for a folder that is there, without `replace`.
    """
    task: Task = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
    symmetries: tuple[str, ...] = network.symmetries  # pyright: ignore[reportAssignmentType]
    kind, parameters = type(network).__name__, sum(p.numel() for p in network.parameters())
    network, example = frozen(network.cpu()), facts.example
    run_network = runner(network, task)
    graph = to_onnx(network, example)
    run_graph = onnx_runner(graph)
    for inputs in sizes(task, example):
        refuse_mismatch(f"the ONNX graph of {name}", run_network, run_graph, inputs)
        for symmetry in symmetries:
            refuse_violation(f"the ONNX graph of {name}", run_graph, symmetry, inputs, task)
    extra = {}
    if torchscript:
        extra["model.ts"] = to_torchscript(network, example)
        scripted = torch.jit.load(io.BytesIO(extra["model.ts"]))
        for inputs in sizes(task, example):
            refuse_mismatch(f"the TorchScript of {name}", run_network, runner(scripted, task), inputs)
    meta = BundleMeta(
        name=name,
        title=title,
        task=task,
        symmetries=symmetries,  # pyright: ignore[reportArgumentType] - pydantic checks the names
        network=kind,
        parameters=parameters,
        opset=OPSET,
        licence=licence,
        trained_on=facts.trained_on,
        measurements=facts.measurements,
        command=command,
        git_commit=git_commit(),
        made_with={package: version(package) for package in ("torch", "onnx", "onnxruntime", "numpy")},
    )
    if not (replace and folder.exists()):
        return write_bundle(folder, meta, graph, example, run_network(example), extra)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        written = write_bundle(new, meta, graph, example, run_network(example), extra)
        repeat_example(read_bundle(new), run_graph)
        exchange(folder, new, old)
    return Bundle(folder, written.meta)


def exchange(folder: Path, new: Path, old: Path) -> None:
    """Move `folder` to `old` and `new` to its place; put it back if the second move fails."""
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except BaseException:  # and raised again: a failed exchange leaves what was there
        os.rename(old, folder)
        raise


def to_onnx(network: nn.Module, example: Tensors) -> bytes:
    """The ONNX graph of a network: fixed axes as its task fixes them, the named ones free.

    Raises NotTheNetwork if the written file is not of opset OPSET.
    """
    task: Task = network.task  # pyright: ignore[reportAssignmentType]
    limits = {axis: (min(sizes), max(sizes)) for axis, sizes in task.axes.items()}
    shapes, arguments = [], []
    dims = {axis: torch.export.Dim(axis, min=low, max=high) for axis, (low, high) in limits.items()}
    for name, spec in task.inputs.items():
        arguments.append(
            torch.from_numpy(np.repeat(example[name], 2, axis=0))
        )  # the exporter takes a size of 1 for a constant
        free = {i: axis for i, axis in enumerate(spec.shape) if isinstance(axis, str)}
        shapes.append({i: dims.setdefault(axis, torch.export.Dim(axis, min=1)) for i, axis in free.items()})
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # the exporter's own use of what PyTorch has deprecated
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            tuple(arguments),
            input_names=list(task.inputs),
            output_names=list(task.outputs),
            opset_version=OPSET,
            dynamic_shapes=tuple(shapes),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        path = Path(folder) / "model.onnx"
        program.save(path)
        graph = path.read_bytes()
    model = without_traces(onnx.load_from_string(graph))
    onnx.checker.check_model(model, full_check=True)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset != OPSET:
        raise NotTheNetwork(f"the exporter was asked for opset {OPSET} and wrote {opset}")
    return model.SerializeToString()


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without the exporter's notes, which are half the file and name the folders of the machine it was made on."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def to_torchscript(network: nn.Module, example: Tensors) -> bytes:
    """The network as TorchScript, by tracing; `refuse_mismatch` is what says whether the trace holds for other sizes."""
    buffer = io.BytesIO()
    arguments = tuple(torch.from_numpy(example[name]) for name in network.task.inputs)  # pyright: ignore
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, arguments), buffer)
    return buffer.getvalue()


def runner(network: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]], task: Task) -> Run:
    """A network as a function from the task's inputs to its outputs, arrays by name."""

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad():
            answer = network(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in task.inputs))
        several = answer if isinstance(answer, tuple) else (answer,)
        return {name: x.numpy() for name, x in zip(task.outputs, several, strict=True)}

    return run


def onnx_runner(graph: bytes) -> Run:
    """An ONNX graph as the same kind of function, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        return {name: np.asarray(x) for name, x in zip(names, session.run(None, dict(inputs)), strict=True)}

    return run


def sizes(task: Task, example: Tensors) -> Iterator[dict[str, np.ndarray]]:
    """The example at every legal size of its axes, alone and as one of a batch of three different ones.

    The others are larger and, where no indices say who is where, of another order.
    """
    smaller = [dict(example)]
    for axis, legal in tried_sizes(task).items():
        places = {name: spec.shape.index(axis) for name, spec in task.inputs.items()}
        smaller = [
            {name: np.take(x, np.arange(size), axis=places[name]) for name, x in one.items()}
            for one in smaller
            for size in legal
            if all(x.shape[places[name]] >= size for name, x in one.items())
        ]
    indexed = any(spec.moves == "indices" for spec in task.inputs.values())
    for one in smaller:
        yield one
        three = {
            name: [x, x, x] if task.inputs[name].moves == "indices" else [x, 1.1 * x, x if indexed else x[:, ::-1]]
            for name, x in one.items()
        }
        yield {name: np.concatenate(parts).astype(one[name].dtype) for name, parts in three.items()}


def refuse_mismatch(what: str, wanted: Run, got: Run, inputs: Tensors) -> None:
    """Raise NotTheNetwork where two functions differ by more than TOLERANCE on `inputs`."""
    answers = got(inputs)
    for name, answer in wanted(inputs).items():
        apart = float(np.abs(answers[name] - answer).max())
        if not apart <= TOLERANCE:
            shapes = {key: x.shape for key, x in inputs.items()}
            raise NotTheNetwork(
                f"{what} differs from the network by {apart:.1e} in {name} for {shapes}; at most {TOLERANCE} is allowed"
            )


def refuse_violation(what: str, run: Run, symmetry: str, inputs: Tensors, task: Task) -> None:
    """Raise BrokenSymmetry where a function breaks `symmetry` by more than TOLERANCE on `inputs`."""
    apart = violation(run, symmetry, inputs, moves=moves(task))
    if not apart <= TOLERANCE:
        raise BrokenSymmetry(f"{what} claims {symmetry} and breaks it by {apart:.1e}; at most {TOLERANCE} is allowed")


def git_commit() -> str:
    """The commit of the code that runs: as CHIRON_GIT_COMMIT says, or of the checkout; "unknown" where nobody knows."""
    if said := os.environ.get("CHIRON_GIT_COMMIT"):
        return said
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git here
        return "unknown"
    return asked.stdout.strip() or "unknown"
