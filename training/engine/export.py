"""The export of a trained network as a bundle: its ONNX graph, checked against the network and against the symmetries it claims."""

import io
import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, runtime_checkable

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
from models.contract.symmetry import Tensors, largest_difference, violation
from models.contract.task import Task, moves, tried_sizes
from models.contract.tensor import TensorSpec
from models.layers.freezing import frozen
from training.engine.run import Base

Run = Callable[[Tensors], dict[str, np.ndarray]]

OPSET = 20
TOLERANCE = EXAMPLE_TOLERANCE  # graph against network, and f(g x) against g f(x)


class NotTheNetwork(ValueError):
    """An exported graph whose answers differ from the network's."""


class BrokenSymmetry(ValueError):
    """A network or graph that breaks a symmetry it claims."""


@dataclass(frozen=True)
class Facts:
    """The statements of a bundle about a trained network; `example` is one real input, by name.

    `factors` multiply outputs, by name, and `intervals` are the bundle's: both correct what a network says of its own errors.
    """

    example: Tensors
    trained_on: tuple[TrainingSource, ...]
    measurements: tuple[Measurement, ...]
    factors: Tensors = field(default_factory=dict)
    intervals: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Drawn(Protocol):
    """A network that writes its own graph, which is faster than the traced one; the exporter checks it in the same way."""

    def onnx_graph(self) -> bytes | None:
        """Return the graph, or None if this network is to be traced."""
        ...


class Corrected(nn.Module):
    """A network some of whose outputs are multiplied by constants, (... as broadcasts), by the name of the output."""

    def __init__(self, network: nn.Module, factors: Tensors) -> None:
        super().__init__()
        self.network, self.names = network, tuple(factors)
        self.task, self.symmetries = network.task, network.symmetries
        task: Task = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
        self.outputs = tuple(task.outputs)
        for name, values in factors.items():
            self.register_buffer(f"factor_{name}", torch.from_numpy(np.array(values, np.float32)))

    def forward(self, first: torch.Tensor, second: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Return the network's answer with the corrections, for a network of one input or two: the tracer takes no *inputs."""
        answer: tuple[torch.Tensor, ...] = self.network(first) if second is None else self.network(first, second)
        named = zip(self.outputs, answer, strict=True)
        return tuple(x * getattr(self, f"factor_{name}") if name in self.names else x for name, x in named)


def export(
    network: nn.Module,
    folder: Path,
    facts: Facts,
    *,
    name: str,
    title: str,
    licence: str,
    command: str,
    base: Base | None = None,
    torchscript: bool = False,
    replace: bool = False,
) -> Bundle:
    """Write the bundle of `network`, which has `task` and `symmetries`, at `folder`.

    The weights of a `base` are trained on its data, too, and the bundle states both. The checks run on the example, on batches of it and
    on every legal size of its axes, before anything is written. With `replace`, a bundle at `folder` is exchanged for the new one once that
    is written and repeats its example.

    Raises NotTheNetwork, BrokenSymmetry, and FileExistsError for a folder that is there, without `replace`.
    """
    task: Task = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
    symmetries: tuple[str, ...] = network.symmetries  # pyright: ignore[reportAssignmentType]
    kind, parameters = type(network).__name__, sum(p.numel() for p in network.parameters())
    if facts.factors:
        network = Corrected(network, facts.factors)
    network, example = frozen(network.cpu()), facts.example
    run_network = runner(network, task)
    graph = checked_graph(network, example, symmetries, name)
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
        base=base and f"{base.name} {base.version}",
        trained_on=base.with_own(facts.trained_on) if base else facts.trained_on,
        measurements=facts.measurements,
        intervals=dict(facts.intervals),
        command=command,
        git_commit=git_commit(),
        made_with=made_with(),
    )
    if not (replace and folder.exists()):
        return write_bundle(folder, meta, graph, example, run_network(example), extra)
    return write_over(folder, meta, graph, example, run_network(example), extra)


def checked_graph(network: nn.Module, example: Tensors, symmetries: tuple[str, ...], name: str) -> bytes:
    """Return the graph of a frozen network, checked at all sizes. Raises NotTheNetwork and BrokenSymmetry."""
    task: Task = network.task  # pyright: ignore[reportAssignmentType] - an attribute of a Module
    graph = to_onnx(network, example)
    run_network, run_graph = runner(network, task), onnx_runner(graph)
    for inputs in sizes(task, example):
        refuse_mismatch(f"the ONNX graph of {name}", run_network, run_graph, inputs)
        for symmetry in symmetries:
            refuse_violation(f"the ONNX graph of {name}", run_graph, symmetry, inputs, task)
    return graph


