"""The cost of a network on one CPU thread: a step of its training in PyTorch, and a forecast in ONNX Runtime."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.contract.symmetry import Tensors
from models.layers.freezing import frozen
from training.engine.batches import Batches
from training.engine.export import onnx_runner, runner, to_onnx
from training.engine.run import Run


def median_cpu_s(function: Callable[[], object], runs: int, warmup: int = 2) -> float:
    """Return the median CPU time of a call in seconds, after `warmup` calls that are not counted."""
    times: list[float] = []
    for _ in range(warmup + runs):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return statistics.median(times[warmup:])


def step_s(run: Run[Any, Any], batches: Batches, runs: int = 5) -> float:
    """Return the CPU seconds of an optimiser step of a run, with the run's loss and batches, on fresh weights."""
    network = run.build().train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=run.optimisation.learning_rate)
    inputs, target = batches.training_batch(0, 0)
    arguments, true = [torch.from_numpy(x) for x in inputs.values()], torch.from_numpy(target)

    def step() -> None:
        run.loss(network(*arguments), true, *arguments).backward()
        nn.utils.clip_grad_norm_(network.parameters(), run.optimisation.clip)
        optimiser.step()
        optimiser.zero_grad()

    return median_cpu_s(step, runs)


def eager_ms(network: nn.Module, example: Tensors, runs: int = 20) -> float:
    """Return the CPU milliseconds of one call of a network in PyTorch, for an example of batch 1."""
    call = runner(network.eval(), network.task)  # pyright: ignore[reportArgumentType] - an attribute of a Module
    return 1000 * median_cpu_s(lambda: call(example), runs)


def forecast_ms(network: nn.Module, example: Tensors, runs: int = 50) -> float:
    """Return the CPU milliseconds of one call of the network's ONNX graph in ONNX Runtime, for an example of batch 1."""
    graph = onnx_runner(to_onnx(frozen(network), example))
    return 1000 * median_cpu_s(lambda: graph(example), runs, warmup=5)
