"""CPU time of EqMotion (K = 4, L = 2, C = D = 32) and of the network without pairs on one thread: a forecast in ONNX Runtime and a training
step in PyTorch.

    OMP_NUM_THREADS=1 python -m benchmarks.forecast

The authors' code of EqMotion takes 32 ms per forecast and 1.36 s per step on the same kind of processor.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.timing import cpu_ms, machine
from models.contract.freed_memory import keep_freed_memory
from models.contract.task import HandForecast
from models.forecast.eqmotion import REFERENCE, STANDARD
from training.engine.export import onnx_runner, to_onnx
from training.engine.run import Loss, Network
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.runs.forecast import RUN

RESULTS = Path(__file__).parent / "results" / "forecast.json"
EQMOTION = {"EqMotion": STANDARD, "reference structure": REFERENCE}
TASKS = {"10+10@30": HandForecast(past=10, future=10, fps=30), "30+30@30": HandForecast(past=30, future=30, fps=30)}


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    torch.set_num_threads(1)
    keep_freed_memory()
    results: dict[str, object] = {"machine": machine()}
    print(
        "| network | task | forecast, two hands, ms | one hand, ms | same in PyTorch, ms | training step, 32 clips, s |"
    )
    print("|---|---|---|---|---|---|")
    rows = [
        (name, window, config, task, mean_distance_mm)
        for name, config in EQMOTION.items()
        for window, task in TASKS.items()
    ]
    for name, window, config, task, loss in [*rows, (RUN.name, "30+30@30, masked", RUN.network, RUN.task, RUN.loss)]:
        two, one, eager, step = measure(task, config, loss)
        results[f"{name}, {window}"] = {
            "two_hands_ms": two,
            "one_hand_ms": one,
            "pytorch_ms": eager,
            "step_s": step,
        }
        print(f"| {name} | {window} | {two:.2f} | {one:.2f} | {eager:.2f} | {step:.2f} |", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def measure(
    task: HandForecast, config: Network[HandForecast], loss: Loss = mean_distance_mm
) -> tuple[float, float, float, float]:
    """Return the ms per forecast of two hands and of one in ONNX Runtime and of two in PyTorch, and the seconds per training step.

    A training step takes 32 clips of two hands. Every joint is seen.
    """
    clip = np.random.default_rng(0).normal(scale=0.1, size=(1, task.past, 42, 3)).astype(np.float32)
    two = {"past": clip, "seen": np.ones(clip.shape[:3], np.float32)} if task.masked else {"past": clip}
    one = {name: x[:, :, :21] for name, x in two.items()}
    network = config.build(task).eval()
    graph = onnx_runner(to_onnx(network, two))

    def eager() -> None:
        with torch.no_grad():
            network(*map(torch.from_numpy, two.values()))

    forecasts = cpu_ms(lambda: graph(two), lambda: graph(one), eager)
    (step,) = cpu_ms(training_step(network, task, loss), runs=15)
    return forecasts[0], forecasts[1], forecasts[2], step / 1000


def training_step(network: nn.Module, task: HandForecast, loss: Loss) -> Callable[[], None]:
    inputs, future = [torch.randn(32, task.past, 42, 3)], torch.randn(32, task.future, 42, 3)
    if task.masked:
        inputs.append(torch.ones(32, task.past, 42))
    optimiser = torch.optim.AdamW(network.train().parameters())

    def step() -> None:
        loss(network(*inputs), future, *inputs).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


if __name__ == "__main__":
    main()