def write_over(
    folder: Path,
    meta: BundleMeta,
    graph: bytes,
    inputs: Tensors,
    outputs: Tensors,
    extra: dict[str, bytes] | None = None,
) -> Bundle:
    """Exchange the bundle at `folder` for a new one, which is written beside it and repeats its example first."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        written = write_bundle(new, meta, graph, inputs, outputs, extra)
        repeat_example(read_bundle(new), onnx_runner(graph))
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
    """Return the ONNX graph of a network, whose axes are fixed or free as its task says: its own if it draws one, otherwise a trace.

    Raises NotTheNetwork if the graph has another opset than OPSET.
    """
    graph = network.onnx_graph() if isinstance(network, Drawn) else None
    model = without_traces(onnx.load_from_string(traced(network, example) if graph is None else graph))
    onnx.checker.check_model(model, full_check=True)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset != OPSET:
        raise NotTheNetwork(f"expected the exporter to write opset {OPSET}, got opset {opset}")
    return model.SerializeToString()


def traced(network: nn.Module, example: Tensors) -> bytes:
    """Return the graph that PyTorch's exporter traces."""
    task: Task = network.task  # pyright: ignore[reportAssignmentType]
    limits = {axis: (min(sizes), max(sizes)) for axis, sizes in task.axes.items()}
    shapes, arguments = [], []
    dims = {axis: torch.export.Dim(axis, min=low, max=high) for axis, (low, high) in limits.items()}
    for name, spec in task.inputs.items():
        # two samples of the largest size, since the exporter takes 1, and the least legal size, for constants
        sample = example[name]
        for axis, (_, most) in limits.items():
            if axis in spec.shape and not isinstance(task.axes[axis], range):
                sample = _sized(sample, most, spec.shape.index(axis))
        arguments.append(torch.from_numpy(np.repeat(sample, 2, axis=0)))
        free = {i: axis for i, axis in enumerate(spec.shape) if isinstance(axis, str)}
        shapes.append({i: dims.setdefault(axis, torch.export.Dim(axis, min=1)) for i, axis in free.items()})
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of the exporter's own use of deprecated functions
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
        return path.read_bytes()


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's notes from a graph: they are half of the file and name folders of the machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def to_torchscript(network: nn.Module, example: Tensors) -> bytes:
    """Return the network as TorchScript, traced on the example; `refuse_mismatch` checks the trace at other sizes."""
    buffer = io.BytesIO()
    arguments = tuple(torch.from_numpy(example[name]) for name in network.task.inputs)  # pyright: ignore
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, arguments), buffer)
    return buffer.getvalue()


def runner(network: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]], task: Task) -> Run:
    """Return a network as a function from the task's inputs to its outputs, both arrays by name."""

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad():
            # an array from a file cannot be written to, which torch warns of
            answer = network(
                *(torch.from_numpy(np.require(inputs[name], requirements=["C", "W"])) for name in task.inputs)
            )
        several = answer if isinstance(answer, tuple) else (answer,)
        return {name: x.numpy() for name, x in zip(task.outputs, several, strict=True)}

    return run


def onnx_runner(graph: bytes) -> Run:
    """Return an ONNX graph as the same kind of function, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        return {name: np.asarray(x) for name, x in zip(names, session.run(None, dict(inputs)), strict=True)}

    return run


def sizes(task: Task, example: Tensors) -> Iterator[dict[str, np.ndarray]]:
    """Yield the example at every legal size of its axes, alone and in a batch of three different samples.

    An example that is too small for a size is repeated: one hand beside itself, a clip after itself.
    The other samples are a larger one, where a tensor has a size, and, unless the task has indices of points, one in reverse order.
    """
    smaller = [dict(example)]
    for axis, legal in tried_sizes(task).items():
        places = {name: spec.shape.index(axis) for name, spec in task.inputs.items()}
        smaller = [
            {name: _sized(x, size, places[name]) for name, x in one.items()} for one in smaller for size in legal
        ]
    indexed = any(spec.moves == "indices" for spec in task.inputs.values())
    for one in smaller:
        yield one
        three = {name: [x, _larger(x, task.inputs[name]), x if indexed else x[:, ::-1]] for name, x in one.items()}
        yield {name: np.concatenate(parts).astype(one[name].dtype) for name, parts in three.items()}


def _sized(tensor: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Return the first `size` entries along an axis; after the last comes the first again."""
    return np.take(tensor, np.arange(size) % tensor.shape[axis], axis=axis)


def _larger(tensor: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Return a tensor times 1.1, or as it is if its numbers are indices or say which nodes were seen."""
    return tensor if spec.moves == "indices" or spec.counts_nodes else 1.1 * tensor


def refuse_mismatch(name: str, expected: Run, actual: Run, inputs: Tensors) -> None:
    """Raise NotTheNetwork if two functions differ by more than TOLERANCE, or by NaN, in any output for `inputs`."""
    answers = actual(inputs)
    for output, answer in expected(inputs).items():
        difference = largest_difference(answers, {output: answer})
        if not difference <= TOLERANCE:
            shapes = {key: x.shape for key, x in inputs.items()}
            raise NotTheNetwork(
                f"{name} differs from the network by {difference:.1e} in {output} for {shapes}; at most {TOLERANCE} is allowed"
            )


def refuse_violation(name: str, run: Run, symmetry: str, inputs: Tensors, task: Task) -> None:
    """Raise BrokenSymmetry if a function breaks `symmetry` by more than TOLERANCE, or by NaN, on `inputs`."""
    difference = violation(run, symmetry, inputs, moves=moves(task))
    if not difference <= TOLERANCE:
        raise BrokenSymmetry(
            f"{name} claims {symmetry} and breaks it by {difference:.1e}; at most {TOLERANCE} is allowed"
        )


def made_with() -> dict[str, str]:
    """Return the versions of the libraries that make a bundle."""
    return {package: version(package) for package in ("torch", "onnx", "onnxruntime", "numpy")}


def git_commit() -> str:
    """Return the commit of the code: that of CHIRON_GIT_COMMIT, else that of the checkout, else "unknown"."""
    if commit := os.environ.get("CHIRON_GIT_COMMIT"):
        return commit
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git here
        return "unknown"
    return process.stdout.strip() or "unknown"
